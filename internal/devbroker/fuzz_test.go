package devbroker

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// Whatever a client sends, the broker does not panic, lets go of the connection when the client has said all, and keeps nothing
// of it but the session that it has asked for: with and without registries, before and after a login.
func FuzzPackets(f *testing.F) {
	for _, p := range ours(passages(f, subjects)) {
		var sent []byte
		for _, l := range p.talk {
			switch l.what {
			case '>':
				sent = append(sent, encode(l.packet)...)
			case '!':
				sent = append(sent, encodeFields(l.packet)...)
			}
		}
		f.Add(sent)
	}
	panics := new(panicLog)
	log := slog.New(slog.NewTextHandler(panics, nil))
	open := startBroker(f, Config{}, log)
	guarded := startBroker(f, Config{Directory: newDirectory(f, labConfig())}, log)
	talks := []struct {
		broker *Broker
		before []byte
	}{
		{open, nil},
		{open, encode(`10 "MQTT" 05 02 003c 00 "c"`)},
		{guarded, encode(`10 "MQTT" 05 c0 003c 05 1100000e10 "c" "d1" "` + password + `"`)},
		{guarded, encode(`10 "MQTT" 04 c0 003c "c" "d1" "` + password + `"`)},
		{guarded, encode(`10 "MQTT" 04 c2 003c "c" "b" "` + password + `"`)},
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		goroutines := runtime.NumGoroutine()
		for _, talk := range talks {
			say(t, talk.broker, append(bytes.Clone(talk.before), sent...))
			leavesNothing(t, talk.broker)
		}
		eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
		if panics.Swap(false) {
			t.Errorf("a panic after %x", sent)
		}
	})
}

// say sends something, and waits until the broker has closed the connection.
func say(t *testing.T, b *Broker, sent []byte) {
	nc, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = nc.Write(sent) // the broker may have hung up
		_ = nc.(*net.TCPConn).CloseWrite()
	}()
	if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
		t.Fatalf("the connection stays open after %x", sent)
	}
	<-written
}

// leavesNothing checks that there is nothing of connections that have ended but sessions that were to stay. It ends these, too,
// after which there is nothing at all.
func leavesNothing(t *testing.T, b *Broker) {
	l := b.listeners[0]
	eventually(t, "the broker knows no connection", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.conns) == 0
	})
	for id, cl := range b.server.Clients.GetAll() {
		if !persistent(cl) {
			t.Errorf("session %q is still there", id)
		}
		b.hook.dissolve(cl)
	}
	for topic := range b.server.Topics.Retained.GetAll() {
		b.hook.drop(topic)
	}
	h, info := b.hook, b.server.Info
	h.received.mu.Lock()
	received := len(h.received.ids)
	h.received.mu.Unlock()
	h.sessions.mu.Lock()
	principals := len(h.sessions.of)
	h.sessions.mu.Unlock()
	if clients := b.server.Clients.Len(); clients+received+principals > 0 {
		t.Errorf("sessions: %d are left, IDs of messages of %d, principals %d", clients, received, principals)
	}
	for what, n := range map[string]*int64{
		"clients": &info.ClientsConnected, "subscriptions": &info.Subscriptions, "messages in sessions": &info.Inflight,
	} {
		if n := atomic.LoadInt64(n); n != 0 {
			t.Errorf("%s: %d are left", what, n)
			return
		}
	}
}

// panicLog is a log that notes only whether the broker has recovered from a panic.
type panicLog struct{ atomic.Bool }

func (l *panicLog) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(panicked)) {
		l.Store(true)
	}
	return len(p), nil
}
