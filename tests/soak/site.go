package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/iotcast/iotcast/internal/reserve"
	"github.com/iotcast/iotcast/tests/internal/proxy"
)

// site is all that runs: a broker, NATS, and two iotcasts, each behind a network
// that can be cut. One keeps its history in memory, the other, which is
// config/durable, in JetStream. Beside them, a broker and an iotcast for live state.
type site struct {
	dir           string
	databases     string // of the brokers: a directory
	mosquitto     *program
	nats          *program
	broker        string // address
	memory        *node
	durable       *node
	liveMosquitto *program
	liveBroker    string // address
	live          *node
}

// node is an iotcast.
type node struct {
	*program
	network *proxy.Proxy // to the broker
	gateway string       // address
	http    string       // address
	streams map[string]string
	history int // bytes that its history may take
}

// startSite returns what it could start, for close, also if it fails.
func startSite() (s *site, err error) {
	s = &site{}
	if s.dir, err = os.MkdirTemp("", "iotcast-soak-"); err != nil {
		return nil, err
	}
	iotcast := os.Getenv("IOTCAST")
	if iotcast == "" {
		iotcast = filepath.Join(s.dir, "iotcast")
		if out, err := exec.Command("go", "build", "-o", iotcast, "github.com/iotcast/iotcast/cmd/iotcast").CombinedOutput(); err != nil {
			return s, fmt.Errorf("building iotcast: %w\n%s", err, out)
		}
	}
	if s.mosquitto, s.broker, err = s.startMosquitto("mosquitto"); err != nil {
		return s, err
	}
	if err := s.startMemory(iotcast); err != nil {
		return s, err
	}
	if err := s.startLive(iotcast); err != nil {
		return s, err
	}
	err = s.startDurable(iotcast)
	return s, err
}

func (s *site) startMosquitto(name string) (broker *program, address string, err error) {
	me, err := user.Current()
	if err != nil {
		return nil, "", err
	}
	if address, err = reserve.Address(); err != nil {
		return nil, "", err
	}
	host, port, _ := net.SplitHostPort(address)
	config := filepath.Join(s.dir, name+".conf")
	// In memory where there is one: the database is written with each message, and
	// has to outlive a process, not a power failure.
	if s.databases == "" {
		if s.databases, err = os.MkdirTemp("/dev/shm", "iotcast-soak-"); err != nil {
			s.databases = filepath.Join(s.dir, "databases")
		}
	}
	database := filepath.Join(s.databases, name)
	if err := os.MkdirAll(database, 0o700); err != nil {
		return nil, "", err
	}
	lines := []string{
		"listener " + port + " " + host, "user " + me.Username, "allow_anonymous true", "set_tcp_nodelay true",
		"max_queued_messages 0", "persistence true", "persistence_location " + database + "/", "autosave_on_changes true", "autosave_interval 1",
	}
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, "", err
	}
	broker = s.program(name, nil, "mosquitto", "-c", config)
	if err := broker.start(); err != nil {
		return nil, "", err
	}
	return broker, address, waitForPort(address)
}

// nodeRoot begins the config of a node, up to what its gateway has of its own.
const nodeRoot = `
http: { address: %q }
logger: { level: INFO, format: logfmt }
metrics: { prometheus: { add_process_metrics: true, add_go_metrics: true } }
websocket_gateways:
  - label: main
    address: %q
    compression: true
    access_log: false
`

func (s *site) startMemory(iotcast string) error {
	const root = nodeRoot + `
    queue_bytes: 1048576
    routes: [ { path: /telemetry, history: { max_messages: 5000 } } ]
`
	const stream = `
input:
  iot_mqtt:
    urls: [ "tcp://%s" ]
    registry_id: home
    topics: [ $devices/+/events/# ]
    client_id: soak-memory
    clean_session: false
    keepalive: 2s
    batching: { count: 5, period: 50ms }
pipeline: { processors: [ { iot_trigger: {} } ] }
output: { websocket_broadcast: { gateway: main, path: /telemetry } }
`
	n, err := s.node()
	if err != nil {
		return err
	}
	s.memory, n.history = n, 5000*1000
	n.streams["trigger"] = fmt.Sprintf(stream, n.network.Addr())
	config, trigger := filepath.Join(s.dir, "memory.yaml"), filepath.Join(s.dir, "trigger.yaml")
	err = errors.Join(
		os.WriteFile(config, fmt.Appendf(nil, root, n.http, n.gateway), 0o600),
		os.WriteFile(trigger, []byte(n.streams["trigger"]), 0o600),
	)
	if err != nil {
		return err
	}
	n.program = s.program("memory", nil, iotcast, "streams", "-o", config, trigger)
	return n.launch()
}

func (s *site) startDurable(iotcast string) error {
	address, err := reserve.Address()
	if err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(address)
	s.nats = s.program("nats-server", nil, "nats-server", "-a", host, "-p", port, "-js", "-sd", filepath.Join(s.dir, "jetstream"))
	if err := s.nats.start(); err != nil {
		return err
	}
	if err := waitForPort(address); err != nil {
		return err
	}
	n, err := s.node()
	if err != nil {
		return err
	}
	s.durable, n.history = n, 64<<20
	_, here, _, _ := runtime.Caller(0)
	config := filepath.Join(filepath.Dir(here), "../../config/durable")
	env := append(os.Environ(), "MQTT_URL=tcp://"+n.network.Addr(), "NATS_URL=nats://"+address,
		"GATEWAY_ADDRESS="+n.gateway, "HTTP_ADDRESS="+n.http)
	n.program = s.program("durable", env, iotcast, "streams", "-o", config+"/root.yaml",
		"--set", "metrics.prometheus.add_process_metrics=true", "--set", "metrics.prometheus.add_go_metrics=true", config+"/streams")
	return n.launch()
}

// node is one that has a network which can be cut.
func (s *site) node() (n *node, err error) {
	if n, err = newNode(); err == nil {
		n.network, err = proxy.New(s.broker)
	}
	return n, err
}

func newNode() (n *node, err error) {
	n = &node{streams: map[string]string{}}
	if n.gateway, err = reserve.Address(); err != nil {
		return nil, err
	}
	n.http, err = reserve.Address()
	return n, err
}

func (s *site) nodes() []*node { return []*node{s.memory, s.durable} }

// close ends all, and removes the directory unless it is to be kept.
func (s *site) close(keep bool) {
	for _, n := range s.nodes() {
		if n != nil {
			n.kill()
			n.network.Close()
		}
	}
	if s.live != nil {
		s.live.kill()
	}
	s.mosquitto.kill()
	s.liveMosquitto.kill()
	s.nats.kill()
	if s.databases != "" {
		_ = os.RemoveAll(s.databases)
	}
	if keep {
		fmt.Println("The logs are in", s.dir)
		return
	}
	_ = os.RemoveAll(s.dir)
}

// launch starts the process, and returns when it is ready.
func (n *node) launch() error {
	if err := n.start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if n.ready() {
			return nil
		}
	}
	return fmt.Errorf("%s is not ready after a minute: %s", n.name, n.tail())
}

var apiClient = &http.Client{Timeout: 30 * time.Second}

func (n *node) request(method, path, body string) (status int, answer string) {
	req, err := http.NewRequest(method, "http://"+n.http+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	res, err := apiClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(text)
}

func (n *node) ready() bool {
	status, _ := n.request(http.MethodGet, "/ready", "")
	return status == http.StatusOK
}

// size is what the process takes.
type size struct {
	memory     float64 // resident, in bytes
	goroutines float64
}

var gauge = regexp.MustCompile(`(?m)^(process_resident_memory_bytes|go_goroutines)(?:\{[^}]*\})? (\S+)$`)

func (n *node) size() (z size, err error) {
	status, text := n.request(http.MethodGet, "/metrics", "")
	for _, m := range gauge.FindAllStringSubmatch(text, -1) {
		v, _ := strconv.ParseFloat(m[2], 64)
		if m[1] == "go_goroutines" {
			z.goroutines = v
		} else {
			z.memory = v
		}
	}
	if z.memory == 0 || z.goroutines == 0 {
		return z, fmt.Errorf("%s does not tell its size: status %d: %.300s", n.name, status, text)
	}
	return z, nil
}

// program is a process that can be started again.
type program struct {
	name string
	args []string
	env  []string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

func (s *site) program(name string, env []string, args ...string) *program {
	if path, err := exec.LookPath(args[0]); err == nil {
		args[0] = path
	} else if !filepath.IsAbs(args[0]) {
		args[0] = filepath.Join("/usr/sbin", args[0]) // where Debian keeps daemons
	}
	return &program{name: name, env: env, args: args, log: filepath.Join(s.dir, name+".log")}
}

func (p *program) start() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.env, log, log
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	p.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(p.cmd, p.done)
	return nil
}

func (p *program) kill() {
	if p == nil || p.done == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// terminate ends the process as an operator does.
func (p *program) terminate() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(25 * time.Second):
		p.kill()
		return fmt.Errorf("%s did not end within 25 s of SIGTERM", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with status %d after SIGTERM: %s", p.name, code, p.tail())
	}
	return nil
}

func (p *program) tail() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-3000):])
}

func waitForPort(address string) error {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			return c.Close()
		}
	}
	return fmt.Errorf("nothing listens on %s", address)
}
