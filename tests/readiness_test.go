package tests

import (
	"net/http"
	"testing"
)

func (c *iotcast) waitStatus(path string, want int) {
	c.t.Helper()
	eventually(c.t, path+" answers "+http.StatusText(want), func() bool {
		status, _ := c.tryRequest(http.MethodGet, path, "")
		return status == want
	})
}

// /ready tells whether messages can come and go; /ping, whether the process
// lives. Connections stay open through all of it.
func TestReadiness(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"run", "streams"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := startMosquitto(t)
			stream := trigger(b, "broker_id: factory", "")
			var cast *iotcast
			if mode == "run" {
				cast = runIotcast(t, stream)
			} else {
				cast = runStreams(t)
				cast.must(http.MethodPost, "/streams/factory", stream)
				cast.waitReady()
			}
			c := connectGo(t, cast.url("/telemetry"))

			b.kill()
			cast.waitStatus("/ready", http.StatusServiceUnavailable)
			cast.must(http.MethodGet, "/ping", "")
			c.mustBeOpen()
			eventually(t, "the metrics count the attempts to connect", func() bool {
				return cast.metric("input_connection_lost", "") == 1 && cast.metric("input_connection_failed", "") > 0
			})

			b.start()
			cast.waitStatus("/ready", http.StatusOK)
			b.publish(1, message{topic: "hall/press", payload: []byte("back")})
			c.waitEntries(1)
		})
	}
}
