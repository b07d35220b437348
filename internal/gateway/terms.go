package gateway

import (
	"sync"

	"github.com/iotcast/iotcast/internal/fanout"
)

// terms are the configuration of a route, with what is made of it. They do not change:
// another configuration puts other terms in force. What has begun by these ends by them.
type terms struct {
	RouteConfig
	guard guard
	users sync.RWMutex // read-locked by whoever goes by the terms; locked for good by retire
}

func (r *Route) newTerms(rc RouteConfig) *terms {
	return &terms{
		RouteConfig: rc,
		guard: guard{
			shared: r.shared, path: rc.Path, origins: rc.AllowedOrigins, tokens: rc.Tokens, connect: rc.Handlers.Connect,
			events: rc.Events, watch: rc.Watch, keeps: rc.History.Bounds != fanout.History{}, pace: rc.MinInterval,
			places: &r.places, strangers: &r.strangers, observer: r.observer, log: r.log,
		},
	}
}

// hubConfig returns what the hub must know of a configuration.
func (r *Route) hubConfig(rc *RouteConfig) fanout.Config {
	return fanout.Config{
		Limits:        rc.Limits,
		WantsMessages: rc.Handlers.Message != nil || rc.Watch != nil,
		MaxFrame:      maxFrame,
		CloseTimeout:  closeTimeout,
		Compression:   rc.Compression,
		History:       rc.History.Bounds,
		Latest:        rc.Latest,
		Wrap:          wrap,
		Heartbeat:     heartbeat,
		Parts:         parts,
		Apart:         rc.Watch != nil || rc.MinInterval > 0,
		Gap:           gapMessage,
		Served:        r.observer.Served,
		Received:      r.observer.Received,
	}
}

// configure puts other terms in force. It returns those before, which must be retired.
func (r *Route) configure(rc RouteConfig) (before *terms) {
	r.admission.boundPlaces(&r.places, rc.MaxConnections)
	r.hub.Configure(r.hubConfig(&rc))
	return r.now.Swap(r.newTerms(rc))
}

// terms returns the terms in force. The caller must call their leave.
func (r *Route) terms() *terms {
	for {
		if t := r.now.Load(); t.users.TryRLock() { // else others are in force by now
			return t
		}
	}
}

// leave says that the caller goes by the terms no more.
func (t *terms) leave() { t.users.RUnlock() }

// retire waits until nobody goes by the terms any more. Others must be in force, or the
// route must be closed.
func (t *terms) retire() { t.users.Lock() }
