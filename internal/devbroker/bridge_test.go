package devbroker

import (
	"strings"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// A bridge of Mosquitto connects as it is set up by default, carries messages both ways, once each, with what is retained,
// and tells whether it is there.
func TestMosquittoBridge(t *testing.T) {
	for name, c := range map[string]struct {
		cfg      Config
		who      string
		settings []string
	}{
		"MQTT 3.1.1": {},
		"MQTT 3.1":   {settings: []string{"bridge_protocol_version mqttv31"}},
		"MQTT 5":     {settings: []string{"bridge_protocol_version mqttv50"}},
		"of a broker": {
			cfg: Config{Directory: newDirectory(t, labConfig())}, who: "b", settings: []string{"remote_username b", "remote_password " + password},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := startBroker(t, c.cfg, nil)
			publisher := connect(t, as(b, c.who, "pub"))
			wait(t, publisher.Publish("both/kept", 1, true, "0"))
			_, near := subscriber(t, b, c.who, "sub", "up/#", "both/#")
			near.take(t, "both/kept 0 (kept)")
			state := new(inbox)
			if c.who == "" {
				subscribe(t, connect(t, options(b, "state").SetDefaultPublishHandler(state.handle)), "$SYS/broker/connection/+/state", nil)
			}

			address, stop := startMosquitto(t, append([]string{
				"connection up", "address " + b.Addr().String(), "topic # out 1 local/ up/", "topic # in 1 far/ down/", "topic both/# both 1",
			}, c.settings...)...)
			there := func(clientID string, in *inbox) paho.Client {
				return connect(t, paho.NewClientOptions().AddBroker("tcp://"+address).SetClientID(clientID).SetProtocolVersion(4).SetAutoReconnect(false).
					SetDefaultPublishHandler(in.handle))
			}
			far := new(inbox)
			farPublisher := there("sub", far)
			subscribe(t, farPublisher, "#", nil)
			eventually(t, "the bridge has subscribed", func() bool { return far.has("both/kept 0") || far.has("both/kept 0 (kept)") })

			publish(t, farPublisher, "local/a", "1")
			publish(t, farPublisher, "both/a", "2")
			publish(t, farPublisher, "local/end", "3")
			if got := near.take(t, "up/end 3"); got != "up/a 1, both/a 2" {
				t.Errorf("came here: %s", got)
			}
			wait(t, publisher.Publish("down/a", 1, true, "4"))
			publish(t, publisher, "both/b", "5")
			publish(t, publisher, "down/end", "6")
			got := far.take(t, "far/end 6")
			if _, got, _ = strings.Cut(got, "local/a 1, "); got != "both/a 2, local/end 3, far/a 4, both/b 5" {
				t.Errorf("came there: %s", got)
			}
			kept := new(inbox)
			subscribe(t, there("kept", kept), "far/a", nil)
			kept.take(t, "far/a 4 (kept)")

			stop()
			if c.who == "" {
				if got := state.take(t, "/state 0"); !strings.HasSuffix(got, "/state 1") {
					t.Errorf("state: %s", got)
				}
				late := new(inbox)
				subscribe(t, connect(t, options(b, "late").SetDefaultPublishHandler(late.handle)), "$SYS/broker/connection/#", nil)
				late.take(t, "/state 0 (kept)")
			}
		})
	}
}
