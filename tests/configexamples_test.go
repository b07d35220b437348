package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// example is a directory of config/examples, copied to a place of its own. Its files and the commands of its README are as they
// stand there, but for the ports.
type example struct {
	*walkthrough
	ports map[string]string
}

// openExample copies an example. Of the ports that it names, those that are given here are others there: the free one that is
// told, or for "" any. Those of the gateway and of the HTTP API always are.
func openExample(t *testing.T, name string, ports map[string]string) *example {
	t.Helper()
	e := &example{
		walkthrough: &walkthrough{t: t, docs: "config/examples/" + name + "/README.md", dir: t.TempDir(), env: withIotcast(t)},
		ports:       map[string]string{"4195": "", "8080": ""},
	}
	maps.Copy(e.ports, ports)
	for port, other := range e.ports {
		if other == "" {
			e.ports[port] = portOf(freeAddress(t))
		}
	}
	e.http, e.gateway = e.at("4195"), e.at("8080")
	dir := filepath.Join("../config/examples", name)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := e.elsewhere(string(content))
		if entry.Name() == "README.md" {
			e.blocks = fenced(text)
		}
		name := strings.TrimPrefix(path, dir+"/")
		e.write(name, text)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.Chmod(filepath.Join(e.dir, name), info.Mode()) // scripts
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var portForm = regexp.MustCompile(`\b\d{4,5}\b`)

// elsewhere puts the ports of the copy into a text.
func (e *example) elsewhere(text string) string {
	return portForm.ReplaceAllStringFunc(text, func(port string) string {
		if other, ok := e.ports[port]; ok {
			return other
		}
		return port
	})
}

// at is where that listens which has a port in the example.
func (e *example) at(port string) string { return "127.0.0.1:" + e.ports[port] }

// sh is the one block of commands in the README that contains text.
func (e *example) sh(text string) string {
	e.t.Helper()
	return e.block("sh", e.elsewhere(text))
}

// serve starts a server by the README's command, and returns when it listens at what has a port in the example.
func (e *example) serve(command, port string) *process {
	e.t.Helper()
	p := e.start(e.sh(command), e.elsewhere(command))
	p.waitListening(e.at(port))
	return p
}

// cast starts iotcast by a command of the README.
func (e *example) cast(command string) *iotcast {
	e.t.Helper()
	c := &iotcast{t: e.t, http: e.http, gateway: e.gateway}
	c.process = e.start(e.sh(command), command)
	c.waitLog("Launching")
	c.waitReady()
	return c
}

// audience is a WebSocket client that keeps what each device or topic said last.
type audience struct {
	t    *testing.T
	mu   sync.Mutex
	last map[string]string // "device topic" to payload
}

// audience connects to a path, and returns when it is connected.
func (c *iotcast) audience(path string) *audience {
	c.t.Helper()
	ws, _, err := websocket.Dial(c.t.Context(), c.url(path), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return listen(c.t, ws)
}

// listen makes an audience of a connection.
func listen(t *testing.T, ws *websocket.Conn) *audience {
	t.Cleanup(func() { _ = ws.CloseNow() })
	a := &audience{t: t, last: map[string]string{}}
	go func() {
		for {
			_, text, err := ws.Read(context.Background())
			if err != nil {
				return
			}
			a.take(text)
		}
	}()
	return a
}

// take takes an envelope.
func (a *audience) take(envelope []byte) {
	var e struct {
		Messages []struct {
			Details struct {
				Device  string `json:"device_id"`
				Topic   string `json:"mqtt_topic"`
				Payload []byte `json:"payload"`
			} `json:"details"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(envelope, &e); err != nil {
		a.t.Errorf("envelope %.300q: %v", envelope, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range e.Messages {
		a.last[m.Details.Device+" "+m.Details.Topic] = string(m.Details.Payload)
	}
}

// waitShown waits until the audience has exactly this, as "device topic": payload.
func (a *audience) waitShown(want map[string]string) {
	a.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		a.mu.Lock()
		same, got := maps.Equal(a.last, want), fmt.Sprint(a.last)
		a.mu.Unlock()
		if same {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("not within %v:\n got %s\nwant %v", patience, got, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// The index has a line for each example, and each has a README.
func TestConfigExamples(t *testing.T) {
	t.Parallel()
	index, err := os.ReadFile("../config/examples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	readmes, err := filepath.Glob("../config/examples/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, file := range readmes {
		want = append(want, filepath.Base(filepath.Dir(file)))
	}
	for _, m := range regexp.MustCompile(`(?m)^\| \[([^\]]+)\]\(\S+/README\.md\) \|`).FindAllStringSubmatch(string(index), -1) {
		got = append(got, m[1])
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the index has %v, want %v", got, want)
	}
}

func TestExampleMosquitto(t *testing.T) {
	t.Parallel()
	e := openExample(t, "mosquitto", map[string]string{"8883": ""})
	e.run(e.sh("openssl req"))
	e.run(e.sh("mosquitto_passwd"))
	e.staysRoot("mosquitto.conf")
	e.serve("mosquitto -c", "8883")
	e.showsBoiler()
	for name, arguments := range map[string]string{
		"without a password": "--cafile ca.crt",
		"without TLS":        "-u boiler -P $(cat boiler.password)",
	} {
		publish := e.elsewhere("mosquitto_pub -h localhost -p 8883 " + arguments + " -t '$devices/boiler/events' -m x")
		if printed, err := e.try(publish); err == nil {
			t.Errorf("%s the broker lets in: %s", name, printed)
		}
	}
}

// staysRoot lets a mosquitto that root starts read the files of the test.
func (e *example) staysRoot(config string) {
	e.t.Helper()
	if os.Geteuid() == 0 {
		e.run("echo user root >> " + config)
	}
}

// Topics of others become devices. Who comes later sees the last values, and after a restart those that the broker has.
func TestExampleDevices(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		directory, run, play, path string
		want                       map[string]string
		names                      []string // that the viewer shows; a browser for one of them will do
	}{
		"Zigbee2MQTT": {
			"zigbee2mqtt", "iotcast run", "mosquitto_pub", "/zigbee", map[string]string{
				"cellar zigbee2mqtt/cellar":                          `{"temperature": 12.5, "humidity": 71, "battery": 97, "linkquality": 120}`,
				"kitchen-lamp zigbee2mqtt/kitchen/lamp":              `{"state": "ON", "brightness": 215}`,
				"kitchen-lamp zigbee2mqtt/kitchen/lamp/availability": `{"availability":"online"}`,
			}, []string{"cellar", "kitchen-lamp"},
		},
		"Tasmota": {
			"tasmota", "iotcast run", "mosquitto_pub", "/tasmota", map[string]string{
				"washer tele/washer/LWT":    `{"availability":"online"}`,
				"washer stat/washer/POWER":  `{"POWER":"ON"}`,
				"washer tele/washer/SENSOR": `{"ENERGY":{"Power":1830,"Voltage":229}}`,
			}, nil,
		},
		"statestream": {
			"home-assistant", "iotcast run statestream.yaml", "mosquitto_pub -p 1883 -r -t statestream", "/home", map[string]string{
				"sensor.cellar_temperature statestream/sensor/cellar_temperature/state":               `{"state":12.5}`,
				"sensor.cellar_temperature statestream/sensor/cellar_temperature/unit_of_measurement": `{"unit_of_measurement":"°C"}`,
				"light.kitchen statestream/light/kitchen/state":                                       `{"state":"unavailable"}`,
			}, nil,
		},
		"discovery": {
			"home-assistant", "iotcast run discovery.yaml", "/config", "/home",
			map[string]string{"Attic attic/sensor/wind/state": `{"Wind":3.6}`},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startMosquitto(t)
			e := openExample(t, test.directory, map[string]string{"1883": portOf(b.addr)})
			cast := e.cast(test.run)
			live := cast.audience(test.path)
			e.run(e.sh(test.play))
			live.waitShown(test.want)
			cast.audience(test.path).waitShown(test.want)

			cast.terminate()
			cast = e.cast(test.run)
			cast.audience(test.path).waitShown(test.want)
			if test.names == nil {
				return
			}
			v := openViewer(t, "http://"+cast.gateway+"/")
			v.wait("the devices by their names", func(s shown) bool { return slices.Equal(s.Names, test.names) })
		})
	}
}

func TestExampleNATS(t *testing.T) {
	t.Parallel()
	e := openExample(t, "nats", map[string]string{"1883": "", "4222": ""})
	e.run(e.sh("openssl rand"))
	server := e.serve("nats-server -c", "1883")
	e.showsBoiler()
	eventually(t, "the server logs what the boiler may not", func() bool {
		return strings.Contains(server.out.String(), `Publish Violation - User "boiler", Subject "$devices.pump.events"`)
	})
}

func TestExampleRabbitMQ(t *testing.T) {
	t.Parallel()
	e := openExample(t, "rabbitmq", map[string]string{"1883": "", "25673": "", "14369": ""})
	e.env = append(e.env, "HOME="+e.dir) // where Erlang keeps its cookie
	e.run(e.sh("openssl rand"))
	t.Cleanup(func() { // when the server has ended: it starts epmd, and leaves it
		if printed, err := e.shell(context.Background(), e.elsewhere("epmd -port 14369 -kill")).CombinedOutput(); err != nil {
			t.Errorf("ending epmd: %v\n%s", err, printed)
		}
	})
	server := e.serve("./server.sh", "1883")
	e.showsBoiler()
	eventually(t, "the server logs what the boiler may not", func() bool {
		return strings.Contains(server.out.String(), `access to topic '$devices.pump.events'`)
	})
}

// showsBoiler starts iotcast, and has the boiler publish in its own name and in another's, with a right password and a wrong one, and
// while iotcast is away.
func (e *example) showsBoiler() {
	e.t.Helper()
	want := map[string]string{"boiler $devices/boiler/events": `{"temperature": 61.5}`}
	cast := e.cast("iotcast run")
	page := cast.audience("/telemetry")
	_, _ = e.try(e.sh("$devices/pump")) // some brokers disconnect who tries
	e.run(e.sh("$devices/boiler"))
	page.waitShown(want)
	wrong := strings.ReplaceAll(e.sh("$devices/boiler"), "$(cat boiler.password)", "wrong")
	if printed, err := e.try(wrong); err == nil {
		e.t.Errorf("with a wrong password the broker lets in: %s", printed)
	}

	cast.terminate()
	e.run(e.sh("$devices/boiler"))
	e.cast("iotcast run").audience("/telemetry?rewind=5m").waitShown(want)
}

// The sketch does what it should by a clock that is simulated: see testdata/arduino.
func TestExampleESP32(t *testing.T) {
	t.Parallel()
	e := openExample(t, "esp32", nil)
	e.run(e.sh("secrets.h"))
	simulator, err := filepath.Abs("testdata/arduino")
	if err != nil {
		t.Fatal(err)
	}
	compile := `g++ -std=gnu++17 -Wall -Wextra -Werror -I %[1]s -D SKETCH='"%[2]s/sensor/sensor.ino"' %[1]s/simulate.cpp -o simulate`
	e.run(fmt.Sprintf(compile, simulator, e.dir))
	want, err := os.ReadFile(filepath.Join(simulator, "said.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if said := e.run("./simulate"); said != string(want) {
		t.Errorf("the sketch did:\n%s\nwant:\n%s", said, want)
	}
}
