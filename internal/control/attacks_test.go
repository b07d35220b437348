package control

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/state"
)

// Lists by folder look at registries, too, while the file grows under them.
func TestListsWhileTheFileGrows(t *testing.T) {
	d := newDesk(t)
	d.registry("home")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	defer all.Wait()
	stop, end := context.WithCancel(ctx)
	defer end()
	for range 4 {
		all.Go(func() {
			for stop.Err() == nil {
				_, err := d.devices.List(ctx, &devices.ListDevicesRequest{Id: &devices.ListDevicesRequest_FolderId{FolderId: "home"}})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 100 {
		_, err := d.devices.Create(ctx, &devices.CreateDeviceRequest{RegistryId: "home", Name: fmt.Sprint("d", i), Description: strings.Repeat("long ", 50)})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Who may see one registry does not see what was of another with its name.
func TestOperationsOfOthers(t *testing.T) {
	d := newDesk(t, withTokens(t, access.Grant{Account: "admin", Role: "admin"},
		access.Grant{Account: "one", Role: "editor", Resources: []string{"home"}}, access.Grant{Account: "viewer", Role: "viewer"}))
	admin, one := as(t, "admin"), as(t, "one")
	for _, name := range []string{"home", "lab"} {
		if _, err := d.registries.Create(admin, &devices.CreateRegistryRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.devices.Create(admin, &devices.CreateDeviceRequest{RegistryId: "lab", Name: "laser", Labels: map[string]string{"secret": "1"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.devices.Delete(admin, &devices.DeleteDeviceRequest{DeviceId: "laser"}); err != nil {
		t.Fatal(err)
	}
	mine, err := d.devices.Create(one, &devices.CreateDeviceRequest{RegistryId: "home", Name: "laser"})
	if err != nil {
		t.Fatal(err)
	}
	list := &devices.ListDeviceOperationsRequest{DeviceId: "laser"}
	if got, err := d.devices.ListOperations(one, list); err != nil || len(got.Operations) != 1 || got.Operations[0].Id != mine.Id {
		t.Errorf("one sees %v (%v)", got, err)
	}
	// One of before, of the same millisecond.
	earlier := &operation.Operation{Id: strings.Repeat("0", 32), Description: "Delete device", CreatedAt: mine.CreatedAt}
	text, err := proto.Marshal(earlier)
	if err == nil {
		err = d.store.Write(func(tx *state.Tx) error { return tx.AddOperation(earlier.Id, "laser", text) })
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []string{"", mine.Id, strings.Repeat("0", 31) + "1"} {
		asked := &devices.ListDeviceOperationsRequest{DeviceId: "laser", PageSize: 1}
		if after != "" {
			asked.PageToken = page{of: "operations laser"}.next(after)
		}
		if got, err := d.devices.ListOperations(one, asked); err != nil || len(got.Operations) > 0 && got.Operations[0].Id != mine.Id ||
			got.NextPageToken != "" {
			t.Errorf("behind %q one sees %v (%v)", after, got, err)
		}
	}
	got, err := d.devices.ListOperations(as(t, "viewer"), list)
	if err != nil || len(got.Operations) != 4 {
		t.Fatalf("viewer sees %v (%v)", got, err)
	}
	if _, err := d.operations.Get(one, &operation.GetOperationRequest{OperationId: mine.Id}); err != nil {
		t.Error(err)
	}
	_, err = d.operations.Get(one, &operation.GetOperationRequest{OperationId: got.Operations[2].Id})
	wants(t, err, codes.PermissionDenied, "one", "viewer")
}

// What strangers send is not read.
func TestBodiesOfStrangers(t *testing.T) {
	d := newDesk(t, withTokens(t, access.Grant{Account: "admin", Role: "admin"}))
	body, write := io.Pipe()
	defer write.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+d.server.Addr().String()+"/iot-devices/v1/registries", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := new(http.Transport).RoundTrip(req) // while the body goes on
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("it is answered by %d", res.StatusCode)
	}
	_, err = d.registries.Create(t.Context(), &devices.CreateRegistryRequest{Name: "home"})
	wants(t, err, codes.Unauthenticated, "a valid bearer token is needed")
	watch, err := healthpb.NewHealthClient(d.conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	wants(t, err, codes.Unimplemented)
	_, _ = d.registries.Get(t.Context(), &devices.GetRegistryRequest{RegistryId: strings.Repeat("a", 100_000)})
	if n := d.log.Len(); n > 10_000 {
		t.Errorf("the log has %d bytes", n)
	}
}

func TestCredentialsAreBounded(t *testing.T) {
	d := newDesk(t)
	d.registry("home")
	var last error
	for range 11 {
		_, last = d.registries.AddPassword(t.Context(), &devices.AddRegistryPasswordRequest{RegistryId: "home", Password: goodPassword})
	}
	wants(t, last, codes.InvalidArgument, "home", "11")
	expensive := "registries: [ { id: a, name: a, passwords: [ { hash: $2a$31$kkT5gBvl7XJh/DPzpPrU3u2187QcitBfXFU97ZuUNuEuZ6iivP6hm } ] } ]\ndevices: []\nbrokers: []\ntriggers: []"
	if code, text := d.rest(t, "PUT", "/state", expensive, "Content-Type", "application/yaml"); code != 400 || !strings.Contains(text, "cost of 31") {
		t.Errorf("%d %s", code, text)
	}
}

// What is small on the way is not unpacked.
func TestCompressedBodies(t *testing.T) {
	d := newDesk(t)
	for _, header := range [][]string{
		{"Content-Encoding", "gzip"},
		{"Content-Encoding", "identity, gzip"},
		{"Content-Type", "application/grpc+json", "Grpc-Encoding", "gzip"},
		{"Content-Type", "application/grpc-web+json", "Grpc-Encoding", "gzip"},
	} {
		if code, text := d.rest(t, "POST", "/iot-devices/v1/registries", `{"name": "home"}`, header...); code != http.StatusUnsupportedMediaType {
			t.Errorf("%v: %d %s", header, code, text)
		}
	}
}

// A page that is longer than any request may be.
func TestLongPages(t *testing.T) {
	d := newDesk(t)
	for i := range 900 {
		labels := map[string]string{}
		for j := range 20 {
			labels[fmt.Sprintf("label-%02d-%s", j, strings.Repeat("a", 40))] = strings.Repeat("b", 60)
		}
		if _, err := d.registries.Create(t.Context(), &devices.CreateRegistryRequest{Name: fmt.Sprint("r", i), Labels: labels}); err != nil {
			t.Fatal(err)
		}
	}
	if code, text := d.rest(t, "GET", "/iot-devices/v1/registries?pageSize=1000", ""); code != 200 || len(text) < 1<<21 {
		t.Errorf("%d, %d bytes: %.200s", code, len(text), text)
	}
}
