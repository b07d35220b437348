package websocketbroadcast

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
	"github.com/iotcast/iotcast/plugins/internal/order"
)

type silent struct{}

func (silent) Handshake(int, string) {}
func (silent) Closed(string)         {}
func (silent) Received(int)          {}
func (silent) Watched(bool)          {}
func (silent) HandlerFailed(string)  {}
func (silent) Served(time.Duration)  {}

func newSet(t *testing.T) *gateway.Set {
	t.Helper()
	g, err := gateway.Start(gateway.Config{
		Label:   "main",
		Address: "127.0.0.1:0",
		Routes:  []gateway.RouteConfig{{Path: "/telemetry", Limits: fanout.Limits{QueueBytes: 1 << 20}}},
	}, func(string, string) gateway.Observer { return silent{} }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	set := gateway.NewSet(g)
	t.Cleanup(func() { set.Close(context.Background()) })
	return set
}

// onRead is the content of a message, and is called when it is read.
type onRead func() string

func (f onRead) MarshalJSON() ([]byte, error) { return []byte(`"` + f() + `"`), nil }

// TestRestOfABatchComesAgain: of a batch that is rejected in the middle, since the last connection went just then, only the
// rest is sent when it comes again.
func TestRestOfABatchComesAgain(t *testing.T) {
	set := newSet(t)
	res := service.MockResources()
	res.SetGeneric(gateway.Key, set)
	conf, err := Spec().ParseYAML("{ gateway: main, path: /telemetry, no_connections: reject }", nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := newOutput(conf, res)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	connect := func() *websocket.Conn {
		c, _, err := websocket.Dial(t.Context(), "ws://"+set.All()[0].Addr().String()+"/telemetry", nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	expect := func(c *websocket.Conn, want ...string) {
		t.Helper()
		for _, want := range want {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			_, text, err := c.Read(ctx)
			cancel()
			if err != nil || string(text) != want {
				t.Fatalf("got %q, %v; want %q", text, err, want)
			}
		}
	}

	client := connect()
	leave := onRead(func() string {
		expect(client, `"one"`)
		_ = client.Close(websocket.StatusNormalClosure, "")
		for deadline := time.Now().Add(10 * time.Second); out.route.Load().Connections() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the connection is still open")
			}
		}
		return "two"
	})
	turn := order.NewLine(order.StreamOf(res)).First()
	batch := func(content ...onRead) (b service.MessageBatch) {
		for i, f := range content {
			m := service.NewMessage(nil).WithContext(turn.Context())
			m.SetStructured(f)
			m.MetaSetMut(metakey.EventID, string(rune('a'+i)))
			b = append(b, m)
		}
		return b
	}
	text := func(s string) onRead { return func() string { return s } }
	if err := out.WriteBatch(t.Context(), batch(text("one"), leave, text("three"))); err == nil {
		t.Fatal("a batch was accepted that was not sent to anybody")
	}
	client = connect()
	if err := out.WriteBatch(t.Context(), batch(text("one"), text("two"), text("three"))); err != nil {
		t.Fatal(err)
	}
	expect(client, `"two"`, `"three"`)
	_ = client.CloseNow()
	if err := out.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestConnectionTest: an output can be asked whether it could send, a resource before there are gateways.
func TestConnectionTest(t *testing.T) {
	res := service.MockResources()
	expect := func(path, want string) {
		t.Helper()
		out := &output{res: res, gateway: "main", path: path}
		results := out.ConnectionTest(t.Context())
		if len(results) != 1 {
			t.Fatalf("%d results, want 1", len(results))
		}
		if err := results[0].Err; (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	expect("/telemetry", "no websocket_gateways")
	res.SetGeneric(gateway.Key, newSet(t))
	expect("/telemetry", "")
	expect("/nope", `path "/nope" does not exist`)
}
