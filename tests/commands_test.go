package tests

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// runConfig runs a config of the repository, with environment variables for the
// addresses that it must have of its own.
func runConfig(t *testing.T, env []string, args ...string) *iotcast {
	t.Helper()
	c := newIotcast(t)
	cmd := exec.Command(binary, append(args[:1:1], append([]string{"-s", "http.address=" + c.http}, args[1:]...)...)...)
	cmd.Env = append(os.Environ(), append(env, "GATEWAY_ADDRESS="+c.gateway)...)
	c.process = start(t, "iotcast", cmd)
	c.waitLog("Launching")
	return c
}

// page connects as a page of the gateway's own host does.
func (c *iotcast) page(path string) *websocket.Conn {
	c.t.Helper()
	ws, _, err := websocket.Dial(c.t.Context(), c.url(path), &websocket.DialOptions{
		HTTPHeader: http.Header{"Origin": {"http://" + c.gateway}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

// A page sends a command; the device gets it, the page gets an answer, and
// readings go on over the same connection.
func TestCommands(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"run":     {"run", "-r", "../config/commands/commands.yaml", "../config/commands/dashboard.yaml"},
		"streams": {"streams", "-o", "../config/commands/root.yaml", "-r", "../config/commands/commands.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startMosquitto(t)
			cast := runConfig(t, []string{"MQTT_URL=" + b.url()}, args...)
			if name == "streams" {
				cast.waitReady()
				cast.must(http.MethodPost, "/streams/telemetry", trigger(b, "registry_id: my-registry\ntopics: [ $devices/+/events/# ]", "path: /dashboard"))
			}
			cast.waitReady()
			ws := cast.page("/dashboard")

			// A session of its own keeps for the device what comes before it looks.
			_, port, _ := strings.Cut(b.addr, ":")
			device := []string{"-p", port, "-i", "boiler", "-c", "-q", "1", "-t", "$devices/boiler/commands"}
			if out, code := runProgram(t, "mosquitto_sub", append(device, "-E")...); code != 0 {
				t.Fatal(out)
			}

			for sent, want := range map[string]string{
				`{"device":"boiler","command":{"target":21.5}}`: `{"device":"boiler","sent":true}`,
				`{"device":"#","command":1}`:                    `"sent":false`,
				`no JSON`:                                       `"sent":false`,
			} {
				if err := ws.Write(t.Context(), websocket.MessageText, []byte(sent)); err != nil {
					t.Fatal(err)
				}
				kind, answer, err := ws.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if kind != websocket.MessageText || !json.Valid(answer) || !strings.Contains(string(answer), want) {
					t.Errorf("%s is answered with %v %s, want %s", sent, kind, answer, want)
				}
			}
			if got, _ := runProgram(t, "mosquitto_sub", append(device, "-C", "1", "-v")...); strings.TrimSpace(got) != `$devices/boiler/commands {"target":21.5}` {
				t.Errorf("the device got %q", got)
			}

			b.publish(1, message{topic: "$devices/boiler/events", payload: []byte("20")})
			if _, p, err := ws.Read(t.Context()); err != nil || !strings.Contains(string(p), `"device_id":"boiler"`) {
				t.Errorf("%s %v", p, err)
			}

			// Without a broker the page is told, and stays connected.
			b.kill()
			if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"device":"boiler","command":1}`)); err != nil {
				t.Fatal(err)
			}
			if _, p, err := ws.Read(t.Context()); err != nil || !strings.Contains(string(p), `"sent":false`) {
				t.Errorf("%s %v", p, err)
			}
			b.start()
			eventually(t, "commands go through again", func() bool {
				if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"device":"boiler","command":2}`)); err != nil {
					t.Fatal(err)
				}
				_, p, err := ws.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return strings.Contains(string(p), `"sent":true`)
			})
		})
	}
}
