package websocketgateways

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/reserve"
)

// started are the gateways of a config.
func started(t *testing.T, config string) (*Gateways, *service.Resources) {
	t.Helper()
	root, err := service.NewConfigSpec().Field(Field()).ParseYAML(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Start(root, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	if all, _ := root.FieldAny(); len(all.(map[string]any)) != 1 {
		t.Errorf("the root config has more than it had: %v", all)
	}
	return g, root.Resources()
}

func change(t *testing.T, g *Gateways, config string) {
	t.Helper()
	c, err := g.Prepare([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	c.Apply()
}

// TestChangeKeepsParts: what is configured as it was goes on, wherever it stands in the
// file; what is not is another.
func TestChangeKeepsParts(t *testing.T) {
	const text = `
websocket_gateways:
  - label: main
    address: 127.0.0.1:0
    tokens: { secret: ` + secret + ` }
    routes:
      - path: /a
        on_message: [ { mapping: root = this } ]
`
	g, res := started(t, text)
	if set, ok := res.GetGeneric(gateway.Key); !ok || set.(*gateway.Set).All()[0].Label() != "main" {
		t.Fatal("outputs do not find the gateways")
	}
	one := g.parts
	change(t, g, "\n\n# a comment\n"+strings.Replace(text, "routes:", "routes:\n      - path: /b", 1))
	for key, part := range one {
		if g.parts[key] != part {
			t.Errorf("%q is another", key)
		}
	}
	change(t, g, strings.Replace(text, "root = this", "root = 1", 1))
	same := 0
	for key, part := range one {
		if g.parts[key] == part {
			same++
		}
	}
	if same != len(one)-1 {
		t.Errorf("%d of %d parts are the same, and one has changed", same, len(one))
	}
	if n := len(g.configs[0].Routes); n != 1 {
		t.Errorf("%d routes", n)
	}
}

// TestChangeIsWhole: of a config that is wrong in one place nothing is made.
func TestChangeIsWhole(t *testing.T) {
	address, err := reserve.Address()
	if err != nil {
		t.Fatal(err)
	}
	config := func(fields string) string {
		return fmt.Sprintf("websocket_gateways: [ { label: main, address: %q, %s } ]", address, fields)
	}
	g, _ := started(t, config("routes: [ { path: /a } ]"))
	parts := g.parts
	for fields, want := range map[string]string{
		"routes: [ { path: /b }, { path: /b } ]":                                                   "/b is there twice",
		"routes: [ { path: /b, queue_bytes: 1 } ]":                                                 "queue_bytes",
		"routes: [ { path: /b, tokens: { public_key_files: [ /absent ] } } ]":                      "/absent",
		"routes: [ { path: /b, on_message: [ { mapping: root = this }, { resource: absent } ] } ]": "on_message",
		"routes: [ { path: /b, on_connect: [ { mapping: 'root = (' } ] } ]":                        "on_connect",
	} {
		if _, err := g.Prepare([]byte(config(fields))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", fields, err, want)
		}
	}
	if len(g.parts) != len(parts) {
		t.Errorf("%d parts, want %d", len(g.parts), len(parts))
	}
	status := func(path string) int {
		ws, res, err := websocket.Dial(t.Context(), "ws://"+address+path, nil)
		if err == nil {
			_ = ws.CloseNow()
		}
		return res.StatusCode
	}
	if got := status("/a"); got != http.StatusSwitchingProtocols {
		t.Errorf("the old route answers %d", got)
	}
	c, err := g.Prepare([]byte(config("routes: [ { path: /b } ]")))
	if err != nil {
		t.Fatal(err)
	}
	if got := status("/b"); got != http.StatusNotFound {
		t.Errorf("what is prepared only answers %d", got)
	}
	c.Apply()
	if got := status("/b"); got != http.StatusSwitchingProtocols {
		t.Errorf("the new route answers %d", got)
	}
	change(t, g, "{}")
	if err := g.Route("main", "/b"); err == nil {
		t.Error("a gateway that is not in the config")
	}
}
