package httpguard_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/prometheus"

	"github.com/iotcast/iotcast/internal/reserve"
	"github.com/iotcast/iotcast/plugins"
)

// api is the guarded API of a process in streams mode.
type api struct {
	t       *testing.T
	address string
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := reserve.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs streams mode, with more lines in the root config, and with streams.
func start(t *testing.T, settings string, streams ...string) *api {
	t.Helper()
	return startWith(t, "", settings, streams...)
}

// startWith has more fields of http.
func startWith(t *testing.T, fields, settings string, streams ...string) *api {
	t.Helper()
	a := &api{t: t, address: freeAddress(t)}
	root := write(t, "root.yaml", fmt.Sprintf("http: { address: %q, %s }\nmetrics: { prometheus: {} }\n%s%s", a.address, fields, quiet, settings))
	args := []string{"mine", "streams", "-o", root}
	for i, config := range streams {
		args = append(args, write(t, fmt.Sprintf("disk%d.yaml", i), config))
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, started := make(chan int, 1), make(chan struct{})
	go func() {
		ended <- plugins.Run(ctx, service.CLIOptSetArgs(args...), service.CLIOptOnStreamStart(func(*service.RunningStreamSummary) error {
			close(started)
			return nil
		}))
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	select {
	case <-started:
	case code := <-ended:
		ended <- code
		t.Fatalf("the process has ended with code %d", code)
	}
	return a
}

// call sends a request as edit makes it.
func (a *api) call(method, path, body string, edit func(*http.Request)) (status int, answer string) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), method, "http://"+a.address+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if edit != nil {
		edit(r)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (a *api) must(method, path, body string) (answer string) {
	a.t.Helper()
	status, answer := a.call(method, path, body, nil)
	if status != http.StatusOK {
		a.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// refused expects an error that holds want.
func (a *api) refused(method, path, body, want string) {
	a.t.Helper()
	status, answer := a.call(method, path, body, nil)
	if status < 400 || !strings.Contains(answer, want) {
		a.t.Errorf("%s %s: %d %s, want %q", method, path, status, answer, want)
	}
}

func (a *api) streams() (ids []string) {
	a.t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(a.must("GET", "/streams", "")), &all); err != nil {
		a.t.Fatal(err)
	}
	for id := range all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// quiet is for tests of several processes: Benthos ends the process that tests run
// in once the time for its end is over, even if it has ended.
const quiet = "logger: { level: NONE }\nshutdown_timeout: 1h\n"

const harmless = "input: { generate: { mapping: 'root = \"x\"', interval: 1h } }\noutput: { drop: {} }\n"

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

func TestStrangers(t *testing.T) {
	a := start(t, "")
	_, port, _ := net.SplitHostPort(a.address)
	for name, test := range map[string]struct {
		edit func(*http.Request)
		want int
	}{
		"a program":                           {nil, http.StatusOK},
		"localhost":                           {host("localhost:" + port), http.StatusOK},
		"IPv6":                                {host("[::1]:" + port), http.StatusOK},
		"own page":                            {header("Origin", "http://"+a.address), http.StatusOK},
		"typed by the user":                   {header("Sec-Fetch-Site", "none"), http.StatusOK},
		"foreign page":                        {header("Origin", "https://example.com"), http.StatusForbidden},
		"page of another port":                {header("Origin", "http://127.0.0.1:1"), http.StatusForbidden},
		"file":                                {header("Origin", "null"), http.StatusForbidden},
		"foreign site":                        {header("Sec-Fetch-Site", "cross-site"), http.StatusForbidden},
		"foreign host":                        {host("example.com"), http.StatusMisdirectedRequest},
		"foreign host, port":                  {host("example.com:" + port), http.StatusMisdirectedRequest},
		"foreign host with the address in it": {host("127.0.0.1.example.com"), http.StatusMisdirectedRequest},
		"rebound page": {func(r *http.Request) {
			r.Host = "example.com:" + port
			r.Header.Set("Origin", "http://example.com:"+port)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}, http.StatusMisdirectedRequest},
	} {
		for _, call := range []string{"GET /streams", "POST /streams/one", "GET /ping", "GET /benthos/streams", "OPTIONS /streams"} {
			method, path, _ := strings.Cut(call, " ")
			status, answer := a.call(method, path, harmless, test.edit)
			if got := status < 400 || status == http.StatusBadRequest; got != (test.want == 200) || !got && status != test.want {
				t.Errorf("%s: %s: %d %s", name, call, status, answer)
			}
		}
		if got := len(a.streams()) > 0; got != (test.want == 200) {
			t.Errorf("%s: streams %v", name, a.streams())
		}
		_, _ = a.call("DELETE", "/streams/one", "", nil)
	}
}

func TestLogin(t *testing.T) {
	a := start(t, `http_guard: { username: me, password: "pass word" }`)
	for name, edit := range map[string]func(*http.Request){
		"nobody":         nil,
		"wrong password": func(r *http.Request) { r.SetBasicAuth("me", "pass") },
		"wrong name":     func(r *http.Request) { r.SetBasicAuth("you", "pass word") },
		"nothing":        func(r *http.Request) { r.SetBasicAuth("", "") },
	} {
		for _, path := range []string{"/streams", "/streams/one", "/benthos/streams", "/endpoints", "/resources/cache/x", "/ping/../streams"} {
			if status, _ := a.call("GET", path, "", edit); status != http.StatusUnauthorized {
				t.Errorf("%s: GET %s: %d", name, path, status)
			}
		}
		for _, path := range []string{"/ping", "/ready", "/metrics", "/benthos/ping"} {
			if status, _ := a.call("GET", path, "", edit); status != http.StatusOK {
				t.Errorf("%s: GET %s: %d", name, path, status)
			}
		}
	}
	login := func(r *http.Request) { r.SetBasicAuth("me", "pass word") }
	if status, answer := a.call("POST", "/streams/one", harmless, login); status != http.StatusOK {
		t.Errorf("%d %s", status, answer)
	}
	endpoint := `
input: { http_server: { path: /post } }
pipeline: { processors: [ { mapping: 'root = "authorization: " + metadata("Authorization").or("none")' } ] }
output: { sync_response: {} }
`
	if status, answer := a.call("POST", "/streams/endpoint", endpoint, login); status != http.StatusOK {
		t.Errorf("%d %s", status, answer)
	}
	if status, _ := a.call("POST", "/endpoint/post", "x", nil); status != http.StatusUnauthorized {
		t.Errorf("an endpoint of a stream: %d", status)
	}
	if status, answer := a.call("POST", "/endpoint/post", "x", login); status != http.StatusOK || answer != "authorization: none" {
		t.Errorf("an endpoint of a stream, after a login: %d %s", status, answer)
	}
	// A browser adds the password by itself.
	if status, _ := a.call("POST", "/streams/two", harmless, func(r *http.Request) { login(r); r.Header.Set("Origin", "https://example.com") }); status != http.StatusForbidden {
		t.Errorf("a foreign page of somebody logged in: %d", status)
	}
}

// TestTrustedOrigins: http.cors names pages that may call.
func TestTrustedOrigins(t *testing.T) {
	a := startWith(t, "cors: { enabled: true, allowed_origins: [ 'https://example.com', '*' ] }", "")
	for origin, want := range map[string]int{"https://example.com": http.StatusOK, "https://example.org": http.StatusForbidden} {
		if status, answer := a.call("GET", "/streams", "", header("Origin", origin)); status != want {
			t.Errorf("%s: %d %s", origin, status, answer)
		}
	}
}

var reaching = map[string]string{
	"command":       "pipeline: { processors: [ { command: { name: id } } ] }",
	"type":          "pipeline: { processors: [ { type: command, command: { name: id } } ] }",
	"nested":        "output: { broker: { outputs: [ { drop: {}, processors: [ { try: [ { branch: { processors: [ { subprocess: { name: id } } ] } } ] } ] } ] } }",
	"input":         "input: { broker: { inputs: [ { subprocess: { name: id } } ] } }",
	"file":          "output: { file: { path: x } }",
	"csv":           "input: { csv: { paths: [ /etc/passwd ] } }",
	"socket":        "output: { socket: { network: unix, address: /var/run/docker.sock } }",
	"dynamic":       "input: { dynamic: {} }",
	"no linter":     "# BENTHOS LINT DISABLE\npipeline: { processors: [ { command: { name: id } } ] }",
	"alias":         "x: &a { command: { name: id } }\npipeline: { processors: [ *a ] }",
	"merge":         "x: &a { command: { name: id } }\npipeline: { processors: [ { <<: *a } ] }",
	"binary":        "pipeline: { processors: [ { !!binary Y29tbWFuZA==: { name: id } } ] }",
	"env":           `input: { generate: { mapping: 'root = env("HOME")' } }`,
	"file function": `pipeline: { processors: [ { log: { message: '${! file("/etc/passwd") }' } } ] }`,
	"import":        `pipeline: { processors: [ { mapping: 'import "/etc/passwd"' } ] }`,
	"from":          `pipeline: { processors: [ { mapping: 'from "/etc/passwd"' } ] }`,
	"variable":      `input: { generate: { mapping: 'root = "${HOME}"' } }`,
	"default":       "pipeline: { processors: [ { ${X:command}: { name: id } } ] }",
}

func TestReachingComponentsAreRefused(t *testing.T) {
	a := start(t, "")
	for name, config := range reaching {
		for _, call := range []string{"POST /streams/bad", "PUT /streams/bad", "POST /streams/bad?chilled=true", "POST /benthos/streams/bad", "POST //streams/bad"} {
			method, path, _ := strings.Cut(call, " ")
			if status, answer := a.call(method, path, config, nil); status < 400 {
				t.Errorf("%s: %s: %d %s", name, call, status, answer)
			}
		}
		if status, answer := a.call("POST", "/streams", "bad:\n  "+strings.ReplaceAll(config, "\n", "\n  "), nil); status < 400 {
			t.Errorf("%s: POST /streams: %d %s", name, status, answer)
		}
		if ids := a.streams(); len(ids) > 0 {
			t.Fatalf("%s: streams %v", name, ids)
		}
	}
	a.refused("POST", "/resources/processor/x", "command: { name: id }", "http_guard.allow_components")
	a.refused("POST", "/resources/cache/x", "file: { directory: /tmp }", "http_guard.allow_components")
	a.refused("POST", "/streams/bad", reaching["command"], "http_guard.allow_components")
	a.refused("POST", "/streams/bad", reaching["variable"], "http_guard.allow_variables")
	a.must("POST", "/resources/cache/x", "memory: {}")
	a.must("POST", "/streams/good", "input: { http_client: { url: 'http://127.0.0.1:1', stream: { enabled: true, scanner: { csv: {} } } } }\noutput: { drop: {} }")
}

func TestReachingComponentsThatAreAllowed(t *testing.T) {
	t.Setenv("A_VARIABLE", "a: value")
	a := start(t, "http_guard: { allow_components: [ file, env ], allow_variables: [ A_VARIABLE, B_VARIABLE ] }")
	path := filepath.Join(t.TempDir(), "out")
	config := `
input: { generate: { mapping: 'root = "${A_VARIABLE} ${B_VARIABLE:none} " + env("A_VARIABLE")', count: 1, interval: "" } }
output: { file: { path: ` + path + `, codec: lines } }
`
	for _, call := range []struct{ path, body string }{
		{"/streams/one", config}, {"/streams", "one:\n" + strings.ReplaceAll(config, "\n", "\n  ")},
	} {
		a.must("POST", call.path, call.body)
		var text []byte
		for string(text) != "a: value none a: value\n" {
			select {
			case <-t.Context().Done():
				t.Fatalf("%q", text)
			case <-time.After(5 * time.Millisecond):
			}
			text, _ = os.ReadFile(path)
		}
		_, _ = a.call("DELETE", "/streams/one", "", nil)
		_ = os.Remove(path)
	}
	a.refused("POST", "/streams/two", reaching["command"], "http_guard.allow_components")
}

// TestVariablesByEscapes: Benthos would replace what only looks like a variable
// after the config is read.
func TestVariablesByEscapes(t *testing.T) {
	t.Setenv("A_VARIABLE", "leaked")
	a := start(t, "")
	for i, mapping := range []string{`"root = \"\x24{A_VARIABLE}\""`, `"root = \"\x24{X:\x24{A_VARIABLE}}\""`, `"root = \"${{A_VARIABLE}}\""`} {
		path := fmt.Sprintf("/streams/s%d", i)
		a.must("POST", path, "input: { generate: { interval: 1h, mapping: "+mapping+" } }\noutput: { drop: {} }")
		if config := a.must("GET", path, ""); strings.Contains(config, "leaked") || !strings.Contains(config, "${") {
			t.Errorf("%s: %s", mapping, config)
		}
	}
}

// TestConfigsThatMeanMoreThanTheySay: what a stream does not say Benthos fills in with
// the standard input and output, and what it cannot bear it takes all memory for.
func TestConfigsThatMeanMoreThanTheySay(t *testing.T) {
	a := start(t, "")
	a.refused("POST", "/streams/one", "{}", "no input")
	a.refused("POST", "/streams/one", "input: { generate: { mapping: root = 1 } }", "no output")
	a.refused("POST", "/streams", "one: {}", "no input")
	a.refused("POST", "/streams/one", harmless+"---\npipeline: { processors: [] }\n", "second document")
	deep := strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000)
	a.refused("POST", "/streams/one", "input: { generate: { mapping: 'root = "+deep+"' } }\noutput: { drop: {} }", "brackets")
}

// TestStreamsOfFilesMayDoAll, and an update that fails puts them back.
func TestStreamsOfFilesMayDoAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	a := start(t, "", `
input: { generate: { mapping: 'root = "${HOME}" + env("HOME") + "${{HOME}}"', interval: 1h } }
output: { file: { path: `+path+` } }
`)
	before := a.must("GET", "/streams/disk0", "")
	a.refused("PUT", "/streams/disk0", harmless+"pipeline: { processors: [ { resource: nowhere } ] }", "nowhere")
	after := a.must("GET", "/streams/disk0", "")
	config := func(answer string) string {
		var stream struct{ Config any }
		if err := json.Unmarshal([]byte(answer), &stream); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(stream.Config)
	}
	if config(before) != config(after) || !strings.Contains(after, "${HOME}") {
		t.Errorf("before %s, after %s", before, after)
	}
	a.must("PUT", "/streams/disk0", harmless)
}

func TestChangesThatFailLeaveWhatRan(t *testing.T) {
	a := start(t, "")
	a.must("POST", "/streams/one", harmless)
	a.must("POST", "/streams/two", harmless)
	cannot := harmless + "pipeline: { processors: [ { resource: nowhere } ] }"
	a.refused("PUT", "/streams/one", cannot, "nowhere")
	a.refused("POST", "/streams", "one:\n  "+strings.ReplaceAll(cannot, "\n", "\n  "), "nowhere")
	a.refused("PATCH", "/streams/one", "input: { generate: { interval: nonsense } }", "PUT")
	a.refused("POST", "/streams/one", harmless, "already exists")
	a.refused("POST", "/streams/streams", harmless, "no ID")
	a.refused("POST", "/streams", "resources: { output: { drop: {} } }", "no ID")
	if ids := a.streams(); !slices.Equal(ids, []string{"one", "two"}) {
		t.Errorf("streams %v", ids)
	}
}

// TestKeysThatAreNoText: Benthos cannot show a config with them.
func TestKeysThatAreNoText(t *testing.T) {
	a := start(t, "")
	a.must("POST", "/streams/one", "input: { generate: { mapping: 'root = 1', interval: 1h } }\noutput: { http_client: { url: 'http://127.0.0.1:1', headers: { 1: a, true: b } } }")
	if answer := a.must("GET", "/streams/one", ""); !strings.Contains(answer, `"1":"a"`) {
		t.Error(answer)
	}
}

// TestSecretsAreNotShown, wherever they have come from.
func TestSecretsAreNotShown(t *testing.T) {
	t.Setenv("IOTCAST_MQTT_PASSWORD", "s3cr3t")
	a := start(t, "")
	a.must("POST", "/streams/one", `
input: { iot_mqtt: { urls: [ "tcp://user:s3cr3t@127.0.0.1:1" ], user: me, password: "${IOTCAST_MQTT_PASSWORD}", broker_id: b } }
output: { drop: {} }
`)
	if answer := a.must("GET", "/streams/one", ""); strings.Contains(answer, "s3cr3t") || strings.Contains(answer, "buffer") || !strings.Contains(answer, "127.0.0.1:1") {
		t.Error(answer)
	}
}

// TestBasicAuth: the password of Benthos itself is asked for behind the guard.
func TestBasicAuth(t *testing.T) {
	hash := sha256.Sum256([]byte("pass"))
	a := startWith(t, "basic_auth: { enabled: true, username: me, password_hash: "+base64.StdEncoding.EncodeToString(hash[:])+" }", "")
	config := harmless + "pipeline: { processors: [ { metric: { type: counter, name: mine } } ] }"
	for _, call := range []string{"POST /streams/one", "PUT /streams/one", "GET /streams/one", "DELETE /streams/one"} {
		method, path, _ := strings.Cut(call, " ")
		if status, answer := a.call(method, path, config, nil); status < 400 {
			t.Errorf("%s without a password: %d %s", call, status, answer)
		}
		if status, answer := a.call(method, path, config, func(r *http.Request) { r.SetBasicAuth("me", "pass") }); status != http.StatusOK {
			t.Errorf("%s: %d %s", call, status, answer)
		}
	}
}

// counted is a processor that counts how many of it there are, in streams that run.
type counted struct{ open *atomic.Int64 }

func (c counted) Process(_ context.Context, m *service.Message) (service.MessageBatch, error) {
	return service.MessageBatch{m}, nil
}

func (c counted) Close(context.Context) error {
	c.open.Add(-1)
	return nil
}

// TestChangesAtOnce: of several changes of a stream one is what runs, and no stream
// runs on that the API does not know.
func TestChangesAtOnce(t *testing.T) {
	var open atomic.Int64
	service.MustRegisterProcessor("counted", service.NewConfigSpec(), func(*service.ParsedConfig, *service.Resources) (service.Processor, error) {
		open.Add(1)
		return counted{&open}, nil
	})
	a := start(t, "")
	// It takes a moment to end.
	config := strings.Replace(harmless, "1h", "10ms", 1) + "pipeline: { threads: 1, processors: [ { counted: {} }, { sleep: { duration: 100ms } } ] }"
	a.must("POST", "/streams/one", config)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if status, answer := a.call("PUT", "/streams/one", config, nil); status != http.StatusOK {
				t.Errorf("%d %s", status, answer)
			}
			if status, answer := a.call("POST", "/streams", "one:\n  "+strings.ReplaceAll(config, "\n", "\n  "), nil); status != http.StatusOK {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
	all.Wait()
	if n := open.Load(); n != 1 {
		t.Errorf("%d streams run, the API knows one", n)
	}
	a.must("DELETE", "/streams/one", "")
	if n := open.Load(); n != 0 {
		t.Errorf("%d streams run, the API knows none", n)
	}
}

// TestMetricNames: Connect's prometheus would hang the whole API.
func TestMetricNames(t *testing.T) {
	metric := func(fields string) string {
		return harmless + "pipeline: { processors: [ { try: [ { metric: { " + fields + " } } ] } ] }"
	}
	a := start(t, "websocket_gateways: [ { label: main, address: '"+freeAddress(t)+"', routes: [ { path: /x } ] } ]", metric("type: gauge, name: of_disk, value: '1'"))
	for fields, want := range map[string]string{
		"type: counter, name: websocket_connections":       "websocket_connections",
		"type: gauge, name: input_received, value: '1'":    "input_received",
		"type: counter, name: websocket_gateway_up":        "websocket_gateway_up",
		"type: counter, name: of_disk":                     "gauge of another stream",
		"type: counter, name: mine, labels: { stream: x }": "stream",
		"type: counter, name: mine, labels: { 'a b': x }":  "a b",
	} {
		a.refused("POST", "/streams/bad", metric(fields), want)
		a.refused("POST", "/streams", "bad:\n  "+strings.ReplaceAll(metric(fields), "\n", "\n  "), want)
	}
	for range 2 {
		a.must("POST", "/streams/good", metric("type: counter, name: mine, labels: { topic: x }"))
		a.must("PUT", "/streams/good", metric("type: counter_by, name: mine, value: '2', labels: { topic: x }"))
		a.must("PUT", "/streams/disk0", metric("type: gauge, name: of_disk, value: '2'"))
		a.must("GET", "/ready", "")
		a.must("DELETE", "/streams/good", "")
	}
	a.refused("POST", "/streams/bad", metric("type: timing, name: mine, value: '1'"), "has run before")
	a.must("GET", "/metrics", "")
}

// TestRefusesToStart: what other machines reach needs a password.
func TestRefusesToStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, port, _ := net.SplitHostPort(freeAddress(t))
	for name, test := range map[string]struct {
		root   string
		args   []string
		starts bool
	}{
		"all interfaces": {root: "http: { address: '0.0.0.0:" + port + "' }"},
		"no host":        {root: "http: { address: ':" + port + "' }"},
		"password":       {root: "http: { address: '0.0.0.0:" + port + "' }\nhttp_guard: { username: a, password: b }", starts: true},
		"name alone":     {root: "http: { address: '127.0.0.1:" + port + "' }\nhttp_guard: { username: a }"},
		"basic_auth":     {root: "http: { address: '0.0.0.0:" + port + "', basic_auth: { enabled: true, username: a, password_hash: eA== } }", starts: true},
		"two passwords":  {root: "http: { address: 'localhost:" + port + "', basic_auth: { enabled: true, username: a, password_hash: eA== } }\nhttp_guard: { username: a, password: b }"},
		"loopback":       {root: "http: { address: 'localhost:" + port + "' }", starts: true},
		"no API":         {root: "http: { address: '0.0.0.0:" + port + "' }", args: []string{"--no-api"}, starts: true},
		"HTTP is off":    {root: "http: { address: '0.0.0.0:" + port + "', enabled: false }", starts: true},
	} {
		path := write(t, "root.yaml", quiet+test.root)
		ctx, cancel := context.WithCancel(ctx)
		started := false
		code := plugins.Run(ctx, service.CLIOptSetArgs(append([]string{"mine", "streams", "-o", path}, test.args...)...),
			service.CLIOptOnStreamStart(func(*service.RunningStreamSummary) error {
				started = true
				conn, err := net.Dial("tcp", "127.0.0.1:"+port)
				if err == nil {
					_ = conn.Close()
				}
				if listens := err == nil; listens != (test.starts && !strings.Contains(name, "no API") && !strings.Contains(name, "HTTP is off")) {
					t.Errorf("%s: listens: %v", name, listens)
				}
				cancel()
				return nil
			}))
		cancel()
		if started != test.starts || (code == 0) != test.starts {
			t.Errorf("%s: started %v, code %d", name, started, code)
		}
	}
}

// TestBusyAddress: a single stream does without the API, streams mode does not.
func TestBusyAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for mode, starts := range map[string]bool{"run": true, "streams": false} {
		path := write(t, "config.yaml", fmt.Sprintf("%shttp: { address: %q }\n", quiet, l.Addr()))
		args := []string{"mine", mode, "-o", path}
		if mode == "run" {
			args = []string{"mine", mode, write(t, "config.yaml", fmt.Sprintf("%shttp: { address: %q }\n%s", quiet, l.Addr(), harmless))}
		}
		ctx, cancel := context.WithCancel(t.Context())
		started := false
		plugins.Run(ctx, service.CLIOptSetArgs(args...), service.CLIOptOnStreamStart(func(*service.RunningStreamSummary) error {
			started = true
			cancel()
			return nil
		}))
		cancel()
		if started != starts {
			t.Errorf("%s: started %v", mode, started)
		}
	}
}
