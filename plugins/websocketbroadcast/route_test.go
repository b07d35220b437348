package websocketbroadcast

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
)

// TestRouteThatComesAndGoes: while it is gone a batch fails with an error that says so,
// one that waits for a connection does not wait any more, and when it is back it is used.
func TestRouteThatComesAndGoes(t *testing.T) {
	set := gateway.NewSet()
	t.Cleanup(func() { set.Close(context.Background()) })
	change := func(bindings access.Bindings, paths ...string) {
		t.Helper()
		cfg := gateway.Config{Label: "main", Address: "127.0.0.1:0", Bindings: bindings}
		for _, path := range paths {
			cfg.Routes = append(cfg.Routes, gateway.RouteConfig{Path: path, Limits: fanout.Limits{QueueBytes: 1 << 20}})
		}
		observer := func(string, string) gateway.Observer { return silent{} }
		c, err := set.Prepare([]gateway.Config{cfg}, observer, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		c.Apply(func() {})
	}
	change(nil, "/telemetry")
	res := service.MockResources()
	res.SetGeneric(gateway.Key, set)
	outputOf := func(fields string) *output {
		conf, err := Spec().ParseYAML("{ gateway: main, path: /telemetry, "+fields+" }", nil)
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
		return out
	}
	drops, waits := outputOf("no_connections: drop"), outputOf("no_connections: wait")
	write := func(out *output) error {
		return out.WriteBatch(t.Context(), service.MessageBatch{service.NewMessage([]byte("x"))})
	}
	expect := func(want string) {
		t.Helper()
		if err := write(drops); (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	expect("")
	waiting := make(chan error, 1)
	go func() { waiting <- write(waits) }()
	change(nil, "/other")
	select {
	case err := <-waiting:
		if err == nil || !strings.Contains(err.Error(), "/telemetry") {
			t.Errorf("who waited for a connection: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for a connection to a route that is gone")
	}
	expect(`path "/telemetry" does not exist on gateway "main"`)
	change(nil, "/telemetry")
	expect("")
	change(access.Bindings{"other": access.Admin}, "/telemetry")
	expect("lacks the role")
	change(access.Bindings{"": access.Broadcaster}, "/telemetry")
	expect("")
}
