package httpguard_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	_ "github.com/redpanda-data/connect/v4/public/components/prometheus"
)

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
		for _, call := range []string{
			"POST /streams/bad", "PUT /streams/bad", "POST /streams/bad?chilled=true", "POST /benthos/streams/bad", "POST //streams/bad",
		} {
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
