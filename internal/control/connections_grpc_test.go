package control_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/apigateway/websocket/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/control"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/state"
	"github.com/iotcast/iotcast/internal/token"
)

// grpc is a client of the same API.
func (c *client) grpc() *grpc.ClientConn {
	c.t.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(c.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// with is a context with a token of a service account.
func with(t *testing.T, account string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+signed(account, nil))
}

// manage starts the management API over a directory of connections.
func manage(t *testing.T, d connections.Directory, withTokens bool, grants ...access.Grant) *client {
	t.Helper()
	cfg := control.Config{Address: "127.0.0.1:0", Connections: d, MaxMessageBytes: 128 << 10, Grants: grants}
	var err error
	if withTokens {
		if cfg.Verifier, err = token.New(token.Config{Secret: []byte(secret)}); err != nil {
			t.Fatal(err)
		}
	}
	if cfg.State, err = state.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cfg.State.Close() })
	if cfg.Directory, err = registry.New(registry.Config{}); err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, counted: map[string]int{}, log: new(lines), mu: new(sync.Mutex)}
	s, err := control.Start(cfg, func(method, code string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.counted[method+" "+code]++
	}, c.log.logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	c.url = "http://" + s.Addr().String()
	c.read(t)
	return c
}

func wantCode(t *testing.T, err error, code codes.Code, text string) {
	t.Helper()
	if status.Code(err) != code || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("%v, want %v with %q", err, code, text)
	}
}

// TestConnectionsOverGRPC: connection_api takes gRPC at the same address.
func TestConnectionsOverGRPC(t *testing.T) {
	d := directoryOf(access.Bindings{"writer": access.Writer})
	c := start(t, d, true)
	api, ctx := websocket.NewConnectionServiceClient(c.grpc()), with(t, "writer")
	got, err := api.Get(ctx, &websocket.GetConnectionRequest{ConnectionId: "id-0"})
	if err != nil || got.GatewayId != "main" || got.Identity.SourceIp != "192.0.2.1" || !got.ConnectedAt.AsTime().Equal(d.connections[0].ConnectedAt) {
		t.Error(got, err)
	}
	if _, err := api.Send(ctx, &websocket.SendToConnectionRequest{ConnectionId: "id-0", Data: []byte("Hello"), Type: websocket.SendToConnectionRequest_TEXT}); err != nil {
		t.Error(err)
	}
	if _, err := api.Disconnect(ctx, &websocket.DisconnectRequest{ConnectionId: "id-3"}); err != nil || !d.connections[3].closed {
		t.Error(err)
	}
	if !slices.Equal(d.connections[0].sent, []string{"true Hello"}) {
		t.Errorf("%q", d.connections[0].sent)
	}
	_, err = api.Send(ctx, &websocket.SendToConnectionRequest{ConnectionId: "id-0", Data: []byte("\xff"), Type: websocket.SendToConnectionRequest_TEXT})
	wantCode(t, err, codes.InvalidArgument, "UTF-8")
	_, err = api.Send(ctx, &websocket.SendToConnectionRequest{ConnectionId: "id-0", Data: []byte("x"), Type: 7})
	wantCode(t, err, codes.InvalidArgument, "type is 7")
	_, err = api.Get(ctx, &websocket.GetConnectionRequest{ConnectionId: "none"})
	wantCode(t, err, codes.NotFound, "not open")
	_, err = api.Get(t.Context(), &websocket.GetConnectionRequest{ConnectionId: "id-0"})
	wantCode(t, err, codes.Unauthenticated, "bearer token")
	_, err = api.Get(ctx, &websocket.GetConnectionRequest{ConnectionId: "id-2"})
	wantCode(t, err, codes.PermissionDenied, `"other"`)
	if c.counted["get 200"] != 1 || c.counted["get 401"] != 1 || c.counted["get 403"] != 1 || c.counted["send 400"] != 2 {
		t.Error(c.counted)
	}
}

// TestManagedConnections: the management API goes by the bindings of a gateway, or by its own.
func TestManagedConnections(t *testing.T) {
	d := directoryOf(access.Bindings{"bound": access.Writer})
	d.bindings["empty"] = nil
	c := manage(t, d, true,
		access.Grant{Account: "viewer", Role: access.ViewerOfAll},
		access.Grant{Account: "editor", Role: access.EditorOfAll},
		access.Grant{Account: "one", Role: access.Broadcaster.String(), Resources: []string{"main"}},
		access.Grant{Account: "devices", Role: access.DevicesWriter},
	)
	message, all := map[string]any{"data": hello}, map[string]any{"path": "/a", "data": hello}
	for account, want := range map[string]string{ // get and send on main, get on other, list, broadcast
		"bound": "200 200 403 200 403", "viewer": "200 403 200 200 403", "editor": "200 200 200 200 200",
		"one": "200 200 403 200 200", "devices": "403 403 403 403 403", "": "401 401 401 401 401",
	} {
		as := c
		if account != "" {
			as = c.as(account)
		}
		got := fmt.Sprint(
			as.do("GET", "/connections/id-0", nil).status, " ", as.do("POST", "/connections/id-0:send", message).status, " ",
			as.do("GET", "/connections/id-2", nil).status, " ", as.do("GET", "/connections", nil).status, " ",
			as.do("POST", "/gateways/main:broadcast", all).status)
		if got != want {
			t.Errorf("%q: %s, want %s", account, got, want)
		}
	}
	c.as("one").do("GET", "/connections", nil).lists(t, "id-0/a id-1/b id-3/a")
	c.as("viewer").do("GET", "/connections", nil).lists(t, "id-0/a id-1/b id-2/a id-3/a")
	api := websocket.NewConnectionServiceClient(c.grpc())
	_, err := api.Disconnect(with(t, "viewer"), &websocket.DisconnectRequest{ConnectionId: "id-0"})
	wantCode(t, err, codes.PermissionDenied, "api-gateway.websocketWriter")
	if _, err := api.Disconnect(with(t, "editor"), &websocket.DisconnectRequest{ConnectionId: "id-0"}); err != nil {
		t.Error(err)
	}
	if c.counted["ConnectionService/Broadcast OK"] != 2 || c.counted["ConnectionService/Disconnect OK"] != 1 {
		t.Error(c.counted)
	}
}

// TestManagedWithoutTokens: there whoever reaches the API may do all.
func TestManagedWithoutTokens(t *testing.T) {
	c := manage(t, directoryOf(access.Bindings{"somebody": access.Admin}), false)
	c.do("GET", "/connections", nil).lists(t, "id-0/a id-1/b id-2/a id-3/a")
	c.do("POST", "/gateways/main:broadcast", map[string]any{"path": "/a", "data": hello}).succeeds(t, `{"connections":2}`)
	c.do("POST", "/gateways/main:broadcast", `path=/a`, func(req *http.Request) {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}).fails(t, 415, 3, "application/json")
}

// TestMaxMessageBytes: the configuration bounds messages, and not the published type.
func TestMaxMessageBytes(t *testing.T) {
	d := directoryOf(nil)
	const most = 1 << 20
	c := startWith(t, control.Config{Address: "127.0.0.1:0", MaxMessageBytes: most}, d)
	api := websocket.NewConnectionServiceClient(c.grpc())
	for n, ok := range map[int]bool{most: true, most + 1: false} {
		data := make([]byte, n)
		text := base64.StdEncoding.EncodeToString(data)
		for what, status := range map[string]int{
			"send":      c.do("POST", "/connections/id-0:send", map[string]any{"data": text}).status,
			"escaped":   c.do("POST", "/connections/id-0:send", `{"data":"`+strings.ReplaceAll(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, n)), "/", `\/`)+`"}`).status,
			"broadcast": c.do("POST", "/gateways/main:broadcast", map[string]any{"path": "/a", "data": text}).status,
		} {
			if (status == 200) != ok || !ok && status != 400 {
				t.Errorf("%s of %d bytes: %d", what, n, status)
			}
		}
		if _, err := api.Send(t.Context(), &websocket.SendToConnectionRequest{ConnectionId: "id-0", Data: data}); (err == nil) != ok {
			t.Errorf("%d bytes over gRPC: %v", n, err)
		}
	}
	small := startWith(t, control.Config{Address: "127.0.0.1:0", MaxMessageBytes: 5}, d)
	small.do("POST", "/connections/id-0:send", map[string]any{"data": hello}).succeeds(t, `{}`)
	small.do("POST", "/connections/id-0:send", map[string]any{"data": "SGVsbG9v"}).fails(t, 400, 3, "6 bytes, and a message may have 5")
}

// TestConnectionsAreRecorded: each request is counted, and each that changes something or is refused stands in the log, with
// who has made it; also those that reach no method.
func TestConnectionsAreRecorded(t *testing.T) {
	c := start(t, directoryOf(access.Bindings{"a": access.Admin}), true)
	as := c.as("a")
	as.do("GET", "/connections/id-0", nil)
	as.do("POST", "/connections/id-0:send", map[string]any{"data": hello})
	as.do("POST", "/connections/id-0:send", "{")
	as.do("POST", "/gateways/main:broadcast", map[string]any{"path": "/a", "data": hello})
	c.as("b").do("DELETE", "/connections/id-0", nil)
	as.do("DELETE", "/connections/id-0", nil)
	as.do("GET", "/elsewhere", nil)
	as.do("PUT", "/connections", nil)
	c.do("GET", "/elsewhere", nil)
	c.do("POST", "/connections/id-0:send", "{")
	for _, want := range []string{
		`level=DEBUG msg="Connection API" method=ConnectionService/Get service_account_id=a code=OK connection_id=id-0 gateway_id=main remote_address=127.0.0.1:`,
		`level=DEBUG msg="Connection API" method=ConnectionService/Send service_account_id=a code=OK connection_id=id-0 gateway_id=main`,
		`level=INFO msg="Connection API" method=ConnectionService/Send service_account_id=a code=InvalidArgument remote_address=`,
		`level=DEBUG msg="Connection API" method=ConnectionService/Broadcast service_account_id=a code=OK gateway_id=main`,
		`level=WARN msg="Connection API" method=ConnectionService/Disconnect service_account_id=b code=PermissionDenied connection_id=id-0 gateway_id=main`,
		`level=INFO msg="Connection API" method=ConnectionService/Disconnect service_account_id=a code=OK connection_id=id-0 gateway_id=main`,
		`level=DEBUG msg="Connection API" method=unknown service_account_id=a code=NotFound`,
		`level=WARN msg="Connection API" method=unknown code=Unauthenticated`,
		`level=WARN msg="Connection API" method=ConnectionService/Send code=Unauthenticated`,
	} {
		if !strings.Contains(c.log.String(), want) {
			t.Errorf("the log does not have %s:\n%s", want, c.log)
		}
	}
	want := map[string]int{
		"get 200": 1, "send 200": 1, "send 400": 1, "broadcast 200": 1, "disconnect 403": 1, "disconnect 200": 1, "unknown 404": 1,
		"unknown 405": 1, "unknown 401": 1, "send 401": 1,
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if fmt.Sprint(c.counted) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", c.counted, want)
	}
}

// TestBodiesOfAnyType: curl -d sends forms.
func TestBodiesOfAnyType(t *testing.T) {
	c := start(t, directoryOf(nil), false)
	for _, kind := range []string{"", "application/x-www-form-urlencoded", "text/plain", ";"} {
		c.do("POST", "/connections/id-0:send", map[string]any{"data": hello}, func(req *http.Request) {
			req.Header.Del("Content-Type")
			if kind != "" {
				req.Header.Set("Content-Type", kind)
			}
		}).succeeds(t, `{}`)
	}
}

// TestReflectionAndHealth: both work through the transcoder. A probe needs no token, and who asks what there is must be a viewer.
func TestReflectionAndHealth(t *testing.T) {
	listed := func(ctx context.Context, c *client) (names []string, err error) {
		stream, err := reflectionpb.NewServerReflectionClient(c.grpc()).ServerReflectionInfo(ctx)
		if err != nil {
			return nil, err
		}
		// A refused stream has ended before or while something is sent to it, and Recv tells why.
		_ = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
		got, err := stream.Recv()
		for _, s := range got.GetListServicesResponse().GetService() {
			names = append(names, s.Name)
		}
		_ = stream.CloseSend()
		return names, err
	}
	serves := func(c *client) {
		t.Helper()
		got, err := healthpb.NewHealthClient(c.grpc()).Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil || got.Status != healthpb.HealthCheckResponse_SERVING {
			t.Error(got, err)
		}
	}
	open, closed := manage(t, directoryOf(nil), false), manage(t, directoryOf(nil), true, access.Grant{Account: "v", Role: access.ViewerOfAll})
	serves(open)
	serves(closed)
	serves(start(t, directoryOf(nil), true))
	for ctx, c := range map[context.Context]*client{t.Context(): open, with(t, "v"): closed} {
		names, err := listed(ctx, c)
		for _, want := range []string{
			"yandex.cloud.iot.devices.v1.RegistryService", "yandex.cloud.serverless.apigateway.websocket.v1.ConnectionService", "grpc.health.v1.Health",
		} {
			if err != nil || !slices.Contains(names, want) {
				t.Errorf("%v (%v), want %s", names, err, want)
			}
		}
	}
	_, err := listed(t.Context(), closed)
	wantCode(t, err, codes.Unauthenticated, "bearer token")
	_, err = listed(with(t, "stranger"), closed)
	wantCode(t, err, codes.PermissionDenied, "viewer")
}

// TestOverTLS: gRPC and REST at one address, also where the configuration follows its files.
func TestOverTLS(t *testing.T) {
	sample := httptest.NewTLSServer(nil)
	sample.Close()
	static := &tls.Config{Certificates: sample.TLS.Certificates, NextProtos: []string{"http/1.1"}}
	following := static.Clone()
	following.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return static.Clone(), nil }
	roots := x509.NewCertPool()
	roots.AddCert(sample.Certificate())
	for _, secure := range []*tls.Config{static, following} {
		s, err := control.StartConnections(control.Config{
			Address: "127.0.0.1:0", MaxMessageBytes: 1, Connections: directoryOf(nil), TLS: secure,
		}, func(string, int) {}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		client := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
		conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(client)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := websocket.NewConnectionServiceClient(conn).Get(t.Context(), &websocket.GetConnectionRequest{ConnectionId: "id-0"})
		if err != nil || got.Id != "id-0" {
			t.Error(got, err)
		}
		_ = conn.Close()
		https := http.Client{Transport: &http.Transport{TLSClientConfig: client, DisableKeepAlives: true}}
		res, err := https.Get("https://" + s.Addr().String() + basePath + "/connections")
		if err != nil || res.StatusCode != http.StatusOK {
			t.Error(res, err)
		} else {
			_ = res.Body.Close()
		}
		s.Close(t.Context())
	}
}
