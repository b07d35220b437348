package control

import (
	"context"
	"maps"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/iotcast/iotcast/internal/guard"
	"github.com/iotcast/iotcast/internal/overview"
	"github.com/iotcast/iotcast/internal/version"
)

// overviewMethod shows what flows and what is wrong.
const overviewMethod = "/iotcast.ConsoleService/GetOverview"

// newOverview looks at this process for the console. It must be closed.
func newOverview(cfg Config, k *keeper) *overview.Overview {
	return overview.Start(overview.Config{Metrics: cfg.Metrics, Facts: func(ctx context.Context) overview.Facts {
		facts := overview.Facts{
			Failed: k.streams.reasons(), Unkept: cfg.Temporary,
			Unreachable: cfg.Connections.Silent(), Unwritten: unwritten(k.state.Unwritten()),
		}
		if cfg.TLS == nil && !guard.Loopback(cfg.Address) {
			facts.Open = cfg.Address
		}
		if cfg.Streams != nil && k.streams.up.Load() {
			running, err := cfg.Streams.Running(ctx)
			facts.Streams, facts.Running = err == nil, running
			facts.Triggers, facts.Disconnected = map[string]bool{}, map[string]string{}
			for id := range running {
				facts.Triggers[id] = k.streams.isTrigger(id)
				if why, err := cfg.Streams.Disconnected(ctx, id); err == nil && why != "" {
					facts.Disconnected[id] = why
				}
			}
		}
		if cfg.Gateways != nil {
			facts.Gateways = cfg.Gateways()
		}
		return facts
	}})
}

// reasons are why streams of triggers cannot be made, by their IDs.
func (s *triggerStreams) reasons() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.failed)
}

// isTrigger reports whether a stream is that of a trigger, and not one of a file.
func (s *triggerStreams) isTrigger(id string) bool {
	e, err := s.kind.get(id)
	return err == nil && s.has(map[string]bool{id: true}, e)
}

// processFacts are of the process.
type processFacts struct {
	StartedAt time.Time `json:"started_at"`
	Version   string    `json:"version"`
}

// started is when the process was.
var started = time.Now()

// maxOverviews is how many can follow at a time: each may have the samples of an hour, some MB, wait for it.
const maxOverviews = 32

// getOverview follows the samples: the first event has those of the last hour.
func (s *consoleService) getOverview(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	if s.overview == nil || *s.overview == nil {
		return status.Error(codes.NotFound, "what flows is looked at for the console only: set management_api.console")
	}
	defer s.followers.Add(-1)
	if s.followers.Add(1) > maxOverviews {
		return status.Errorf(codes.ResourceExhausted, "too many look already: at most %d can at a time: close another tab of the console first", maxOverviews)
	}
	from := -1 // what there is
	serveEvents(ctx, w, r, eventHeartbeat, func(ctx context.Context) (any, error) {
		samples, findings, next, err := (*s.overview).Next(ctx, from)
		if err != nil {
			return nil, err
		}
		from = next
		return struct {
			PeriodSeconds float64            `json:"period_seconds"`
			Samples       []overview.Sample  `json:"samples"`
			Findings      []overview.Finding `json:"findings"`
			Process       processFacts       `json:"process"`
		}{overview.Period.Seconds(), samples, findings, processFacts{started.UTC(), version.Number()}}, nil
	})
	return nil
}
