package tests

import (
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestClusterConnections: the connection API of one node sees, addresses and closes
// a connection of another, and knows soon that a node is gone.
func TestClusterConnections(t *testing.T) {
	c := startCluster(t, 0, "a", "b", "c")
	a, b, hung := c.gateways[0], c.gateways[1], c.gateways[2]
	connect := func(m *member) *client {
		cl := connectGo(t, "ws://"+m.gateway+"/telemetry")
		cl.waitOpen()
		if want := strings.TrimPrefix(m.name, "gateway-") + "-"; !strings.HasPrefix(cl.id, want) || len(cl.id) > 50 {
			t.Fatalf("connection ID %q does not begin with %s, or is too long", cl.id, want)
		}
		return cl
	}
	one, two, three := connect(a), connect(a), connect(hung)
	// The NATS servers tell each other of subscriptions in their own time.
	for _, m := range c.gateways {
		eventually(t, "the nodes reach each other", func() bool {
			status, body, _ := m.connectionAPI(t, http.MethodGet, "", "")
			return status == http.StatusOK && !strings.Contains(body, "unreachable")
		})
	}

	if status, body, _ := b.connectionAPI(t, http.MethodGet, "/"+one.id, ""); status != http.StatusOK || !strings.Contains(body, `"id":"`+one.id+`"`) || !strings.Contains(body, `"gatewayId":"main"`) {
		t.Errorf("get: %d %s", status, body)
	}
	if status, body, _ := b.connectionAPI(t, http.MethodPost, "/"+one.id+":send", `{"data":"SGVsbG8=","type":"TEXT"}`); status != http.StatusOK {
		t.Errorf("send: %d %s", status, body)
	}
	if got := one.waitMessages(1)[0]; got.text != "Hello" || got.binary {
		t.Errorf("%+v has come", got)
	}
	if status, body, _ := b.connectionAPI(t, http.MethodGet, "?pageSize=2", ""); status != http.StatusOK || !strings.Contains(body, one.id) || !strings.Contains(body, two.id) || strings.Contains(body, three.id) || !strings.Contains(body, `"nextPageToken":"`) {
		t.Errorf("list: %d %s", status, body)
	}
	if status, body, _ := b.connectionAPI(t, http.MethodDelete, "/"+one.id, ""); status != http.StatusOK {
		t.Errorf("delete: %d %s", status, body)
	}
	one.waitClosed(1000)
	two.mustBeOpen()
	gone := func(what, id string, within time.Duration) {
		t.Helper()
		status, body, took := b.connectionAPI(t, http.MethodGet, "/"+id, "")
		t.Logf("%s: %d after %v", what, status, took.Round(time.Millisecond))
		if status != http.StatusNotFound {
			t.Errorf("%s: %d %s", what, status, body)
		}
		if took > within {
			t.Errorf("%s: answered after %v", what, took)
		}
	}
	eventually(t, "the closed connection is not open", func() bool {
		status, _, _ := b.connectionAPI(t, http.MethodGet, "/"+one.id, "")
		return status == http.StatusNotFound
	})
	// The promise is a second; the rest is for a busy machine.
	const second = 3 * time.Second
	gone("a node that never was", "x"+two.id, second)
	a.kill()
	if status, body, _ := b.connectionAPI(t, http.MethodGet, "", ""); status != http.StatusOK || !strings.Contains(body, three.id) || !strings.Contains(body, `"unreachable":["a"]`) {
		t.Errorf("list without a node: %d %s", status, body)
	}
	gone("a node that is dead", two.id, second)
	hung.halt()
	gone("a node that hangs", three.id, second)
	hung.signal(syscall.SIGCONT)
	if status, body, _ := b.connectionAPI(t, http.MethodGet, "/"+three.id, ""); status != http.StatusOK {
		t.Errorf("a node that hangs no more: %d %s", status, body)
	}
}

// TestClusterStartsWithoutNATS: gateways are there while NATS is not, and say that they
// are not ready; when NATS comes, they answer for each other.
func TestClusterStartsWithoutNATS(t *testing.T) {
	c := &cluster{t: t}
	c.startNATS()
	for _, m := range c.nats {
		m.kill()
	}
	a, b := c.startGateway("a", "a", "b"), c.startGateway("b", "a", "b")
	eventuallyWithin(t, 3*patience, "the gateway listens", func() bool {
		nc, err := net.Dial("tcp", a.gateway)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	one := connectGo(t, "ws://"+a.gateway+"/telemetry")
	one.waitOpen()
	for _, m := range []*member{a, b} {
		eventuallyWithin(t, 3*patience, "it says that it is not ready", func() bool {
			res, err := apiClient.Get(m.ready)
			if err != nil {
				return false
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			return err == nil && res.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body), "forward is not connected")
		})
	}
	for _, m := range c.nats {
		m.start()
	}
	for _, m := range []*member{a, b} {
		m.waitReady()
	}
	one.mustBeOpen()
	for _, m := range []*member{a, b} {
		eventually(t, "it reads the stream", func() bool { return strings.Contains(m.out.String(), "Input type envelope_log is now active") })
	}
	eventually(t, "the node answers for the connection of the other", func() bool {
		status, _, _ := b.connectionAPI(t, http.MethodGet, "/"+one.id, "")
		return status == http.StatusOK
	})
}

// connectionAPI calls the node's API, and says how long the answer took.
func (m *member) connectionAPI(t *testing.T, method, call, body string) (status int, answer string, took time.Duration) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+m.api+"/apigateways/websocket/v1/connections"+call, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	res, err := apiClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(content), time.Since(began)
}
