package connections_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deaf is an observer that nobody asks.
type deaf struct{}

func (deaf) Handshake(int, string) {}
func (deaf) Closed(string)         {}
func (deaf) Received(int)          {}
func (deaf) Watched(bool)          {}
func (deaf) HandlerFailed(string)  {}
func (deaf) Served(time.Duration)  {}

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

// TestSilent: a node counts as silent until it answers, or when nobody has asked it for long.
func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := map[string]bool{"b": true, "c": true}
		d := connections.Cluster(gateway.NewSet(), []string{"c", "b", "d"}, func(_ context.Context, node string, _ []byte) ([]byte, error) {
			if down[node] {
				return nil, errors.New("no responders")
			}
			return []byte(`{"status":200}`), nil
		}, slog.New(slog.DiscardHandler))
		silent := func(want ...string) {
			t.Helper()
			if got := d.Silent(); !slices.Equal(got, want) {
				t.Errorf("%q are silent, want %q", got, want)
			}
		}
		silent()
		ask := func() { _, _, _ = d.List(t.Context(), connections.Query{Limit: 1}) }
		ask()
		silent("b", "c")
		down["b"] = false
		ask()
		silent("c")
		time.Sleep(5 * time.Minute)
		silent()
	})
}

// TestAnswer: what cannot be understood, and what is not allowed.
func TestAnswer(t *testing.T) {
	d := connections.Local(gateway.NewSet(startNode(t, "a")))
	for request, want := range map[string]string{
		`x`:                 `{"status":400,"error":"bad request: the request is not the JSON that it must be: invalid character 'x' looking for beginning of value, at byte 1"}`,
		`{"method":"open"}`: `{"status":400,"error":"bad request: method is \"open\", and must be get, send, disconnect, list or broadcast"}`,
		`{"method":"list"}`: `{"status":400,"error":"bad request: a list needs a query with gateways, and a limit of 1 to 1001"}`,
		`{"method":"broadcast","gateway":"main","path":"/b"}`: `{"status":404,"error":"not found: path \"/b\" does not exist on gateway \"main\": there is \"/a\" (see its routes in the root config)"}`,
		`{"method":"get","connection_id":"a-b"}`:              `{"status":404,"error":"not found"}`,
	} {
		if got := string(connections.Answer(t.Context(), d, []byte(request), nil)); got != want {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
	}
}

// TestAnswersSpeakOfJSON: what is wrong with a request is said in the words of who has written it, by the name of the field,
// and without all of what stands there.
func TestAnswersSpeakOfJSON(t *testing.T) {
	long := strings.Repeat("x", 5000)
	d := connections.Local(gateway.NewSet(startNode(t, "a")))
	for request, want := range map[string]string{
		`{"method":5}`:                 "method must be a string, not number",
		`{"method":"send","data":5}`:   "data must be a string in base64, not number",
		`{"method":"list","query":[]}`: "query must be an object, not array",
		`{"method":"` + long + `"}`:    "must be get, send",
		`{"method":"broadcast","gateway":"main","path":"/` + long + `"}`: "does not exist on gateway",
		`{"method":"broadcast","gateway":"` + long + `"}`:                "does not exist",
	} {
		got := string(connections.Answer(t.Context(), d, []byte(request), nil))
		if !strings.Contains(got, want) || len(got) > 500 || strings.Contains(got, "Go ") {
			t.Errorf("%.50s: %.600s, want %s", request, got, want)
		}
	}
}
