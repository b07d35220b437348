package opentelemetry_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	_ "github.com/iotcast/iotcast/plugins/opentelemetry"
)

// requests is a collector over gRPC, and where that over HTTP brings its requests, too.
type requests struct {
	collector.UnimplementedTraceServiceServer
	came chan *collector.ExportTraceServiceRequest
}

func (r requests) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.came <- request
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r requests) ServeHTTP(_ http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	var export collector.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(body, &export) != nil || request.URL.Path != "/v1/traces" {
		return
	}
	r.came <- &export
}

func overHTTP(t *testing.T, r requests) string {
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func overGRPC(t *testing.T, r requests) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return l.Addr().String()
}

// run makes one message with the tracer.
func run(t *testing.T, tracer string) error {
	t.Helper()
	b := service.NewStreamBuilder()
	if err := b.SetYAML(`
logger: { level: none }
input: { generate: { count: 1, interval: "", mapping: root = "a" } }
output: { drop: {} }
tracer: { open_telemetry_collector: ` + tracer + " }\n"); err != nil {
		return err
	}
	stream, err := b.Build()
	if err != nil {
		return err
	}
	return stream.Run(t.Context())
}

func TestSpansArrive(t *testing.T) {
	for protocol, start := range map[string]func(*testing.T, requests) string{"http": overHTTP, "grpc": overGRPC} {
		for _, field := range []string{"address", "url"} {
			t.Run(protocol+" "+field, func(t *testing.T) {
				r := requests{came: make(chan *collector.ExportTraceServiceRequest, 10)}
				tracer := fmt.Sprintf(`{ service: hall, tags: { site: north }, %s: [ { %s: %q } ] }`, protocol, field, start(t, r))
				if err := run(t, tracer); err != nil {
					t.Fatal(err)
				}
				var request *collector.ExportTraceServiceRequest
				select {
				case request = <-r.came:
				case <-t.Context().Done():
				}
				text := request.String()
				for _, want := range []string{"input_generate", `"service.name"`, `"hall"`, `"service.version"`, `"site"`, `"north"`} {
					if !strings.Contains(text, want) {
						t.Errorf("no %s in %s", want, text)
					}
				}
			})
		}
	}
}

func TestSampling(t *testing.T) {
	r := requests{came: make(chan *collector.ExportTraceServiceRequest, 10)}
	if err := run(t, `{ http: [ { address: "`+overHTTP(t, r)+`" } ], sampling: { enabled: true, ratio: 0 } }`); err != nil {
		t.Fatal(err)
	}
	if len(r.came) != 0 {
		t.Error("a trace was sent")
	}
}

func TestNoAddress(t *testing.T) {
	if err := run(t, `{ grpc: [ { url: "" } ] }`); err == nil || !strings.Contains(err.Error(), "grpc[0].address") {
		t.Errorf("%v", err)
	}
}
