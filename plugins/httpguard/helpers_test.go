package httpguard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// ready waits until all streams are connected, which is a moment after they are made.
func (a *api) ready() {
	a.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, answer := a.call("GET", "/ready", "", nil)
		if status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("not ready: %d %s", status, answer)
		}
	}
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
