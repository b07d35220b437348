package iotmqtt_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// hanging accepts connections, handles each, and then reads on without a word.
func hanging(t *testing.T, handle func(net.Conn)) (addr string, open *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open = new(atomic.Int64)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			open.Add(1)
			all.Go(func() {
				defer func() { _ = nc.Close(); open.Add(-1) }()
				handle(nc)
				_, _ = io.Copy(io.Discard, nc)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return l.Addr().String(), open
}

func deaf(net.Conn) {}

// TestSecondURL is reached although the first broker hangs, at whichever step, and
// the connection to that is given up at once.
func TestSecondURL(t *testing.T) {
	t.Parallel()
	_, port := startBroker(t)
	for name, tc := range map[string]struct {
		url    string
		handle func(net.Conn)
	}{
		"no CONNACK":          {"tcp://%s", deaf},
		"no SUBACK":           {"tcp://%s", connack},
		"no TLS":              {"ssl://%s", deaf},
		"no answer to HTTP":   {"ws://%s", deaf},
		"no TLS before HTTP":  {"wss://%s", deaf},
		"with a comma":        {"tcp://%s,tcp://127.0.0.1:1", deaf},
		"a CONNACK too short": {"tcp://%s", func(nc net.Conn) { _, _ = nc.Write([]byte{0x20, 2}) }},
	} {
		t.Run(name, func(t *testing.T) {
			addr, open := hanging(t, tc.handle)
			var got received
			runAt(t, fmt.Sprintf(tc.url, addr)+`", "tcp://127.0.0.1:`+port, "broker_id: b\nconnect_timeout: 300ms", got.add)
			if n := open.Load(); n > 0 {
				eventually(t, func() bool { return open.Load() == 0 })
			}
			publisher(t, port)("t", 1, "x")
			eventually(t, func() bool { return len(got.payloads()) == 1 })
		})
	}
}

// TestFailedWebSocket: a server that refuses the handshake keeps no connection, and
// HTTP/2 is offered neither to it nor, after it, to a broker.
func TestFailedWebSocket(t *testing.T) {
	var open atomic.Int64
	web := httptest.NewUnstartedServer(http.NotFoundHandler())
	web.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
	web.StartTLS()
	t.Cleanup(web.Close)

	offered := make(chan []string, 100)
	config := web.TLS.Clone()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		offered <- hello.SupportedProtos
		return nil, nil
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			_ = nc.(*tls.Conn).Handshake()
			_ = nc.Close()
		}
	}()
	in := build(t, fmt.Sprintf("urls: [ %q, %q ]\nbroker_id: b\ntls: { enabled: true, skip_cert_verify: true }",
		strings.Replace(web.URL, "https", "wss", 1), "ssl://"+l.Addr().String()), new(received).add)
	for range 2 {
		select {
		case protos := <-offered:
			if len(protos) > 0 {
				t.Errorf("%v is offered to an MQTT broker", protos)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("never connected")
		}
	}
	in.waitFor(t, "404")
	eventually(t, func() bool { return open.Load() <= 1 }) // another attempt may be under way
}

// build runs a stream that need not connect.
func build(t *testing.T, yaml string, consume service.MessageBatchHandlerFunc) *logBook {
	t.Helper()
	s, logs := newStream(t, service.NewStreamBuilder(), yaml, consume)
	runStream(t, s)
	return logs
}

// TestSecretsStayOut of what is logged, and of lint.
func TestSecretsStayOut(t *testing.T) {
	logs := build(t, `
urls: [ "tcp://alice:s3cr3t@127.0.0.1:1, ws://alice:s3cr3t@127.0.0.1:1/mqtt?token=s3cr3t" ]
broker_id: b`, new(received).add)
	logs.waitFor(t, "Failed to connect")
	if n := logs.count("s3cr3t"); n > 0 {
		t.Errorf("the log holds the password: %v", *logs.lines)
	}
	for _, url := range []string{"tcp://alice:s3cr3t/@x:1883", "tcp://alice:%s3cr3t@x", "alice:s3cr3t@x", "foo://alice:s3cr3t@x", "tcp://alice:s3cr3t@", "tcp://x,ssl:s3cr3t"} {
		for _, lint := range []bool{true, false} {
			b := service.NewStreamBuilder()
			if !lint {
				b.DisableLinting()
			}
			b.SetLogger(slog.New(newLogBook()))
			err := b.AddInputYAML("iot_mqtt: { broker_id: b, urls: [ tcp://ok, '" + url + "' ] }")
			if !lint && err == nil {
				_ = b.AddOutputYAML("drop: {}")
				var s *service.Stream
				if s, err = b.Build(); err == nil {
					err = s.Run(t.Context())
				}
			}
			if err == nil || !strings.Contains(err.Error(), "URL") || strings.Contains(err.Error(), "s3cr3t") ||
				!lint && !strings.Contains(err.Error(), "field urls: entry 2 is ") {
				t.Errorf("%s (lint: %v): %v", url, lint, err)
			}
		}
	}
}
