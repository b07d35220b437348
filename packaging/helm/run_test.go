//go:build unix

package helm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// patience bounds every wait for something that should happen at once.
const patience = 40 * time.Second

// TestDefault: what helm install makes is a page with readings, and nothing else is needed.
func TestDefault(t *testing.T) {
	t.Parallel()
	g := startGateway(t, objects(t, load(t), nil), 0, nil)
	g.waitReady(t)
	page := get(t, "http://"+g.gateway+"/")
	if !strings.Contains(page, "<html") || !strings.Contains(page, "iotcast") {
		t.Errorf("the page is %.200s", page)
	}
	if message := read1(t, g.connect(t)); !strings.Contains(message, `"registry_id":"my-registry"`) {
		t.Errorf("the first message is %s", message)
	}
}

// TestSingle: one pod reads from somebody's own broker.
func TestSingle(t *testing.T) {
	t.Parallel()
	broker := startMosquitto(t)
	all := objects(t, load(t), set("mqtt.urls", []string{"tcp://mosquitto:1883"}))
	g := startGateway(t, all, 0, map[string]string{"MQTT_URL": "tcp://" + broker})
	g.waitReady(t)
	client := g.connect(t)
	startDevice(t, broker)
	if message := read1(t, client); !strings.Contains(message, `"device_id":"boiler"`) {
		t.Errorf("the first message is %s", message)
	}
}

// TestCluster: a message of a device reaches clients of two gateways, and each gateway knows the connections of both.
func TestCluster(t *testing.T) {
	for _, servers := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d NATS servers", servers), func(t *testing.T) {
			t.Parallel()
			all := objects(t, load(t), merge(
				set("cluster.enabled", true), set("mqtt.urls", []string{"tcp://mosquitto:1883"}),
				set("nats.replicas", servers), set("gateways", values{"replicas": 2, "drainSeconds": 1}),
			))
			broker := startMosquitto(t)
			env := map[string]string{"MQTT_URL": "tcp://" + broker, "NATS_URL": startNATS(t, all)}
			trigger := startIotcast(t, all, "iotcast-trigger", 0, env)
			gateways := []member{startGateway(t, all, 0, env), startGateway(t, all, 1, env)}
			trigger.waitReady(t)
			var clients []*websocket.Conn
			for _, g := range gateways {
				g.waitReady(t)
				clients = append(clients, g.connect(t))
			}
			startDevice(t, broker)
			for _, client := range clients {
				if message := read1(t, client); !strings.Contains(message, `"device_id":"boiler"`) {
					t.Errorf("the first message is %s", message)
				}
			}
			for _, g := range gateways {
				// One that does not answer within a second is told as unreachable, on a machine that is busy enough.
				eventually(t, "a gateway knows the connections of both", func() bool {
					list := get(t, "http://"+g.api+"/apigateways/websocket/v1/connections?path=/telemetry")
					return strings.Contains(list, `"g0-`) && strings.Contains(list, `"g1-`) && !strings.Contains(list, "unreachable")
				})
			}
		})
	}
}

// member is an iotcast that runs.
type member struct{ http, gateway, api string }

func startGateway(t *testing.T, all []metav1.Object, index int, env map[string]string) member {
	t.Helper()
	return startIotcast(t, all, "iotcast-gateway", index, env)
}

// startIotcast runs a pod, with addresses of this machine.
func startIotcast(t *testing.T, all []metav1.Object, name string, index int, env map[string]string) member {
	t.Helper()
	p := layOutAt(t, all, workloads(all)[name], index)
	m := member{http: address(t), gateway: address(t), api: address(t)}
	for name, value := range env {
		p.env[name] = value
	}
	p.env["HTTP_ADDRESS"], p.env["GATEWAY_ADDRESS"], p.env["API_ADDRESS"], p.env["MQTT_ADDRESS"] = m.http, m.gateway, m.api, address(t)
	p.start(t, binary(t), ".")
	return m
}

// startNATS runs all servers, and returns their URLs.
func startNATS(t *testing.T, all []metav1.Object) string {
	t.Helper()
	w := workloads(all)["iotcast-nats"]
	var urls, routes, monitors []string
	for range *w.replicas {
		urls, routes, monitors = append(urls, "nats://"+address(t)), append(routes, "nats://"+address(t)), append(monitors, address(t))
	}
	for i := range urls {
		p := layOutAt(t, all, w, i)
		for a, arg := range p.args {
			if arg == "8222" {
				_, p.args[a], _ = net.SplitHostPort(monitors[i])
			}
		}
		p.env["NATS_ADDRESS"] = strings.TrimPrefix(urls[i], "nats://")
		p.env["NATS_CLUSTER_ADDRESS"] = strings.TrimPrefix(routes[i], "nats://")
		p.env["NATS_ROUTES"] = "[" + strings.Join(routes, ", ") + "]"
		p.env["NATS_STORE"] = t.TempDir()
		p.start(t, tool(t, "nats-server"), t.TempDir())
	}
	for _, monitor := range monitors {
		eventually(t, "NATS is ready", func() bool { return answers("http://" + monitor + "/healthz") })
	}
	return strings.Join(urls, ",")
}

// startMosquitto returns the address of a broker.
func startMosquitto(t *testing.T) string {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	a, config := address(t), filepath.Join(t.TempDir(), "mosquitto.conf")
	host, port, _ := net.SplitHostPort(a)
	if err := os.WriteFile(config, []byte("listener "+port+" "+host+"\nallow_anonymous true\nuser "+me.Username+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pod{args: []string{"-c", config}}.start(t, tool(t, "mosquitto"), ".")
	eventually(t, "mosquitto accepts connections", func() bool {
		c, err := net.Dial("tcp", a)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return a
}

// startDevice starts one that publishes a reading ten times a second: ready is a trigger before it has all its parts.
func startDevice(t *testing.T, broker string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(broker)
	device := pod{args: []string{
		"-h", host, "-p", port, "-q", "1", "-t", "$devices/boiler/events", "-m", "21.5", "--repeat", "10000", "--repeat-delay", "0.1",
	}}
	device.start(t, tool(t, "mosquitto_pub"), ".")
}

// start runs a program as the pod until the test has ended.
func (p pod) start(t *testing.T, program, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, p.args...)
	cmd.Dir = dir
	for name, value := range p.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out := new(output)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience // and then it is killed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Wait() // the test's context has ended
		if t.Failed() {
			t.Logf("%s %s:\n%s", filepath.Base(program), strings.Join(p.args, " "), out.String())
		}
	})
}

// output can be written and read at once.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// waitReady waits as Kubernetes does, for the path of the readiness probe.
func (m member) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, "iotcast is ready", func() bool { return answers("http://" + m.http + "/ready") })
}

// connect is a client of /telemetry.
func (m member) connect(t *testing.T) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), "ws://"+m.gateway+"/telemetry", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// read1 reads the next message.
func read1(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, message, err := c.Read(ctx)
	if err != nil || !json.Valid(message) {
		t.Fatalf("no envelope, but %s (%v)", message, err)
	}
	return string(message)
}

func answers(url string) bool {
	r, err := http.Get(url) //nolint:gosec,noctx // of this test
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}

func get(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url) //nolint:gosec,noctx // of this test
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s (%v)", url, r.Status, body, err)
	}
	return string(body)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("within %v it was not so that %s", patience, what)
		}
	}
}

// address is one of this machine whose port is bound and not listened on: the kernel gives it to nobody but who names it.
func address(t *testing.T) string {
	t.Helper()
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err == nil {
		t.Cleanup(func() { syscall.Close(fd) })
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	name, err2 := syscall.Getsockname(fd)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
}

// tool looks where Debian keeps daemons, too: not everyone has that in PATH.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	t.Fatalf("there is no %s: tests/run.sh installs it", name)
	return ""
}
