package control

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	brokers "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/broker/v1"
	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/iotcast/iotcast/internal/registry"
)

// Each field that cannot be as it is has its name in the answer.
func TestBadInput(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	d.registry("home")
	d.registry("work")
	d.device("home", "boiler")
	mine := selfSigned(t, "boiler")
	if _, err := d.devices.AddCertificate(ctx, &devices.AddDeviceCertificateRequest{DeviceId: "boiler", CertificateData: mine}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.devices.Update(ctx, &devices.UpdateDeviceRequest{
		DeviceId: "boiler", UpdateMask: mask("topic_aliases"), TopicAliases: map[string]string{"my/alias/": "$devices/boiler/"},
	}); err != nil {
		t.Fatal(err)
	}
	device := func(change func(*devices.CreateDeviceRequest)) func() error {
		return func() error {
			r := &devices.CreateDeviceRequest{RegistryId: "home", Name: "pump"}
			change(r)
			_, err := d.devices.Create(ctx, r)
			return err
		}
	}
	alias := func(name, target string) func() error {
		return device(func(r *devices.CreateDeviceRequest) { r.TopicAliases = map[string]string{name: target} })
	}
	many := map[string]string{}
	for i := range 65 {
		many[fmt.Sprintf("label%d", i)] = "x"
	}
	for name, c := range map[string]struct {
		call func() error
		code codes.Code
		text string
	}{
		"no name":          {device(func(r *devices.CreateDeviceRequest) { r.Name = "" }), codes.InvalidArgument, "name"},
		"long name":        {device(func(r *devices.CreateDeviceRequest) { r.Name = strings.Repeat("a", 51) }), codes.InvalidArgument, "name has 51"},
		"name with spaces": {device(func(r *devices.CreateDeviceRequest) { r.Name = "a b" }), codes.InvalidArgument, "name"},
		"name with slash":  {device(func(r *devices.CreateDeviceRequest) { r.Name = "a/b" }), codes.InvalidArgument, "name"},
		"taken name":       {device(func(r *devices.CreateDeviceRequest) { r.Name = "boiler" }), codes.AlreadyExists, "boiler"},
		"description":      {device(func(r *devices.CreateDeviceRequest) { r.Description = strings.Repeat("ä", 257) }), codes.InvalidArgument, "description has 257"},
		"label key":        {device(func(r *devices.CreateDeviceRequest) { r.Labels = map[string]string{"Upper": "x"} }), codes.InvalidArgument, "labels"},
		"label value":      {device(func(r *devices.CreateDeviceRequest) { r.Labels = map[string]string{"x": "Ü"} }), codes.InvalidArgument, "labels"},
		"labels":           {device(func(r *devices.CreateDeviceRequest) { r.Labels = many }), codes.InvalidArgument, "labels are 65"},
		"no registry":      {device(func(r *devices.CreateDeviceRequest) { r.RegistryId = "" }), codes.InvalidArgument, "registry_id"},
		"unknown registry": {device(func(r *devices.CreateDeviceRequest) { r.RegistryId = "nowhere" }), codes.NotFound, "nowhere"},
		"weak password":    {device(func(r *devices.CreateDeviceRequest) { r.Password = "onlylowercaseletters" }), codes.InvalidArgument, "password"},
		"no certificate": {device(func(r *devices.CreateDeviceRequest) {
			r.Certificates = []*devices.CreateDeviceRequest_Certificate{{CertificateData: "hello"}}
		}), codes.InvalidArgument, "certificates[0].certificate_data"},
		"a key": {device(func(r *devices.CreateDeviceRequest) {
			r.Certificates = []*devices.CreateDeviceRequest_Certificate{{CertificateData: "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"}}
		}), codes.InvalidArgument, "PRIVATE KEY"},
		"two certificates": {device(func(r *devices.CreateDeviceRequest) {
			r.Certificates = []*devices.CreateDeviceRequest_Certificate{{CertificateData: mine + mine}}
		}), codes.InvalidArgument, "more than one"},
		"another's certificate": {device(func(r *devices.CreateDeviceRequest) {
			r.Certificates = []*devices.CreateDeviceRequest_Certificate{{CertificateData: mine}}
		}), codes.AlreadyExists, "boiler"},
		"alias above":       {alias("my/", "$devices/{id}/"), codes.AlreadyExists, "my/alias/"},
		"alias below":       {alias("my/alias/2/", "$devices/{id}/"), codes.AlreadyExists, "my/alias/"},
		"alias that begins": {alias("my/ali", "$devices/{id}"), codes.AlreadyExists, "my/alias/"},
		"alias of another":  {alias("x/", "$devices/boiler/"), codes.InvalidArgument, "x/"},
		"alias with $":      {alias("$x/", "$devices/{id}/"), codes.InvalidArgument, "$x/"},
		"alias with +":      {alias("x/+/", "$devices/{id}/"), codes.InvalidArgument, "x/+/"},
		"six aliases": {device(func(r *devices.CreateDeviceRequest) {
			r.TopicAliases = map[string]string{}
			for i := range 6 {
				r.TopicAliases[fmt.Sprint("a", i, "/")] = "$devices/{id}/"
			}
		}), codes.InvalidArgument, "6 aliases"},
		"unknown device": {func() error {
			_, err := d.devices.Update(ctx, &devices.UpdateDeviceRequest{DeviceId: "nothing", Name: "x"})
			return err
		}, codes.NotFound, "nothing"},
		"a registry as device": {func() error {
			_, err := d.devices.Delete(ctx, &devices.DeleteDeviceRequest{DeviceId: "home"})
			return err
		}, codes.NotFound, "home"},
		"a device as registry": {func() error {
			_, err := d.registries.Delete(ctx, &devices.DeleteRegistryRequest{RegistryId: "boiler"})
			return err
		}, codes.NotFound, "boiler"},
		"mask": {func() error {
			_, err := d.devices.Update(ctx, &devices.UpdateDeviceRequest{DeviceId: "boiler", UpdateMask: mask("status")})
			return err
		}, codes.InvalidArgument, "update_mask"},
		"name to nothing": {func() error {
			_, err := d.devices.Update(ctx, &devices.UpdateDeviceRequest{DeviceId: "boiler", UpdateMask: mask("name")})
			return err
		}, codes.InvalidArgument, "name"},
		"page of another list": {func() error {
			first, err := d.registries.List(ctx, &devices.ListRegistriesRequest{PageSize: 1})
			if err != nil || first.NextPageToken == "" {
				t.Fatalf("%v %v", first, err)
			}
			_, err = d.brokers.List(ctx, &brokers.ListBrokersRequest{PageToken: first.NextPageToken})
			return err
		}, codes.InvalidArgument, "page_token"},
		"page size": {func() error {
			_, err := d.registries.List(ctx, &devices.ListRegistriesRequest{PageSize: 1001})
			return err
		}, codes.InvalidArgument, "page_size"},
		"certificate twice": {func() error {
			_, err := d.devices.AddCertificate(ctx, &devices.AddDeviceCertificateRequest{DeviceId: "boiler", CertificateData: mine})
			return err
		}, codes.AlreadyExists, "boiler"},
		"no such password": {func() error {
			_, err := d.devices.DeletePassword(ctx, &devices.DeleteDevicePasswordRequest{DeviceId: "boiler", PasswordId: "1"})
			return err
		}, codes.NotFound, "password"},
		"no such certificate": {func() error {
			_, err := d.devices.DeleteCertificate(ctx, &devices.DeleteDeviceCertificateRequest{DeviceId: "boiler", Fingerprint: "ab:cd"})
			return err
		}, codes.NotFound, "ab:cd"},
		"registry with devices": {func() error {
			_, err := d.registries.Delete(ctx, &devices.DeleteRegistryRequest{RegistryId: "home"})
			return err
		}, codes.FailedPrecondition, "devices"},
		"exports": {func() error {
			_, err := d.registries.AddDataStreamExport(ctx, &devices.AddDataStreamExportRequest{
				RegistryId: "home", Name: "x", Database: "x", Stream: "x", ServiceAccountId: "x",
			})
			return err
		}, codes.Unimplemented, "trigger"},
	} {
		t.Run(name, func(t *testing.T) {
			wants(t, c.call(), c.code, c.text)
			if got, err := d.devices.Get(ctx, &devices.GetDeviceRequest{DeviceId: "pump"}); err == nil {
				t.Errorf("there is %v", got)
			}
		})
	}
	// What was refused has left nothing behind.
	if err := device(func(*devices.CreateDeviceRequest) {})(); err != nil {
		t.Error(err)
	}
}

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

func TestFixedPart(t *testing.T) {
	d := newDesk(t, func(cfg *Config) {
		cfg.Fixed = registry.Config{
			Registries: []registry.Registry{{ID: "fixed", Devices: []registry.Device{{ID: "lamp", Aliases: map[string]string{"lamp/": "$devices/lamp/"}}}}},
			Brokers:    []registry.Broker{{ID: "factory"}},
		}
	})
	ctx := t.Context()
	d.registry("home")
	all, err := d.registries.List(ctx, &devices.ListRegistriesRequest{})
	if err != nil || len(all.Registries) != 2 || all.Registries[0].Id != "fixed" || all.Registries[0].Labels["managed-by"] != "config-file" {
		t.Fatalf("%v %v", all, err)
	}
	lamp, err := d.devices.GetByName(ctx, &devices.GetByNameDeviceRequest{RegistryId: "fixed", DeviceName: "lamp"})
	if err != nil || lamp.TopicAliases["lamp/"] == "" || lamp.Labels["managed-by"] != "config-file" {
		t.Fatalf("%v %v", lamp, err)
	}
	_, err = d.devices.Update(ctx, &devices.UpdateDeviceRequest{DeviceId: "lamp", Name: "light"})
	wants(t, err, codes.FailedPrecondition, "lamp", "config file", "iot_registries")
	_, err = d.devices.Create(ctx, &devices.CreateDeviceRequest{RegistryId: "fixed", Name: "another"})
	wants(t, err, codes.FailedPrecondition, "fixed", "config file")
	_, err = d.brokers.Delete(ctx, &brokers.DeleteBrokerRequest{BrokerId: "factory"})
	wants(t, err, codes.FailedPrecondition, "factory", "iot_brokers")
	// The name is taken, and so is the ID.
	_, err = d.registries.Create(ctx, &devices.CreateRegistryRequest{Name: "fixed"})
	wants(t, err, codes.AlreadyExists, "fixed")
	made := d.registry("lamp")
	if made.Id == "lamp" || !strings.HasPrefix(made.Id, "lamp-") {
		t.Errorf("the ID is %q", made.Id)
	}
}

func TestPages(t *testing.T) {
	d := newDesk(t)
	d.registry("home")
	d.registry("home2")
	for i := range 25 {
		d.device("home", fmt.Sprintf("d%02d", i))
		d.device("home2", fmt.Sprintf("e%02d", i))
	}
	seen, token := []string{}, ""
	for {
		page, err := d.devices.List(t.Context(), &devices.ListDevicesRequest{Id: &devices.ListDevicesRequest_RegistryId{RegistryId: "home"}, PageSize: 10, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page.Devices {
			seen = append(seen, one.Id)
		}
		if token = page.NextPageToken; token == "" {
			break
		}
	}
	if len(seen) != 25 || seen[0] != "d00" || seen[24] != "d24" {
		t.Errorf("saw %v", seen)
	}
}

// Of many who want the same name at once, one gets it.
func TestManyAtOnce(t *testing.T) {
	d := newDesk(t)
	d.registry("home")
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 20 {
		all.Go(func() {
			_, err := d.devices.Create(t.Context(), &devices.CreateDeviceRequest{RegistryId: "home", Name: "boiler", TopicAliases: map[string]string{"b/": "$devices/{id}/"}})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if code := status.Code(err); code != codes.AlreadyExists {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Errorf("%d have got the name", won)
	}
	if ids := d.cfg.Directory.Devices("home"); len(ids) != 1 {
		t.Errorf("the directory has %v", ids)
	}
}

func FuzzREST(f *testing.F) {
	d := newDesk(f)
	d.registry("home")
	for _, body := range []string{`{"name":"x"}`, `{"registryId":"home","name":"x","topicAliases":{"a":"b"}}`, `{"name":`, `[]`, `null`, `{"labels":{"a":{}}}`, `{"updateMask":"name,,x"}`} {
		for _, path := range []string{"/iot-devices/v1/registries", "/iot-devices/v1/devices", "/iot-devices/v1/registries/home", "/iot-devices/v1/devices?pageSize=1e9"} {
			f.Add("POST", path, body)
			f.Add("PATCH", path, body)
			f.Add("GET", path, "")
		}
	}
	for _, body := range []string{`{"path":"/a","data":"QQ==","type":"TEXT"}`, `{"path":{},"data":1}`, `{"connectionId":"x"}`, `null`} {
		f.Add("POST", "/apigateways/websocket/v1/gateways/main:broadcast", body)
		f.Add("POST", "/apigateways/websocket/v1/connections/x:send", body)
	}
	f.Add("GET", "/apigateways/websocket/v1/connections?pageSize=1&path=/a&pageToken=x;y", "")
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if !fit(method, path) {
			t.Skip()
		}
		code, text := d.rest(t, method, path, body)
		if code >= 500 && code != 501 {
			t.Errorf("%s %q %q: %d %s", method, path, body, code, text)
		}
	})
}

// fit tells whether net/http sends such a request at all.
func fit(method, path string) bool {
	switch method {
	case "GET", "POST", "PATCH", "DELETE", "PUT":
	default:
		return false
	}
	return strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") && !strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '%' || r == '#' })
}
