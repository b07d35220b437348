package gateway

import (
	"sync"

	"github.com/iotcast/iotcast/internal/fanout"
)

// terms are what holds on a route. They are never written to: when the configuration
// changes, others take their place, and those who have begun by these end by them.
type terms struct {
	RouteConfig
	guard guard
	users sync.RWMutex // read-locked by whoever goes by the terms, locked for good by retire
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

// hubConfig is what the hub must know of the terms.
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

// configure has the route go on by other terms, and returns those before.
func (r *Route) configure(rc RouteConfig) (before *terms) {
	r.admission.boundPlaces(&r.places, rc.MaxConnections)
	r.hub.Configure(r.hubConfig(&rc))
	return r.now.Swap(r.newTerms(rc))
}

// terms are those that hold now. Whoever gets them must leave them.
func (r *Route) terms() *terms {
	for {
		if t := r.now.Load(); t.users.TryRLock() { // or others have just taken their place
			return t
		}
	}
}

func (t *terms) leave() { t.users.RUnlock() }

// retire returns when nobody goes by the terms any more. Others must have taken their
// place.
func (t *terms) retire() { t.users.Lock() }
