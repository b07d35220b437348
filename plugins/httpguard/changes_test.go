package httpguard_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/prometheus"
)

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
	count := func(*service.ParsedConfig, *service.Resources) (service.Processor, error) {
		open.Add(1)
		return counted{&open}, nil
	}
	service.MustRegisterProcessor("counted", service.NewConfigSpec(), count)
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
			body := "one:\n  " + strings.ReplaceAll(config, "\n", "\n  ")
			if status, answer := a.call("POST", "/streams", body, nil); status != http.StatusOK {
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
	a := start(t, "websocket_gateways: [ { label: main, address: '"+freeAddress(t)+"', routes: [ { path: /x } ] } ]",
		metric("type: gauge, name: of_disk, value: '1'"))
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
		a.ready()
		a.must("DELETE", "/streams/good", "")
	}
	a.refused("POST", "/streams/bad", metric("type: timing, name: mine, value: '1'"), "has run before")
	a.must("GET", "/metrics", "")
}
