package devbroker

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// startMosquitto starts a Mosquitto with a config and a listener, and returns where that is, and what kills it.
func startMosquitto(t *testing.T, config string) (address string, stop func()) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a process")
	}
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto" // where Debian has it, outside the path of most users
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = ln.Addr().String()
	_ = ln.Close()
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	config = fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\n%s\n", ln.Addr().(*net.TCPAddr).Port, config)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", file, "-v") // #nosec G204
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: apt-get install mosquitto", err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("log of Mosquitto:\n%s", &log)
		}
	})
	eventually(t, "Mosquitto listens", func() bool {
		nc, err := net.Dial("tcp", address)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	})
	return address, stop
}

// A bridge of Mosquitto connects as it is set up by default, carries messages both ways, once each, with what is retained,
// and tells whether it is there.
func TestMosquittoBridge(t *testing.T) {
	for name, c := range map[string]struct {
		cfg      Config
		who      string
		settings string
	}{
		"MQTT 3.1.1":  {},
		"MQTT 3.1":    {settings: "bridge_protocol_version mqttv31"},
		"MQTT 5":      {settings: "bridge_protocol_version mqttv50"},
		"of a broker": {cfg: Config{Directory: newDirectory(t, labConfig())}, who: "b", settings: "remote_username b\nremote_password " + password},
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

			address, stop := startMosquitto(t, "connection up\naddress "+b.Addr().String()+
				"\ntopic # out 1 local/ up/\ntopic # in 1 far/ down/\ntopic both/# both 1\n"+c.settings)
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
