package tests

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readme is what README.md has fenced in a language and holds text.
func readme(t *testing.T, language, text string) string {
	t.Helper()
	content, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?\n)```\n").FindAllStringSubmatch(string(content), -1) {
		if strings.Contains(m[1], text) {
			return m[1]
		}
	}
	t.Fatalf("README.md has no %s with %q", language, text)
	return ""
}

// consolePage shows in its text what a script writes to the console.
const consolePage = `<!doctype html><body><script>
for (const name of ["log", "warn", "error"])
  console[name] = (...all) => document.body.append(all.map(a => typeof a === "string" ? a : JSON.stringify(a)).join(" ") + "\n")
</script><script type="module">
%s</script>`

// The trigger and the pages of the README, as they stand there, with pages from
// where the README serves them: that is not the gateway's origin.
func TestReadme(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	c := newIotcast(t)
	c.launch("run", "-s", "http.address="+c.http, writeFile(t, strings.NewReplacer(
		"tcp://localhost:1883", b.url(), "127.0.0.1:8080", c.gateway).Replace(readme(t, "yaml", "iot_mqtt:"))))
	c.waitLog("Launching")
	c.waitReady()
	device := b.publisher()

	for name, text := range map[string]string{"client": "connect(", "WebSocket": "new WebSocket("} {
		t.Run(name, func(t *testing.T) {
			script := strings.ReplaceAll(readme(t, "js", text), "127.0.0.1:8080", c.gateway)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprintf(w, consolePage, script)
			}))
			defer server.Close()
			_, port, err := net.SplitHostPort(server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			page := startFeed(t, "page", exec.Command(toolPath("node"), "clients/page.mjs", toolPath("chromium"), "http://localhost:"+port+"/"))
			eventuallyWithin(t, 3*patience, "the page logs the reading", func() bool {
				device.Publish("$devices/my-device/events", 0, false, `{"temperature":21.5}`) // until the page is connected
				told := page.told()
				return len(told) > 0 && regexp.MustCompile(`\d{4}-\d\d-\d\dT\S+Z my-device {"temperature":21.5}`).MatchString(told[len(told)-1].Text)
			})
		})
	}
}

// A binary of one's own, as the README has it, compiles.
func TestReadmeBinary(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(readme(t, "go", "plugins.Run")), 0o600); err != nil {
		t.Fatal(err)
	}
	outputOf(t, "go", "vet", file)
}
