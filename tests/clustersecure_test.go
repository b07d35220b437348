package tests

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestClusterSecure: with the users of config/cluster/secure, over TLS, envelopes flow, a
// node answers for a connection of another, and NATS has refused nothing of it. Neither
// user may do what is the other's.
func TestClusterSecure(t *testing.T) {
	t.Parallel()
	ca, dir := newAuthority(t), t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.issue("nats", cert, key)
	c := &cluster{t: t, broker: startMosquitto(t), config: "../config/cluster/secure/nats-server.conf", env: []string{
		"NATS_CERT=" + cert, "NATS_KEY=" + key, "NATS_CA=" + ca.file(), "TRIGGER_PASSWORD=of-both", "GATEWAY_PASSWORD=of-both",
		"NATS_TLS=true", "NATS_PASSWORD=of-both",
	}}
	c.start("../config/cluster/trigger-leases.yaml", 1, []string{"a", "b"})
	a, b := c.gateways[0], c.gateways[1]
	one := connectGo(t, "ws://"+a.gateway+"/telemetry")
	one.waitOpen()
	c.broker.publish(1, message{topic: "$devices/d0/events", payload: []byte("21.5")})
	one.waitMessages(1)
	eventually(t, "the node answers for the connection of the other", func() bool {
		status, body, _ := b.connectionAPI(t, http.MethodGet, "/"+one.id, "")
		return status == http.StatusOK && strings.Contains(body, one.id)
	})
	for _, m := range c.nats {
		if strings.Contains(m.out.String(), "iolation") {
			t.Errorf("%s has refused what is needed:\n%s", m.name, m.out.tail())
		}
	}

	tls := nats.Secure(ca.trusts())
	for user, refused := range map[string]struct{ publish, subscribe []string }{
		"trigger": {
			publish:   []string{"iotcast.envelopes.other", "iotcast.connections.a", "iotcast.answers.x", "_INBOX_gateway.x", "$JS.API.CONSUMER.CREATE.iotcast.x", "$JS.API.STREAM.MSG.GET.iotcast", "$JS.API.STREAM.DELETE.iotcast"},
			subscribe: []string{">", "iotcast.envelopes.telemetry", "iotcast.connections.a", "iotcast.answers.>", "_INBOX_gateway.>"},
		},
		"gateway": {
			publish:   []string{"iotcast.envelopes.telemetry", "_INBOX_trigger.x", "$KV.iotcast-leases.x", "$JS.API.CONSUMER.CREATE.iotcast.x", "$JS.API.CONSUMER.CREATE.iotcast.x.iotcast.envelopes.other", "$JS.API.STREAM.CREATE.iotcast", "$JS.API.STREAM.DELETE.iotcast"},
			subscribe: []string{">", "iotcast.envelopes.telemetry", "_INBOX_trigger.>"},
		},
	} {
		denied := make(chan string)
		nc, err := nats.Connect(c.natsURL(), nats.UserInfo(user, "of-both"), tls,
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err.Error() }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		try := func(what, subject string, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			select {
			case reason := <-denied:
				if !strings.Contains(reason, "ermissions Violation") || !strings.Contains(reason, `"`+subject+`"`) {
					t.Errorf("%s, to %s %s: %s", user, what, subject, reason)
				}
			case <-time.After(patience):
				t.Errorf("%s may %s %s", user, what, subject)
			}
		}
		for _, subject := range refused.publish {
			try("publish to", subject, nc.Publish(subject, nil))
		}
		for _, subject := range refused.subscribe {
			_, err := nc.SubscribeSync(subject)
			try("subscribe to", subject, err)
		}
	}
	for what, options := range map[string][]nats.Option{
		"without a login":   {tls},
		"by a bad password": {tls, nats.UserInfo("gateway", "of-nobody")},
		"without TLS's CA":  {nats.UserInfo("gateway", "of-both")},
	} {
		if nc, err := nats.Connect(c.natsURL(), options...); err == nil {
			nc.Close()
			t.Errorf("NATS lets in who comes %s", what)
		}
	}
}
