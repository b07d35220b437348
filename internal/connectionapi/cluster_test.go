package connectionapi_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/connectionapi"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
)

func startNode(t *testing.T, id string) *gateway.Gateway {
	t.Helper()
	g, err := gateway.Start(gateway.Config{
		Label: "main", Address: "127.0.0.1:0", NodeID: id, Admission: gateway.Admission{HandshakeTimeout: 10 * time.Second},
		Routes: []gateway.RouteConfig{{Path: "/a", Limits: fanout.Limits{QueueBytes: 1 << 10, MaxMessageBytes: 1 << 10}}},
	}, func(string, string) gateway.Observer { return deaf{} }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		g.Close(ctx)
	})
	return g
}

// TestCluster: the API of one node over a connection of another.
func TestCluster(t *testing.T) {
	a, b := startNode(t, "a"), startNode(t, "b")
	remote := connectionapi.Local(gateway.NewSet(b))
	broken := ""
	api := start(t, connectionapi.Cluster(gateway.NewSet(a), func(ctx context.Context, node string, request []byte) ([]byte, error) {
		switch {
		case node != "b":
			return nil, errors.New("no responders")
		case broken != "":
			return []byte(broken), nil
		}
		return connectionapi.Answer(ctx, remote, request, nil), nil
	}, slog.New(slog.DiscardHandler)), false)

	dial := func(g *gateway.Gateway) (*websocket.Conn, string) {
		ws, res, err := websocket.Dial(t.Context(), "ws://"+g.Addr().String()+"/a", &websocket.DialOptions{HTTPClient: httpClient})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		return ws, res.Header.Get("X-Yc-Apigateway-Websocket-Connection-Id")
	}
	_, own := dial(a)
	ws, other := dial(b)
	for _, id := range []string{own, other} {
		if r := api.do("GET", "/connections/"+id, nil); r.status != 200 || r.body["id"] != id || r.body["gatewayId"] != "main" {
			t.Error(r.status, r.raw)
		}
	}
	api.do("POST", "/connections/"+other+":send", map[string]any{"data": "SGVsbG8=", "type": "TEXT"}).succeeds(t, `{}`)
	api.do("POST", "/connections/"+other+":send", map[string]any{"data": "/+8="}).succeeds(t, `{}`)
	for _, want := range []string{"Hello", "\xff\xef"} {
		if _, p, err := ws.Read(t.Context()); err != nil || string(p) != want {
			t.Errorf("%q %v", p, err)
		}
	}
	for id, want := range map[string]int{
		"b-00000000-0000-7000-8000-000000000000": 404,
		"c" + other[1:]:                          404,
		other[2:]:                                404,
	} {
		if r := api.do("GET", "/connections/"+id, nil); r.status != want {
			t.Errorf("%s: %d %s", id, r.status, r.raw)
		}
	}
	if r := api.do("POST", "/connections/"+other+":send", map[string]any{"data": string(make2k())}); r.status != 400 {
		t.Error("too large:", r.status, r.raw)
	}
	for answer, want := range map[string]int{`+ACK`: 500, `{"status":200}`: 500, `{"status":500}`: 500, `{"status":404}`: 404} {
		broken = answer
		if r := api.do("GET", "/connections/"+other, nil); r.status != want {
			t.Errorf("answer %s: %d %s", answer, r.status, r.raw)
		}
	}
	broken = ""
	api.do("DELETE", "/connections/"+other, nil).succeeds(t, `{}`)
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Error(err)
	}
}

// make2k is base64 of more than the queue of a node takes.
func make2k() []byte {
	data := make([]byte, 2048)
	for i := range data {
		data[i] = 'A'
	}
	return data
}

// TestAnswer: what cannot be understood, and what is not allowed.
func TestAnswer(t *testing.T) {
	d := connectionapi.Local(gateway.NewSet(startNode(t, "a")))
	for request, want := range map[string]string{
		`x`:                                      `{"status":400,"error":"the request is not the JSON that it must be: invalid character 'x' looking for beginning of value"}`,
		`{"method":"list"}`:                      `{"status":400,"error":"method is \"list\", and must be get, send or disconnect"}`,
		`{"method":"get","connection_id":"a-b"}`: `{"status":404,"error":"not found"}`,
	} {
		if got := string(connectionapi.Answer(t.Context(), d, []byte(request), nil)); got != want {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
	}
}
