package tests

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const clientPackage = "../internal/gateway/client"

// maxClientSize is what the client may weigh as a bundler leaves it: minified, without
// compression, and without the module that it loads only where WebSockets are broken.
const maxClientSize = 5 << 10

func outputOf(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), toolPath(name), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, stderr.Bytes())
	}
	return out
}

func TestClientIsSmall(t *testing.T) {
	t.Parallel()
	minified := outputOf(t, "node_modules/.bin/esbuild", "--bundle", "--minify", "--format=esm", "--target=es2022", "--external:./events.js", clientPackage+"/iotcast.js")
	t.Logf("%d bytes minified, of at most %d", len(minified), maxClientSize)
	if len(minified) >= maxClientSize {
		t.Errorf("%d bytes minified, want fewer than %d", len(minified), maxClientSize)
	}
	if !bytes.Contains(minified, []byte("last_event_id")) {
		t.Errorf("this is not the client: %.200s", minified)
	}
}

func TestClientIsTyped(t *testing.T) {
	t.Parallel()
	outputOf(t, "node_modules/.bin/tsc", "-p", "clients/tsconfig.json")
}

// What npm would publish: the module, its types and its documentation.
func TestClientIsAnNpmPackage(t *testing.T) {
	t.Parallel()
	var packed []struct {
		Name  string
		Files []struct{ Path string }
	}
	out := outputOf(t, "npm", "pack", "--dry-run", "--json", clientPackage)
	if err := json.Unmarshal(out, &packed); err != nil || len(packed) != 1 {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	var files []string
	for _, f := range packed[0].Files {
		files = append(files, f.Path)
	}
	slices.Sort(files)
	want := []string{
		"README.md", "events.d.ts", "events.js", "iotcast.d.ts", "iotcast.js", "package.json",
		"shared.d.ts", "shared.js", "sharedworker.js",
	}
	if !slices.Equal(files, want) {
		t.Errorf("the package holds %v, want %v", files, want)
	}
	if packed[0].Name != "iotcast" {
		t.Errorf("the package is called %q", packed[0].Name)
	}
	loaded := outputOf(t, "node", "--input-type=module", "-e", `import { connect } from "`+clientPackage+`/iotcast.js"; console.log(typeof connect)`)
	if string(loaded) != "function\n" {
		t.Errorf("connect is a %s", loaded)
	}
}

// The client for Go costs a program nothing but a WebSocket, and the version that it tells a gateway.
func TestGoClientNeedsLittle(t *testing.T) {
	t.Parallel()
	deps := outputOf(t, "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "../plugins/feed")
	for _, dep := range strings.Fields(string(deps)) {
		switch {
		case strings.HasPrefix(dep, "github.com/coder/websocket"):
		case dep == "github.com/iotcast/iotcast/plugins/feed", dep == "github.com/iotcast/iotcast/internal/version":
		default:
			t.Errorf("it needs %s", dep)
		}
	}
}
