package websocketconnection

import (
	"context"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/reserve"
	"github.com/iotcast/iotcast/plugins/websocketgateways"
)

// TestProcessor drives it on a real connection, with the roles that the gateway asks for.
func TestProcessor(t *testing.T) {
	address, err := reserve.Address()
	if err != nil {
		t.Fatal(err)
	}
	root, err := service.NewConfigSpec().Field(websocketgateways.Field()).ParseYAML(`
websocket_gateways:
  - label: main
    address: `+address+`
    node_id: a
    access_bindings:
      - { service_account_id: sees, roles: [ api-gateway.viewer ] }
      - { service_account_id: writes, roles: [ api-gateway.websocketWriter ] }
    routes: [ { path: /a } ]
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, root.Resources(), "writes", `{"method":"get","connection_id":"x"}`); !strings.Contains(got, "no websocket_gateways") {
		t.Errorf("without gateways: %s", got)
	}
	stop, err := websocketgateways.Start(root, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop.Close)
	ws, res, err := websocket.Dial(t.Context(), "ws://"+address+"/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	id := `"connection_id":"` + res.Header.Get("X-Yc-Apigateway-Websocket-Connection-Id") + `"`
	for _, step := range []struct{ account, request, want string }{
		{"sees", `{"method":"get",` + id + `}`, `{"status":200,"connection":{` + strings.Replace(id, "connection_id", "id", 1) + `,"gateway":"main","path":"/a"`},
		{"sees", `{"method":"disconnect",` + id + `}`, `{"status":403,`},
		{"", `{"method":"get",` + id + `}`, `{"status":403,`},
		{"writes", `{"method":"send",` + id + `,"text":true,"data":"SGVsbG8="}`, `{"status":200,`},
		{"writes", `{"method":"disconnect",` + id + `}`, `{"status":200,`},
		{"writes", `{"method":"get","connection_id":"a-none"}`, `{"status":404,`},
	} {
		if got := ask(t, root.Resources(), step.account, step.request); !strings.HasPrefix(got, step.want) {
			t.Errorf("%s as %q: %s, want %s", step.request, step.account, got, step.want)
		}
	}
	if _, p, err := ws.Read(t.Context()); err != nil || string(p) != "Hello" {
		t.Errorf("%q %v", p, err)
	}
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Error(err)
	}
}

// ask is the answer, or the error.
func ask(t *testing.T, res *service.Resources, account, request string) string {
	t.Helper()
	conf, err := Spec().ParseYAML("service_account_id: '"+account+"'", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcessor(conf, res)
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Process(context.Background(), service.NewMessage([]byte(request)))
	if err != nil {
		return err.Error()
	}
	b, err := out[0].AsBytes()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
