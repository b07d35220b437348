package streamsapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/streamsapi"
)

// benthos is the guarded HTTP API of streams mode as far as the client uses it.
// Configs are refused by what they contain: "lint", "build" (by the constructor
// of the input), or "later" (by PUT alone). The real one is behind the tests of
// plugins/httpguard and of tests/.
type benthos struct {
	mu      sync.Mutex
	streams map[string]string
	calls   []string
	gone    bool // PUT is refused, and cannot put the old config back
}

const checkText = "was checked and is sound"

func (b *benthos) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	config := string(body)
	b.calls = append(b.calls, r.Method+" "+r.URL.String())
	id, ok := strings.CutPrefix(r.URL.Path, "/streams/")
	_, exists := b.streams[id]
	switch {
	case r.URL.Path == "/streams":
		_ = json.NewEncoder(w).Encode(b.streams)
	case !ok:
		http.NotFound(w, r)
	case r.Method != http.MethodPost && !exists:
		http.Error(w, "Stream not found", http.StatusNotFound)
	case r.Method == http.MethodGet:
		var config any
		_ = yaml.Unmarshal([]byte(b.streams[id]), &config)
		_ = json.NewEncoder(w).Encode(map[string]any{"active": true, "config": config})
	case r.Method == http.MethodDelete:
		delete(b.streams, id)
	case strings.Contains(config, "lint"):
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"lint_errors": []string{"(3,1) field lint not recognised", "(4,1) another"}})
	case r.Method == http.MethodPost && exists:
		http.Error(w, "Stream already exists", http.StatusBadRequest)
	default:
		switch {
		case strings.Contains(config, "build"):
			http.Error(w, "Error: output 0: failed to init output <no label> path root.output.broker.outputs.0: build", http.StatusBadGateway)
		case strings.Contains(config, checkText):
			http.Error(w, "Error: failed to init output: none: a new config "+checkText+" and is sound", http.StatusBadGateway)
		case r.Method == http.MethodPut && strings.Contains(config, "later"):
			if b.gone {
				delete(b.streams, id)
			}
			http.Error(w, "Error: later", http.StatusBadGateway)
		default:
			b.streams[id] = config
		}
	}
}

func startBenthos(t *testing.T) (*benthos, *streamsapi.Client) {
	t.Helper()
	b := &benthos{streams: map[string]string{}}
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	c, err := streamsapi.New(s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b, c
}

const old = "input: { old: 1 }\noutput: { drop: {} }\n"

func TestUpdate(t *testing.T) {
	b, c := startBenthos(t)
	b.streams["one"] = old
	if err := c.Update(t.Context(), "one", []byte("input: { new: 1 }\n")); err != nil {
		t.Fatal(err)
	}
	if b.streams["one"] != "input: { new: 1 }\n" || len(b.streams) != 1 {
		t.Errorf("streams %v", b.streams)
	}
	// In this order, and with an end to the wait for the old stream.
	want := "GET /streams/one, POST /streams/one, POST /streams/iotcast_check, PUT /streams/one?timeout=20s"
	if got := strings.Join(b.calls, ", "); got != want {
		t.Errorf("calls %s", got)
	}
}

// TestUpdateRefused: the old stream runs on; PUT is called only with what nothing
// else refuses.
func TestUpdateRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		config, want string
		puts         int
	}{
		"lint":   {"input: { lint: 1 }", "(3,1) field lint not recognised\n(4,1) another", 0},
		"build":  {"input: { build: 1 }", "failed to init output <no label> path root.output: build", 0},
		"YAML":   {"input: [", "reading the config", 0},
		"stream": {"[]", "no stream", 0},
		"later":  {"input: { later: 1 }", "the new config was refused, the old one runs on: later", 1},
		// What is no YAML yet cannot be built before.
		"environment": {"input: { urls: [ ${URLS} ], later: 1 }", "the old one runs on", 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, c := startBenthos(t)
			b.streams["one"] = old
			err := c.Update(t.Context(), "one", []byte(tt.config))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			var before, after any
			_ = yaml.Unmarshal([]byte(old), &before)
			_ = yaml.Unmarshal([]byte(b.streams["one"]), &after)
			if fmt.Sprint(before) != fmt.Sprint(after) || len(b.streams) != 1 {
				t.Errorf("streams %v", b.streams)
			}
			if puts := strings.Count(strings.Join(b.calls, " "), "PUT"); puts != tt.puts {
				t.Errorf("calls %v", b.calls)
			}
			if err := c.Try(t.Context(), "one", []byte(tt.config)); (err == nil) != (tt.puts > 0) {
				t.Errorf("Try: %v", err)
			}
		})
	}
}

func TestUpdateThatCannotBeUndone(t *testing.T) {
	b, c := startBenthos(t)
	b.streams["one"], b.gone = old, true
	err := c.Update(t.Context(), "one", []byte("later: 1"))
	if err == nil || !strings.Contains(err.Error(), `stream "one" no longer runs`) {
		t.Error(err)
	}
}

// TestUpdateOfTheImpatient: the command is cancelled while PUT is on its way.
func TestUpdateOfTheImpatient(t *testing.T) {
	b := &benthos{streams: map[string]string{"one": old}}
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			_, _ = io.ReadAll(r.Body) // before, net/http does not see that the client has gone
			cancel()
			<-r.Context().Done()
			return
		}
		b.ServeHTTP(w, r)
	}))
	defer s.Close()
	c, err := streamsapi.New(s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Update(ctx, "one", []byte("new: 1")); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the new config or the old one") {
		t.Error(err)
	}
}

// TestCheckKeepsTheConfig: what is checked is what was given, with one output
// more.
func TestCheckKeepsTheConfig(t *testing.T) {
	for config, want := range map[string]string{
		"input: { a: 1 } # b\noutput:\n  drop: {}\n": "input: {a: 1} # b\noutput:\n    broker:\n        outputs:\n            - drop: {}\n            - resource: 'none: a new config was checked and is sound'\n",
		"input: { a: ${X} }":                         "input: {a: ${X}}\n",
	} {
		var sent string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			sent = string(body)
			http.Error(w, "Error: none: a new config was checked and is sound", http.StatusBadGateway)
		}))
		t.Cleanup(s.Close)
		c, err := streamsapi.New(s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(t.Context(), []byte(config)); err != nil {
			t.Error(err)
		}
		if strings.Contains(config, "${") {
			continue // not sent at all
		}
		if sent != want {
			t.Errorf("sent:\n%s\nwant:\n%s", sent, want)
		}
	}
}

func TestUnknownStream(t *testing.T) {
	b, c := startBenthos(t)
	if err := c.Delete(t.Context(), "three"); err == nil || !strings.Contains(err.Error(), "none is running") {
		t.Error(err)
	}
	b.streams["one"], b.streams["two"] = old, old
	for _, err := range []error{
		c.Update(t.Context(), "three", []byte(old)), c.Delete(t.Context(), "three"), c.Try(t.Context(), "three", []byte(old)),
	} {
		if err == nil || !strings.Contains(err.Error(), `there is no stream "three": there is one, two`) {
			t.Error(err)
		}
	}
	if err := c.Create(t.Context(), "one", []byte(old)); !errors.Is(err, streamsapi.ErrExists) {
		t.Error(err)
	}
}

func TestConnected(t *testing.T) {
	var answers []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if len(answers) == 0 {
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, answers[0])
		answers = answers[1:]
	}))
	defer s.Close()
	c, err := streamsapi.New(s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	const failing = `{"statuses":[{"path":"root.output","connected":true},{"path":"root.input","connected":false,"error":"refused by the broker"}]}`
	answers = []string{`{"statuses":[]}`, failing, failing}
	if err := c.Connected(t.Context(), "one"); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	answers = []string{failing, failing}
	if err := c.Connected(ctx, "one"); err == nil || err.Error() != "input: refused by the broker" {
		t.Error(err)
	}
}

func TestNoProcess(t *testing.T) {
	for _, address := range []string{"", "localhost:4195", "127.0.0.1:4195", "ftp://a", "http://", "http://a b", "me:secret@host"} {
		_, err := streamsapi.New(address, nil)
		if err == nil || !strings.Contains(err.Error(), streamsapi.DefaultAddress) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", address, err)
		}
	}
	for status, want := range map[int]string{
		http.StatusNotFound:     "it has no streams: run it with `iotcast streams`",
		http.StatusUnauthorized: "asks for another user name and password",
		http.StatusTeapot:       "I'm a teapot",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
				t.Errorf("user %q, password %q", user, password)
			}
			w.WriteHeader(status)
		}))
		c, err := streamsapi.New(s.URL, url.UserPassword("me", "secret"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Running(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
		s.Close()
		_, err = c.Running(t.Context())
		if err == nil || !strings.Contains(err.Error(), "is `iotcast streams` running there?") || strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
	}
}

// A token goes with each call, and one that is refused is named.
func TestToken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "a valid bearer token is needed: missing", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte("{}"))
	}))
	defer s.Close()
	c, err := streamsapi.New(s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Running(t.Context()); err == nil || !strings.Contains(err.Error(), "IOTCAST_TOKEN") {
		t.Error(err)
	}
	c.Authorize("secret")
	if _, err := c.Running(t.Context()); err != nil {
		t.Error(err)
	}
}
