package tests

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	jwtlib "github.com/golang-jwt/jwt/v5"
)

// visit opens a connection over TLS, or tells the status of the refusal.
func (c *iotcast) visit(path string, client *tls.Config, header http.Header, subprotocols ...string) (*websocket.Conn, int, error) {
	c.t.Helper()
	transport := &http.Transport{TLSClientConfig: client.Clone()}
	c.t.Cleanup(transport.CloseIdleConnections)
	ws, res, err := websocket.Dial(c.t.Context(), "wss://"+c.gateway+path, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header, Subprotocols: subprotocols,
	})
	if err == nil {
		c.t.Cleanup(func() { _ = ws.CloseNow() })
	}
	if res == nil {
		return nil, 0, err
	}
	return ws, res.StatusCode, nil
}

func bearerHeader(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func origin(origin, token string) http.Header {
	h := bearerHeader(token)
	h.Set("Origin", origin)
	return h
}

// The config that is to face the internet, as it stands in the repository.
func TestSecureGateway(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	ca, id := newAuthority(t), newIssuer(t)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	ca.issue("first", certFile, keyFile)
	cast := runConfig(t, []string{"MQTT_URL=" + b.url(), "TLS_CERT=" + certFile, "TLS_KEY=" + keyFile, "JWKS_URL=" + id.url},
		"run", "-s", "logger.level=DEBUG", "../config/secure/gateway.yaml")
	cast.waitReady()
	client := ca.trusts()

	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&id.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	good := id.good(nil)
	for name, test := range map[string]struct {
		path   string
		header http.Header
		offers []string
		status int
		reason string
	}{
		"no token":           {path: "/telemetry", status: 401, reason: "token_missing"},
		"header":             {path: "/telemetry", header: bearerHeader(good), status: 101},
		"subprotocol":        {path: "/telemetry", offers: []string{"iotcast", "bearer." + good}, status: 101},
		"query":              {path: "/telemetry?access_token=" + good, status: 401, reason: "token_missing"},
		"expired":            {path: "/telemetry", header: bearerHeader(id.good(jwtlib.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()})), status: 401, reason: "token_expired"},
		"wrong audience":     {path: "/telemetry", header: bearerHeader(id.good(jwtlib.MapClaims{"aud": "other"})), status: 401, reason: "token_audience"},
		"wrong issuer":       {path: "/telemetry", header: bearerHeader(id.good(jwtlib.MapClaims{"iss": "https://evil.example.com/"})), status: 401, reason: "token_issuer"},
		"forged":             {path: "/telemetry", header: bearerHeader(id.token(jwtlib.SigningMethodES256, stranger, "one", nil)), status: 401, reason: "token_signature"},
		"alg none":           {path: "/telemetry", header: bearerHeader(id.token(jwtlib.SigningMethodNone, jwtlib.UnsafeAllowNoneSignatureType, "one", nil)), status: 401, reason: "token_algorithm"},
		"public key as HMAC": {path: "/telemetry", header: bearerHeader(id.token(jwtlib.SigningMethodHS256, public, "one", nil)), status: 401},
		"another path":       {path: "/alarms", header: bearerHeader(id.good(jwtlib.MapClaims{"routes": []string{"/telemetry"}})), status: 403, reason: "token_route"},
		"own page":           {path: "/telemetry", header: origin("https://"+cast.gateway, good), status: 101},
		"allowed page":       {path: "/telemetry", header: origin("https://dashboard.example.com", good), status: 101},
		"foreign page":       {path: "/telemetry", header: origin("https://evil.example.com", good), status: 403, reason: "origin"},
		"page of no origin":  {path: "/telemetry", header: origin("null", good), status: 403, reason: "origin"},
		"not on duty":        {path: "/alarms", header: bearerHeader(good), status: 403, reason: "on_connect"},
		"on duty":            {path: "/alarms", header: bearerHeader(id.good(jwtlib.MapClaims{"roles": []string{"on-duty"}})), status: 101},
		"unknown path":       {path: "/telemetry/", header: bearerHeader(good), status: 404, reason: "path"},
		"encoded path":       {path: "/%74elemetry", header: bearerHeader(good), status: 404, reason: "path"},
		"double slash":       {path: "//telemetry", header: bearerHeader(good), status: 404, reason: "path"},
		"dots":               {path: "/x/../telemetry", header: bearerHeader(good), status: 404, reason: "path"},
	} {
		ws, status, err := cast.visit(test.path, client, test.header, test.offers...)
		if status != test.status {
			t.Errorf("%s: status %d, %v, want %d", name, status, err, test.status)
		}
		if ws != nil && len(test.offers) > 0 && ws.Subprotocol() != "iotcast" {
			t.Errorf("%s: subprotocol %q", name, ws.Subprotocol())
		}
		if test.reason != "" && cast.metric("websocket_handshakes", fmt.Sprintf(`reason=%q,status="%d"`, test.reason, test.status)) < 1 {
			t.Errorf("%s: no metric counts %d %s", name, test.status, test.reason)
		}
	}
	cast.waitLog("Handshake refused") // at debug level

	// What is broadcast comes over TLS, too. A new certificate is for new connections.
	before, _, err := cast.visit("/telemetry", client, bearerHeader(good))
	if err != nil {
		t.Fatal(err)
	}
	ca.issue("second", certFile, keyFile)
	eventually(t, "the new certificate is served", func() bool {
		nc, err := tls.Dial("tcp", cast.gateway, client)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		return nc.ConnectionState().PeerCertificates[0].Subject.CommonName == "second"
	})
	b.publish(1, message{topic: "$devices/boiler/events", payload: []byte("20")})
	if _, p, err := before.Read(t.Context()); err != nil || !strings.Contains(string(p), "boiler") {
		t.Errorf("%s %v", p, err)
	}

	// Without the server of keys, those that are known still verify.
	id.down.Store(true)
	if _, status, err := cast.visit("/telemetry", client, bearerHeader(id.good(nil))); status != 101 {
		t.Errorf("while the server of keys is down: %d %v", status, err)
	}
	if _, status, _ := cast.visit("/telemetry", client, bearerHeader(id.token(jwtlib.SigningMethodES256, stranger, "two", nil))); status != 401 && status != 503 {
		t.Errorf("a token with an unknown key while the server of keys is down: %d", status)
	}

	// A line for each connection that ended, which a program can read.
	short, _, err := cast.visit("/telemetry", client, bearerHeader(id.good(jwtlib.MapClaims{"exp": time.Now().Add(2 * time.Second).Unix()})))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := short.Read(t.Context()); websocket.CloseStatus(err) != 4401 {
		t.Errorf("at the end of its token a connection ends with %v", err)
	}
	cast.waitLog(`"code":"4401"`)
	checkAccessLog(t, cast.out.String(), "token_expired")
	if strings.Contains(cast.out.String(), good) {
		t.Error("a token is in the log")
	}
}

// checkAccessLog reads the line of the end of a connection for a reason.
func checkAccessLog(t *testing.T, log, reason string) {
	t.Helper()
	for line := range strings.Lines(log) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) != nil || entry["msg"] != "Connection closed" || entry["reason"] != reason {
			continue
		}
		for _, field := range []string{
			"connection_id", "code", "gateway", "path", "source_ip", "user_agent", "open_for", "dropped", "level", "time",
		} {
			if _, ok := entry[field]; !ok {
				t.Errorf("the access log has no %s: %s", field, line)
			}
		}
		return
	}
	t.Errorf("no line of the access log with reason %s", reason)
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ca, others := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	ca.issue("gateway", certFile, keyFile)
	cast := runStreams(t, fmt.Sprintf("tls: { cert_file: %q, key_file: %q, client_auth: require, client_ca_files: [ %q ], min_version: '1.3' }", certFile, keyFile, ca.file()))
	if _, status, err := cast.visit("/telemetry", ca.trusts(ca.pair("wall display")), nil); status != 101 {
		t.Errorf("with a certificate: %d %v", status, err)
	}
	for name, client := range map[string]*tls.Config{
		"none":                    ca.trusts(),
		"one of somebody else":    ca.trusts(others.pair("wall display")),
		"an old version, besides": {RootCAs: ca.trusts().RootCAs, Certificates: []tls.Certificate{ca.pair("x")}, MaxVersion: tls.VersionTLS12},
	} {
		if ws, status, err := cast.visit("/telemetry", client, nil); ws != nil || err == nil {
			t.Errorf("%s: %d", name, status)
		}
	}
}

// Many clients that mean harm: who is connected notices nothing, and memory stays
// bounded.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := runIotcast(t, trigger(b, "broker_id: factory", ""), "handshake_timeout: 4s", "max_header_bytes: 8192", "max_frame_bytes: 32768")
	c := connectGo(t, cast.url("/telemetry"))
	before := cast.metric("process_resident_memory_bytes", "")

	const request = "GET /telemetry HTTP/1.1\r\nHost: x\r\n"
	const handshake = request + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	const each = 50
	published := 0
	for name, attack := range map[string]func(net.Conn) error{
		"header flood": func(nc net.Conn) error {
			line := []byte("X-Flood: " + strings.Repeat("x", 1000) + "\r\n")
			_, _ = io.WriteString(nc, request)
			for range 64_000 {
				if _, err := nc.Write(line); err != nil {
					return nil // it has enough
				}
			}
			return errors.New("64 megabytes of headers were read")
		},
		"slow request": func(nc net.Conn) error {
			_, err := io.WriteString(nc, request)
			return errors.Join(err, waitEnd(nc))
		},
		"no request": waitEnd,
		"slow body": func(nc net.Conn) error {
			_, err := io.WriteString(nc, "POST /telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
			return errors.Join(err, waitEnd(nc))
		},
		"a frame of a terabyte": func(nc net.Conn) error {
			return expectClose(nc, handshake+"\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1009)
		},
		"a message without end": func(nc net.Conn) error {
			var b strings.Builder
			b.WriteString("\x02\xfe\x7f\xff\x00\x00\x00\x00" + strings.Repeat("x", 32767))
			for range 5 {
				b.WriteString("\x00\xfe\x7f\xff\x00\x00\x00\x00" + strings.Repeat("x", 32767))
			}
			return expectClose(nc, handshake+b.String(), 1009)
		},
		"unmasked":      func(nc net.Conn) error { return expectClose(nc, handshake+"\x81\x02hi", 1002) },
		"reserved bit":  func(nc net.Conn) error { return expectClose(nc, handshake+"\xc1\x82\x00\x00\x00\x00hi", 1002) },
		"invalid UTF-8": func(nc net.Conn) error { return expectClose(nc, handshake+"\x81\x82\x00\x00\x00\x00h\xff", 1007) },
		"no HTTP": func(nc net.Conn) error {
			_, err := io.WriteString(nc, "\x16\x03\x01\x02\x00")
			return errors.Join(err, waitEnd(nc))
		},
	} {
		var all sync.WaitGroup
		for range each {
			all.Go(func() {
				nc, err := net.Dial("tcp", cast.gateway)
				if err != nil {
					t.Error(err)
					return
				}
				defer nc.Close()
				_ = nc.SetDeadline(time.Now().Add(patience))
				if err := attack(nc); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		published++
		b.publish(1, message{topic: "hall/press", payload: []byte(name)})
		c.waitEntries(published)
		all.Wait()
	}
	c.mustBeOpen()
	if grown := cast.metric("process_resident_memory_bytes", "") - before; grown > 64<<20 {
		t.Errorf("memory has grown by %.0f MiB", grown/(1<<20))
	}
	eventually(t, "only one connection is left", func() bool { return cast.metric("websocket_connections", "") == 1 })
	for reason, want := range map[string]float64{"message_too_big": 2 * each, "protocol_error": 2 * each, "invalid_utf8": each} {
		if got := cast.metric("websocket_closed", `reason="`+reason+`"`); got != want {
			t.Errorf("%v connections ended for %s, want %v", got, reason, want)
		}
	}
}

// waitEnd expects the other side to end the connection, with an answer or without.
func waitEnd(nc net.Conn) error {
	if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the connection does not end: %w", err)
	}
	return nil
}

// expectClose sends bytes after the handshake and expects a Close frame.
func expectClose(nc net.Conn, send string, code int) error {
	if _, err := io.WriteString(nc, send); err != nil {
		return err
	}
	in := bufio.NewReader(nc)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("no handshake: %v %w", res, err)
	}
	for {
		var head [2]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return fmt.Errorf("no Close frame: %w", err)
		}
		n := int64(head[1])
		if n == 126 {
			var more [2]byte
			if _, err := io.ReadFull(in, more[:]); err != nil {
				return err
			}
			n = int64(more[0])<<8 | int64(more[1])
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(in, payload); err != nil {
			return err
		}
		if head[0] == 0x88 {
			if got := int(payload[0])<<8 | int(payload[1]); got != code {
				return fmt.Errorf("close code %d, want %d", got, code)
			}
			return nil
		}
	}
}
