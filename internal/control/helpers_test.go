package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	brokers "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/broker/v1"
	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is an API and its clients.
type desk struct {
	t          testing.TB
	dir        string
	cfg        Config
	log        *bytes.Buffer
	counted    map[string]int
	server     *Server
	store      *state.Store
	conn       *grpc.ClientConn
	registries devices.RegistryServiceClient
	devices    devices.DeviceServiceClient
	brokers    brokers.BrokerServiceClient
	operations operation.OperationServiceClient
}

// newDesk starts an API. Change changes its config.
func newDesk(t testing.TB, change ...func(*Config)) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir(), cfg: Config{Address: "127.0.0.1:0", Connections: connections.Local(gateway.NewSet()), MaxMessageBytes: 128 << 10}, log: new(bytes.Buffer)}
	for _, one := range change {
		one(&d.cfg)
	}
	d.start()
	t.Cleanup(d.stop)
	return d
}

func (d *desk) start() {
	d.t.Helper()
	var err error
	if d.store, err = state.Open(d.dir); err != nil {
		d.t.Fatal(err)
	}
	all, err := Restored(d.store, d.cfg.Fixed)
	if err != nil {
		d.t.Fatal(err)
	}
	if d.cfg.Directory, err = registry.New(all); err != nil {
		d.t.Fatal(err)
	}
	d.cfg.State = d.store
	d.counted = map[string]int{}
	log := slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if d.server, err = Start(d.cfg, func(method, code string) {}, log); err != nil {
		d.t.Fatal(err)
	}
	if d.conn, err = grpc.NewClient(d.server.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		d.t.Fatal(err)
	}
	d.registries, d.devices = devices.NewRegistryServiceClient(d.conn), devices.NewDeviceServiceClient(d.conn)
	d.brokers, d.operations = brokers.NewBrokerServiceClient(d.conn), operation.NewOperationServiceClient(d.conn)
}

func (d *desk) stop() {
	_ = d.conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d.server.Close(ctx)
	if err := d.store.Close(); err != nil {
		d.t.Error(err)
	}
}

// restart ends the API and starts it again on the same file.
func (d *desk) restart() {
	d.stop()
	d.start()
}

// rest makes a request, and returns the status and the body, indented.
func (d *desk) rest(t testing.TB, method, path, body string, header ...string) (int, string) {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+d.server.Addr().String()+path, content)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, text, "", "  ") == nil {
		text = pretty.Bytes()
	}
	return res.StatusCode, string(text)
}

// must returns the response of an operation.
func must[T proto.Message](t testing.TB, into T) func(*operation.Operation, error) T {
	return func(op *operation.Operation, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if !op.Done || op.GetError() != nil {
			t.Fatalf("the operation is %v", op)
		}
		if err := op.GetResponse().UnmarshalTo(into); err != nil {
			t.Fatal(err)
		}
		return into
	}
}

// wants fails unless an error has the code and speaks of all texts.
func wants(t testing.TB, err error, code codes.Code, texts ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("got %v, want the code %v", err, code)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not speak of %q", err, text)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func (d *desk) registry(name string) *devices.Registry {
	d.t.Helper()
	return must(d.t, new(devices.Registry))(d.registries.Create(d.t.Context(), &devices.CreateRegistryRequest{
		FolderId: "home", Name: name,
	}))
}

func (d *desk) device(registryID, name string) {
	d.t.Helper()
	must(d.t, new(devices.Device))(d.devices.Create(d.t.Context(), &devices.CreateDeviceRequest{RegistryId: registryID, Name: name}))
}
