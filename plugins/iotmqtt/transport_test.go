package iotmqtt_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// TestTransports: the same messages over TLS, WebSocket, both, and a Unix socket.
// Each is a front of the embedded broker, which speaks TCP only.
func TestTransports(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)

	front := func(nc net.Conn) {
		up, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Error(err)
			return
		}
		go func() { _, _ = io.Copy(up, nc); _ = up.Close() }()
		_, _ = io.Copy(nc, up)
		_ = nc.Close()
	}
	overWebSocket := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mqtt"}})
		if err != nil || ws.Subprotocol() != "mqtt" { // MQTT 3.1.1, section 6
			t.Errorf("subprotocol %v, %v", ws, err)
			return
		}
		front(websocket.NetConn(context.Background(), ws, websocket.MessageBinary))
	})
	plain, secure := httptest.NewServer(overWebSocket), httptest.NewTLSServer(overWebSocket)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}

	serve := func(l net.Listener, err error) string {
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
				go front(nc)
			}
		}()
		return l.Addr().String()
	}
	overTLS := serve(tls.Listen("tcp", "127.0.0.1:0", secure.TLS))
	socket := serve(net.Listen("unix", filepath.Join(t.TempDir(), "mqtt.sock")))

	trust := "\ntls: { enabled: true, root_cas_file: " + ca + " }"
	for name, tc := range map[string]struct{ url, yaml string }{
		"TLS":                {"ssl://" + overTLS, trust},
		"WebSocket":          {strings.Replace(plain.URL, "http", "ws", 1), ""},
		"WebSocket over TLS": {strings.Replace(secure.URL, "https", "wss", 1), trust},
		"Unix socket":        {"unix://" + socket, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got received
			runAt(t, tc.url, "broker_id: b"+tc.yaml, got.add)
			publish("t", 1, name)
			eventually(t, func() bool { return len(got.payloads()) == 1 })
		})
	}
}
