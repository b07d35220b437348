package websocketgateways

import (
	"errors"
	"time"

	"github.com/coder/websocket"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/plugins/internal/duration"
)

const (
	fieldShutdownCode = "shutdown_code"
	fieldDrainPeriod  = "drain_period"
)

// shutdownFields say how connections end with the process.
func shutdownFields() []*service.ConfigField {
	return []*service.ConfigField{
		service.NewIntField(fieldShutdownCode).
			Description("The code with which connections are closed when the process ends: 1001, going away, or 1012, service restart, where another process takes the clients over, behind a load balancer or after a restart.").
			Default(int(websocket.StatusGoingAway)).
			Example(int(websocket.StatusServiceRestart)).
			LintRule(`root = if this.type() == "number" && ![1001, 1012].contains(this) { [ "` + errShutdownCode + `" ] }`).
			Advanced(),
		duration.Field(fieldDrainPeriod).
			Description("Over which time to close the connections when the process ends, one after the other, so that thousands of clients do not all come back at once. It begins after the streams have ended, which takes up to `shutdown_timeout`, so who ends the process must leave it the sum of both, and 6s. New connections are not accepted meanwhile. `0s` closes all at once.").
			Default("0s").
			Example("10s").
			Advanced(),
	}
}

const errShutdownCode = "shutdown_code must be 1001 (going away) or 1012 (service restart)"

func parseShutdown(conf *service.ParsedConfig) (s gateway.Shutdown, err error) {
	code, err := conf.FieldInt(fieldShutdownCode)
	if err != nil {
		return s, err
	}
	if s.Drain, err = duration.Of(conf, fieldDrainPeriod); err != nil {
		return s, err
	}
	s.Restart = code == int(websocket.StatusServiceRestart)
	if !s.Restart && code != int(websocket.StatusGoingAway) {
		return s, errors.New(errShutdownCode)
	}
	return s, nil
}

// longestDrain is how long closing the gateways may take before the last of their
// connections is told.
func longestDrain(all []gateway.Config) (longest time.Duration) {
	for _, p := range all {
		longest = max(longest, p.Shutdown.Drain)
	}
	return longest
}
