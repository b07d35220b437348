package tests

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func (c *client) pauseReading() {
	c.t.Helper()
	yes := true
	c.do(command{Pause: &yes})
	c.wait("paused", func() bool { return c.paused })
}

func (c *client) resumeReading() {
	c.t.Helper()
	no := false
	c.do(command{Pause: &no})
}

// One client that never reads loses its connection; the others lose nothing.
func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	const messages = 100
	b := startMosquitto(t)
	cast := runIotcast(t, trigger(b, "broker_id: factory", ""), "queue_bytes: 4194304")
	clients := connectAll(t, cast.url("/telemetry"))
	slow := connectWS(t, cast.url("/telemetry"))
	slow.waitOpen()
	slow.pauseReading()

	// About 350 KB each as an envelope: far more than the sockets' buffers hold.
	// In steps, so that who reads is never far behind.
	for published := range messages {
		b.publish(1, message{topic: fmt.Sprintf("hall/press/%d", published), payload: largest})
		for _, c := range clients {
			c.waitMessages(published + 1)
		}
	}
	eventually(t, "the slow consumer is disconnected", func() bool {
		return cast.metric("websocket_closed", `reason="slow_consumer"`) == 1
	})
	cast.waitLog("slow_consumer")
	b.publish(1, message{topic: fmt.Sprintf("hall/press/%d", messages), payload: []byte("last")})
	for _, c := range clients {
		c.waitMessages(messages + 1)
	}
	checkSame(t, clients)
	for i, m := range clients[0].received() {
		if want := fmt.Sprintf(`"hall/press/%d"`, i); !strings.Contains(m.text[:min(600, len(m.text))], want) {
			t.Errorf("envelope %d is not that of %s: %.300s", i, want, m.text)
		}
	}

	// It gets what was in the sockets' buffers, and then an end: the Close frame
	// if there was room for it in time.
	slow.resumeReading()
	slow.wait("closed", func() bool { return slow.closed != nil })
	if e := slow.end(); e.Code != 1013 && e.Code != 1006 {
		t.Errorf("slow client: closed with %d %q, want 1013, or 1006 when it could not be told", e.Code, e.Reason)
	}
}

func TestClientMessageSize(t *testing.T) {
	t.Parallel()
	cast := runStreams(t)
	for _, c := range connectAll(t, cast.url("/telemetry")) {
		c.do(command{Send: 128 << 10})
		c.do(command{Send: 1})
		c.mustBeOpen()
	}
	clients := connectAll(t, cast.url("/telemetry"))
	for _, c := range clients {
		c.do(command{Send: 128 << 10})
		c.do(command{Send: 128<<10 + 1})
		c.waitClosed(1009)
	}
	eventually(t, "the metric counts the ends", func() bool {
		return cast.metric("websocket_closed", `reason="message_too_big"`) == float64(len(clients))
	})
	eventually(t, "only those are left whose messages were not too large", func() bool {
		return cast.metric("websocket_connections", "") == float64(len(clients))
	})
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	cast := runStreams(t, "idle_timeout: 1s")
	clients := connectAll(t, cast.url("/telemetry"))
	busy := connectGo(t, cast.url("/telemetry"))
	for busy.end() == nil && clients[2].end() == nil {
		busy.do(command{Send: 1})
		time.Sleep(100 * time.Millisecond) // well within the timeout
	}
	busy.do(command{Send: 1})
	for _, c := range clients {
		c.waitClosed(1001)
	}
	busy.waitClosed(1001)
	eventually(t, "the metric counts the ends", func() bool {
		return cast.metric("websocket_closed", `reason="idle_timeout"`) == float64(len(clients)+1)
	})
}

func TestMaxLifetime(t *testing.T) {
	t.Parallel()
	cast := runStreams(t, "max_lifetime: 2s")
	clients := connectAll(t, cast.url("/telemetry"))
	began := time.Now()
	busy := connectGo(t, cast.url("/telemetry"))
	for busy.end() == nil && time.Since(began) < patience {
		_ = busy.send(command{Send: 1}) // fails when it is closed
		time.Sleep(50 * time.Millisecond)
	}
	for _, c := range append(clients, busy) {
		c.waitClosed(1001)
	}
	if lived := time.Since(began); lived < 2*time.Second {
		t.Errorf("closed after %v, the lifetime is 2 s", lived)
	}
}

// A batch that is larger than what may wait for a connection arrives, in as many
// envelopes as it takes.
func TestBatchLargerThanTheQueue(t *testing.T) {
	t.Parallel()
	const messages = 80
	b := startMosquitto(t, "max_inflight_messages 0")
	cast := runStreams(t, "queue_bytes: 524288") // little, since a client has a second to read it
	cast.must(http.MethodPost, "/streams/trigger", trigger(b, fmt.Sprintf("broker_id: factory\nbatching: { count: %d, period: 5s }", messages), ""))
	cast.waitReady()
	c := connectGo(t, cast.url("/telemetry"))
	all := make([]message, messages)
	for i := range all {
		all[i] = message{topic: "hall/press", payload: fmt.Appendf(nil, "%d %s", i, bytes.Repeat([]byte("x"), 10_000))}
	}
	b.publish(1, all...)
	entries, sizes := c.waitEntries(messages)
	if len(sizes) < 2 { // more where the machine paused while they came
		t.Errorf("%d envelopes for 1.1 MB, and 512 KiB may wait for a connection", len(sizes))
	}
	for i, e := range entries {
		if !bytes.Equal(e.payload, all[i].payload) {
			t.Fatalf("message %d is %.20q…", i, e.payload)
		}
	}
}
