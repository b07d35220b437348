package control_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/token"
)

// detailed is a connection of a list.
type detailed struct {
	ID, Path, Subject, Protocol string
	Watch                       *struct{ DeviceIDs, Topics []string }
	QueuedBytes, Dropped        *int
}

// TestListTellsDetails: who a connection is, what it watches, and what waits for it; and it is found by that, on another node
// as well.
func TestListTellsDetails(t *testing.T) {
	t.Parallel()
	verifier, err := token.New(token.Config{Secret: []byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	limits := fanout.Limits{QueueBytes: 1 << 10, MaxMessageBytes: 1 << 10}
	g := startGateway(t, "b",
		gateway.RouteConfig{Path: "/watch", Events: true, Limits: limits, Watch: &gateway.Watch{}, Tokens: &gateway.Tokens{Verifier: verifier, Optional: true}},
		gateway.RouteConfig{Path: "/required", Limits: limits, Watch: &gateway.Watch{Required: true}},
	)
	remote := connections.Local(gateway.NewSet(g))
	c := start(t, connections.Cluster(gateway.NewSet(startNode(t, "a")), []string{"a", "b"}, func(ctx context.Context, _ string, request []byte) ([]byte, error) {
		return connections.Answer(ctx, remote, request, nil), nil
	}, slog.New(slog.DiscardHandler)), false)

	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Authorization": {"Bearer " + signed}}
	dial := func(target string) string {
		ws, res, err := websocket.Dial(t.Context(), "ws://"+g.Addr().String()+target, &websocket.DialOptions{HTTPHeader: header, HTTPClient: httpClient})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		return res.Header.Get("X-Yc-Apigateway-Websocket-Connection-Id")
	}
	chosen := dial("/watch?device_id=boiler,pump&topic=home/%23&interval=1s")
	header = nil
	everything := dial("/watch")
	paced := dial("/watch?interval=1s")
	nothing := dial("/required")
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+g.Addr().String()+"/watch?device_id=pump", nil)
	req.Header.Set("Accept", "text/event-stream")
	res, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = io.Copy(io.Discard, res.Body); _ = res.Body.Close() }()
	defer g.Close(context.Background())
	events := res.Header.Get("X-Yc-Apigateway-Websocket-Connection-Id")

	find := func(query string) map[string]detailed {
		t.Helper()
		a := c.do("GET", "/connections"+query, nil)
		var list struct{ Connections []detailed }
		if err := json.Unmarshal([]byte(a.raw), &list); err != nil || a.status != http.StatusOK {
			t.Fatal(a.status, a.raw, err)
		}
		found := map[string]detailed{}
		for _, one := range list.Connections {
			found[one.ID] = one
		}
		return found
	}
	for query, want := range map[string][]string{
		"":                              {chosen, everything, paced, nothing, events},
		"?deviceId=boiler":              {chosen},
		"?deviceId=pump":                {chosen, events},
		"?deviceId=none":                {},
		"?subject=alice":                {chosen},
		"?subject=bob":                  {},
		"?subject=alice&deviceId=pump":  {chosen},
		"?path=/required&deviceId=pump": {},
	} {
		found := find(query)
		for _, id := range want {
			if _, ok := found[id]; !ok {
				t.Errorf("%q: %s is missing", query, id)
			}
		}
		if len(found) != len(want) {
			t.Errorf("%q: %d connections, want %d", query, len(found), len(want))
		}
	}
	all := find("")
	if one := all[chosen]; one.Subject != "alice" || one.Protocol != "websocket" || one.Watch == nil || len(one.Watch.DeviceIDs) != 2 || one.Watch.Topics[0] != "home/#" || *one.QueuedBytes != 0 || *one.Dropped != 0 {
		t.Errorf("%+v", one)
	}
	if one := all[events]; one.Subject != "" || one.Protocol != "sse" || one.Watch == nil || one.Watch.DeviceIDs[0] != "pump" {
		t.Errorf("%+v", one)
	}
	if all[everything].Watch != nil || all[paced].Watch != nil {
		t.Errorf("these get everything: %+v %+v", all[everything], all[paced])
	}
	if one := all[nothing]; one.Watch == nil || len(one.Watch.DeviceIDs)+len(one.Watch.Topics) != 0 {
		t.Errorf("this gets nothing: %+v", one)
	}
}
