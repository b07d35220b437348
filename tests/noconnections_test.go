package tests

import (
	"net/http"
	"testing"
)

// What is published while nobody is connected.
func TestNoConnections(t *testing.T) {
	for _, test := range []struct {
		setting string
		want    []string
	}{
		{"drop", []string{"late"}},
		{"wait", []string{"early", "late"}},
		{"reject", []string{"early", "late"}},
	} {
		t.Run(test.setting, func(t *testing.T) {
			t.Parallel()
			b := startMosquitto(t)
			cast := runStreams(t)
			cast.must(http.MethodPost, "/streams/trigger",
				trigger(b, "broker_id: factory", "path: /telemetry\nno_connections: "+test.setting))
			cast.waitReady()
			b.publish(1, message{topic: "hall/press", payload: []byte("early")})
			switch test.setting {
			case "drop":
				eventually(t, "the message is counted as dropped", func() bool {
					return cast.metric("websocket_broadcast_no_connections", "") == 1
				})
			case "reject":
				cast.waitLog("no_connections is reject")
			case "wait":
				eventually(t, "the message has reached the output", func() bool { return cast.metric("processor_sent", "") == 1 })
			}

			c := connectGo(t, cast.url("/telemetry"))
			if test.want[0] == "early" {
				c.waitEntries(1)
			}
			b.publish(1, message{topic: "hall/press", payload: []byte("late")})
			all, _ := c.waitEntries(len(test.want))
			if len(all) != len(test.want) {
				t.Fatalf("%d messages arrived, want %q", len(all), test.want)
			}
			for i, e := range all {
				if string(e.payload) != test.want[i] {
					t.Errorf("message %d is %q, want %q", i, e.payload, test.want[i])
				}
			}
			cast.terminate()
		})
	}
}

// A stream that cannot get rid of a message can be deleted all the same, and the
// process ended.
func TestEndWhileWaiting(t *testing.T) {
	for _, setting := range []string{"wait", "reject"} {
		start := func(t *testing.T) *iotcast {
			t.Helper()
			t.Parallel()
			b := startMosquitto(t)
			cast := runStreams(t)
			cast.must(http.MethodPost, "/streams/one", trigger(b, "broker_id: factory", "path: /telemetry\nno_connections: "+setting))
			cast.waitReady()
			b.publish(1, message{topic: "hall/press", payload: []byte("early")})
			eventually(t, "the message has reached the output", func() bool { return cast.metric("processor_sent", "") >= 1 })
			return cast
		}
		t.Run(setting+"/delete", func(t *testing.T) {
			cast := start(t)
			cast.must(http.MethodDelete, "/streams/one", "")
			if ids := cast.streams(); len(ids) != 0 {
				t.Errorf("streams %v after the only one was deleted", ids)
			}
		})
		t.Run(setting+"/terminate", func(t *testing.T) { start(t).terminate() })
	}
}
