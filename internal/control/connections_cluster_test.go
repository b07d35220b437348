package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
)

func startNode(t *testing.T, id string) *gateway.Gateway {
	t.Helper()
	return startGateway(t, id, gateway.RouteConfig{Path: "/a", Limits: fanout.Limits{QueueBytes: 1 << 10, MaxMessageBytes: 1 << 10}})
}

// startGateway starts one of a node, which may have no ID, until the test ends.
func startGateway(t *testing.T, node string, routes ...gateway.RouteConfig) *gateway.Gateway {
	t.Helper()
	g, err := gateway.Start(gateway.Config{
		Label: "main", Address: "127.0.0.1:0", NodeID: node, Admission: gateway.Admission{HandshakeTimeout: 10 * time.Second}, Routes: routes,
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
	remote := connections.Local(gateway.NewSet(b))
	broken := ""
	api := start(t, connections.Cluster(gateway.NewSet(a), []string{"c", "b", "a", "b"}, func(ctx context.Context, node string, request []byte) ([]byte, error) {
		switch {
		case node != "b":
			return nil, errors.New("no responders")
		case broken != "":
			return []byte(broken), nil
		}
		return connections.Answer(ctx, remote, request, nil), nil
	}, slog.New(slog.DiscardHandler)), false)

	dial := func(g *gateway.Gateway) (*websocket.Conn, string) {
		ws, res, err := websocket.Dial(t.Context(), "ws://"+g.Addr().String()+"/a", &websocket.DialOptions{HTTPClient: httpClient})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		return ws, res.Header.Get("X-Yc-Apigateway-Websocket-Connection-Id")
	}
	here, own := dial(a)
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
	if r := api.do("GET", "/connections?pageSize=1", nil); r.status != 200 || !strings.Contains(r.raw, `"id":"`+own+`"`) || strings.Contains(r.raw, other) || r.body["nextPageToken"] != own || fmt.Sprint(r.body["unreachable"]) != "[c]" {
		t.Error("first page:", r.status, r.raw)
	}
	if r := api.do("GET", "/connections?pageSize=1&pageToken="+own, nil); r.status != 200 || !strings.Contains(r.raw, `"id":"`+other+`"`) || r.body["nextPageToken"] != nil {
		t.Error("last page:", r.status, r.raw)
	}
	hello := map[string]any{"path": "/a", "data": "SGVsbG8=", "type": "TEXT"}
	if r := api.do("POST", "/gateways/main:broadcast", hello); r.status != 200 || fmt.Sprint(r.body) != "map[connections:2 unreachable:[c]]" {
		t.Error("broadcast:", r.status, r.raw)
	}
	for _, ws := range []*websocket.Conn{here, ws} {
		if _, p, err := ws.Read(t.Context()); err != nil || string(p) != "Hello" {
			t.Errorf("broadcast: %q %v", p, err)
		}
	}
	if r := api.do("POST", "/gateways/main:broadcast", map[string]any{"path": "/b", "data": "SGVsbG8="}); r.status != 404 {
		t.Error("broadcast on no path:", r.status, r.raw)
	}
	broken = `{"status":403,"error":"no role"}`
	if r := api.do("GET", "/connections", nil); r.status != 200 || fmt.Sprint(r.body["unreachable"]) != "[b c]" {
		t.Error("list without two nodes:", r.status, r.raw)
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

// TestTroublesAreToldOnce: what is wrong with a node stands in the log once, however
// many requests meet it, until the node answers again; and callers write no lines of it.
func TestTroublesAreToldOnce(t *testing.T) {
	a := startNode(t, "a")
	var lines bytes.Buffer
	down, answer := true, `{"status":200}`
	api := start(t, connections.Cluster(gateway.NewSet(a), []string{"b"}, func(context.Context, string, []byte) ([]byte, error) {
		if down {
			return nil, errors.New("nobody at\nlevel=ERROR")
		}
		return []byte(answer), nil
	}, slog.New(slog.NewTextHandler(&lines, nil))), false)
	told := func(text string) int {
		defer lines.Reset()
		for line := range strings.Lines(lines.String()) {
			if strings.Contains(line, "forged") || strings.HasPrefix(line, "level=") {
				t.Errorf("in the log: %s", line)
			}
		}
		return strings.Count(lines.String(), text)
	}
	ask := func() {
		for range 5 {
			api.do("GET", "/connections", nil)
			api.do("GET", "/connections/b-00000000-0000-7000-8000-00000forged1", nil)
			api.do("GET", "/connections/b-00000000-0000-7000-8000-000000000001", nil)
			api.do("POST", "/gateways/main:broadcast", map[string]any{"path": "/a", "data": "SGVsbG8="})
		}
	}
	ask()
	if n := told("level=WARN"); n != 1 {
		t.Errorf("%d lines say that the node does not answer", n)
	}
	down = false
	ask()
	if n := told("answers again"); n != 1 {
		t.Errorf("%d lines say that the node answers again", n)
	}
	answer = `{"status":403,"error":"no role\nlevel=ERROR"}`
	for range 5 {
		api.do("GET", "/connections", nil)
	}
	if n := told("refuses"); n != 1 {
		t.Errorf("%d lines say that the node refuses", n)
	}
	down = true
	ask()
	if n := told("level=WARN"); n != 1 {
		t.Errorf("%d lines say that the node does not answer again", n)
	}
}

// TestTroublesAreBounded: where no nodes are configured, callers make up names.
func TestTroublesAreBounded(t *testing.T) {
	var lines bytes.Buffer
	api := start(t, connections.Cluster(gateway.NewSet(startNode(t, "a")), nil, func(context.Context, string, []byte) ([]byte, error) {
		return nil, errors.New("no responders")
	}, slog.New(slog.NewTextHandler(&lines, nil))), false)
	for i := range 150 {
		api.do("GET", fmt.Sprintf("/connections/x%d-00000000-0000-7000-8000-000000000001", i), nil)
	}
	if n := strings.Count(lines.String(), "level=WARN"); n < 1 || n > 15 {
		t.Errorf("%d lines:\n%s", n, lines.String())
	}
}

// TestErrorsSpeakOfJSON: what is wrong with a body is said in the words of who has
// written it, by the name of the field, and without all of what stands there.
func TestErrorsSpeakOfJSON(t *testing.T) {
	api := start(t, directoryOf(nil), false)
	long := strings.Repeat("x", 5000)
	for body, want := range map[string]string{
		`{"data":5}`:                        "invalid base64 for field data",
		`{"data":"","type":true}`:           "field type: true",
		`{"` + long + `":1}`:                "unknown field",
		`[]`:                                "unexpected token [",
		`{"data"`:                           "unexpected EOF",
		`{"data":x}`:                        "1:9",
		`{"type":"` + long + `"}`:           "field type",
		`{"data":"","type":"` + long + `"}`: "field type",
	} {
		r := api.do("POST", "/connections/id-0:send", body)
		if r.status != 400 || !strings.Contains(r.raw, want) || len(r.raw) > 500 || strings.Contains(r.raw, "Go ") {
			t.Errorf("%.50s: %d %.600s, want %s", body, r.status, r.raw, want)
		}
	}
}
