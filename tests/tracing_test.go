package tests

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// traces is a collector of OpenTelemetry: OTLP over HTTP.
type traces struct {
	addr  string
	mu    sync.Mutex
	spans []*tracepb.Span
}

func startCollector(t *testing.T) *traces {
	t.Helper()
	c := new(traces)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.addr = l.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &request)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range request.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				c.spans = append(c.spans, scope.GetSpans()...)
			}
		}
	}), ReadHeaderTimeout: patience}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return c
}

// named are the spans of a name, oldest first.
func (c *traces) named(name string) (found []*tracepb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.GetName() == name {
			found = append(found, s)
		}
	}
	return found
}

// One trace leads from the receipt of a message to its broadcast; those of the
// other messages in the batch are linked to it.
func TestTraces(t *testing.T) {
	t.Parallel()
	const messages = 3
	b := startMosquitto(t)
	spans := startCollector(t)
	cast := runIotcast(t, `
tracer: { open_telemetry_collector: { http: [ { address: "`+spans.addr+`" } ] } }
`+trigger(b, "broker_id: factory\nbatching: { count: 3, period: 10s }", ""))
	ws := connectGo(t, cast.url("/telemetry"))
	before := time.Now()
	for range messages {
		b.publish(1, message{topic: "hall/press", payload: []byte("1")})
	}
	ws.waitMessages(1)
	cast.terminate() // sends what spans there are

	received := spans.named("input_iot_mqtt")
	triggered := spans.named("iot_trigger")
	broadcast := spans.named("output_websocket_broadcast")
	if len(received) != messages || len(triggered) != messages || len(broadcast) != 1 {
		t.Fatalf("%d spans of the input, %d of the trigger, %d of the output", len(received), len(triggered), len(broadcast))
	}
	first := received[0]
	for _, s := range received[1:] {
		if s.GetStartTimeUnixNano() < first.GetStartTimeUnixNano() {
			first = s
		}
	}
	if first.GetStartTimeUnixNano() < uint64(before.UnixNano()) {
		t.Error("the first span began before its message was sent")
	}
	id := func(s *tracepb.Span) string { return string(s.GetTraceId()) }
	if out := broadcast[0]; id(out) != id(first) || !bytes.Equal(out.GetParentSpanId(), first.GetSpanId()) {
		t.Errorf("the broadcast %v is no child of the receipt %v", out, first)
	}
	for _, s := range triggered {
		if id(s) != id(first) {
			continue
		}
		if len(s.GetLinks()) != messages-1 {
			t.Errorf("%d links to the traces of the other messages", len(s.GetLinks()))
		}
	}
	if events := first.GetEvents(); len(events) != 1 || events[0].GetName() != "broadcast" || !strings.Contains(events[0].String(), "/telemetry") {
		t.Errorf("events of the receipt: %v", events)
	}
}
