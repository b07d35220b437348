package control_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
)

// deaf is an observer that nobody asks.
type deaf struct{}

func (deaf) Handshake(int, string) {}
func (deaf) Closed(string)         {}
func (deaf) Received(int)          {}
func (deaf) Watched(bool)          {}
func (deaf) HandlerFailed(string)  {}
func (deaf) Served(time.Duration)  {}

// TestLocal: the API over a gateway with real connections.
func TestLocal(t *testing.T) {
	limits := fanout.Limits{QueueBytes: 64 << 10, MaxMessageBytes: 1 << 10}
	g := startGateway(t, "", gateway.RouteConfig{Path: "/a", Limits: limits}, gateway.RouteConfig{Path: "/b", Limits: limits})
	c := start(t, connections.Local(gateway.NewSet(g)), false)

	dial := func(path string) (*websocket.Conn, string) {
		ws, res, err := websocket.Dial(t.Context(), "ws://"+g.Addr().String()+path, &websocket.DialOptions{HTTPClient: httpClient})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		return ws, res.Header.Get("X-Yc-Apigateway-Websocket-Connection-Id")
	}
	first, firstID := dial("/a")
	second, secondID := dial("/a")
	_, thirdID := dial("/b")

	a := c.do("GET", "/connections/"+firstID, nil)
	if a.status != 200 || a.body["id"] != firstID || a.body["gatewayId"] != "main" || !strings.Contains(a.raw, `"sourceIp":"127.0.0.1","userAgent":"Go-http-client/1.1"`) {
		t.Error(a.status, a.raw)
	}
	if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(a.body["connectedAt"])); err != nil || time.Since(at) > time.Minute {
		t.Error(a.raw, err)
	}
	c.do("GET", "/connections", nil).lists(t, firstID+"/a "+secondID+"/a "+thirdID+"/b")
	c.do("GET", "/connections?path=/a&pageSize=1&pageToken="+firstID, nil).lists(t, secondID+"/a")
	c.do("GET", "/connections?path=/b&sourceIp=127.0.0.1", nil).lists(t, thirdID+"/b")

	expect := func(ws *websocket.Conn, kind websocket.MessageType, want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if got, p, err := ws.Read(ctx); err != nil || got != kind || string(p) != want {
			t.Errorf("%v %q %v", got, p, err)
		}
	}
	c.do("POST", "/connections/"+firstID+":send", map[string]any{"data": "SGVsbG8=", "type": "TEXT"}).succeeds(t, `{}`)
	expect(first, websocket.MessageText, "Hello")
	c.do("POST", "/connections/"+firstID+":send", map[string]any{"data": "/+8="}).succeeds(t, `{}`)
	expect(first, websocket.MessageBinary, "\xff\xef")
	c.do("POST", "/gateways/main:broadcast", map[string]any{"path": "/a", "data": "YWxs", "type": "TEXT"}).succeeds(t, `{"connections":2}`)
	expect(first, websocket.MessageText, "all")
	expect(second, websocket.MessageText, "all")
	c.do("POST", "/gateways/main:broadcast", map[string]any{"path": "/x", "data": "YWxs"}).fails(t, 404, 5, `"/a", "/b"`)
	// What is larger than the queue would end the connections.
	large := map[string]any{"path": "/a", "data": base64.StdEncoding.EncodeToString(make([]byte, 65<<10))}
	c.do("POST", "/gateways/main:broadcast", large).fails(t, 400, 3, "queue_bytes")
	delete(large, "path")
	c.do("POST", "/connections/"+firstID+":send", large).fails(t, 400, 3, "queue_bytes")

	c.do("DELETE", "/connections/"+firstID, nil).succeeds(t, `{}`)
	if _, _, err := first.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Error(err)
	}
	for end := time.Now().Add(10 * time.Second); c.do("GET", "/connections/"+firstID, nil).status != 404; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection stays")
		}
	}
	c.do("POST", "/connections/"+firstID+":send", map[string]any{"data": hello}).fails(t, 404, 5, "not open")
	c.do("GET", "/connections/"+strings.ToUpper(secondID), nil).fails(t, 404, 5, "not open")
	c.do("GET", "/connections?path=/a", nil).lists(t, secondID+"/a")
}
