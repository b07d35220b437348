package control

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/endpoint"
	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/token"
)

const secret = "a secret of more than 32 bytes, for tests"

func withTokens(t *testing.T, grants ...access.Grant) func(*Config) {
	t.Helper()
	v, err := token.New(token.Config{Secret: []byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	return func(cfg *Config) { cfg.Verifier, cfg.Grants = v, grants }
}

func sign(t *testing.T, account string, until time.Time) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": account, "exp": until.Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// as is a context with a good token of an account.
func as(t *testing.T, account string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+sign(t, account, time.Now().Add(time.Hour)))
}

func TestWhoMayDoWhat(t *testing.T) {
	d := newDesk(t, withTokens(t,
		access.Grant{Account: "admin", Role: "admin"},
		access.Grant{Account: "editor", Role: "editor"},
		access.Grant{Account: "viewer", Role: "viewer"},
		access.Grant{Account: "writer", Role: "iot.devices.writer"},
		access.Grant{Account: "user", Role: "iam.serviceAccounts.user"},
		access.Grant{Account: "limited", Role: "editor", Resources: []string{"home"}},
	))
	made := func(name string) {
		t.Helper()
		if _, err := d.registries.Create(as(t, "admin"), &devices.CreateRegistryRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.devices.Create(as(t, "admin"), &devices.CreateDeviceRequest{RegistryId: name, Name: name + "-device"}); err != nil {
			t.Fatal(err)
		}
	}
	made("home")
	made("work")
	data := devices.NewDeviceDataServiceClient(d.conn)
	calls := map[string]func(context.Context) error{
		"see": func(ctx context.Context) error {
			_, err := d.registries.List(ctx, &devices.ListRegistriesRequest{})
			return err
		},
		"see home": func(ctx context.Context) error {
			_, err := d.devices.Get(ctx, &devices.GetDeviceRequest{DeviceId: "home-device"})
			return err
		},
		"change home": func(ctx context.Context) error {
			_, err := d.devices.Update(ctx, &devices.UpdateDeviceRequest{
				DeviceId: "home-device", Name: "home-device", Description: "changed",
			})
			return err
		},
		"change work": func(ctx context.Context) error {
			_, err := d.devices.Update(ctx, &devices.UpdateDeviceRequest{
				DeviceId: "work-device", Name: "work-device", Description: "changed",
			})
			return err
		},
		"create": func(ctx context.Context) error {
			_, err := d.registries.Create(ctx, &devices.CreateRegistryRequest{Name: "another"})
			if err == nil {
				_, err = d.registries.Delete(ctx, &devices.DeleteRegistryRequest{RegistryId: "another"})
			}
			return err
		},
		"publish": func(ctx context.Context) error {
			_, err := data.Publish(ctx, &devices.PublishDeviceDataRequest{DeviceId: "home-device", Topic: "$devices/home-device/events", Data: []byte("1")})
			return err
		},
	}
	for account, may := range map[string]string{
		"admin":   "see, see home, change home, change work, create, publish",
		"editor":  "see, see home, change home, change work, create, publish",
		"viewer":  "see, see home",
		"writer":  "publish",
		"user":    "",
		"limited": "see home, change home, publish",
		"nobody":  "",
	} {
		for name, call := range calls {
			err := call(as(t, account))
			allowed := strings.Contains(", "+may+",", ", "+name+",")
			switch {
			case name == "publish" && allowed: // there is no broker
				wants(t, err, codes.FailedPrecondition, "mqtt_broker")
			case allowed && err != nil:
				t.Errorf("%s may not %s: %v", account, name, err)
			case !allowed:
				wants(t, err, codes.PermissionDenied, account, "access_bindings")
			}
		}
	}
}

func TestTokens(t *testing.T) {
	d := newDesk(t, withTokens(t, access.Grant{Account: "admin", Role: "admin"}))
	list := func(ctx context.Context) error {
		_, err := d.registries.List(ctx, &devices.ListRegistriesRequest{})
		return err
	}
	wants(t, list(t.Context()), codes.Unauthenticated, "bearer token")
	for name, text := range map[string]string{
		"expired": sign(t, "admin", time.Now().Add(-time.Hour)), "another": "Bearer", "none": "", "no subject": sign(t, "", time.Now().Add(time.Hour)),
		"unsigned": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
	} {
		if err := list(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+text)); err == nil {
			t.Errorf("%s: it was let in", name)
		} else {
			wants(t, err, codes.Unauthenticated)
		}
	}
	good := "Bearer " + sign(t, "admin", time.Now().Add(time.Hour))
	wants(t, list(metadata.AppendToOutgoingContext(t.Context(), "authorization", good, "authorization", good)), codes.Unauthenticated)
	if err := list(as(t, "admin")); err != nil {
		t.Error(err)
	}
	if code, text := d.rest(t, "GET", "/iot-devices/v1/registries", ""); code != 401 || !strings.Contains(text, `"code": 16`) {
		t.Errorf("REST without a token: %d %s", code, text)
	}
	if code, text := d.rest(t, "GET", "/iot-devices/v1/registries", "", "Authorization", good); code != 200 {
		t.Errorf("REST with a token: %d %s", code, text)
	}
	// What a client or a probe asks before it has a token.
	if _, err := healthpb.NewHealthClient(d.conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := endpoint.NewApiEndpointServiceClient(d.conn).List(t.Context(), &endpoint.ListApiEndpointsRequest{}); err != nil {
		t.Error(err)
	}
}

func TestStrangersAndPages(t *testing.T) {
	d := newDesk(t)
	for name, c := range map[string]struct {
		header []string
		want   int
	}{
		"a program":          {nil, 200},
		"a form":             {[]string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		"plain text":         {[]string{"Content-Type", "text/plain"}, 415},
		"no type":            {[]string{"Content-Type", ""}, 415},
		"malformed type":     {[]string{"Content-Type", ";"}, 415},
		"a page":             {[]string{"Origin", "https://example.com"}, 403},
		"a page, old":        {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"a file":             {[]string{"Origin", "null"}, 403},
		"DNS rebinding":      {[]string{"Host", "example.com"}, 421},
		"DNS rebinding, not": {[]string{"Host", "localhost:4196"}, 200},
	} {
		code, text := d.rest(t, "POST", "/iot-devices/v1/registries", `{"name":"`+strings.ReplaceAll(strings.ReplaceAll(name, " ", "_"), ",", "")+`"}`, c.header...)
		if code != c.want {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
	all, err := d.registries.List(t.Context(), &devices.ListRegistriesRequest{})
	if err != nil || len(all.Registries) != 2 {
		t.Errorf("there are %v (%v)", all, err)
	}
}

func TestAuditLog(t *testing.T) {
	d := newDesk(t, withTokens(t, access.Grant{Account: "editor", Role: "editor"}))
	_, _ = d.registries.Create(as(t, "editor"), &devices.CreateRegistryRequest{Name: "home", Password: goodPassword})
	_, _ = d.registries.Delete(as(t, "somebody"), &devices.DeleteRegistryRequest{RegistryId: "home"})
	_, _ = d.registries.Get(as(t, "editor"), &devices.GetRegistryRequest{RegistryId: "home"})
	for _, want := range []string{
		`level=INFO msg="Management API" method=RegistryService/Create service_account_id=editor code=OK registry_id=home remote_address=127.0.0.1:`,
		`level=WARN msg="Management API" method=RegistryService/Delete service_account_id=somebody code=PermissionDenied registry_id=home remote_address=127.0.0.1:`,
		`level=DEBUG msg="Management API" method=RegistryService/Get service_account_id=editor code=OK registry_id=home`,
	} {
		if !strings.Contains(d.log.String(), want) {
			t.Errorf("the log does not have %s:\n%s", want, d.log)
		}
	}
	if strings.Contains(d.log.String(), goodPassword) || strings.Contains(d.log.String(), "eyJ") {
		t.Errorf("the log has a secret:\n%s", d.log)
	}
}

func TestRefusedConfigs(t *testing.T) {
	for name, cfg := range map[string]Config{
		"everyone": {Address: "0.0.0.0:4196"}, "no port": {Address: "127.0.0.1"},
		"bindings without tokens": {Address: "127.0.0.1:0", Grants: access.Grants{{Account: "a", Role: "admin"}}},
	} {
		if err := cfg.Check(); err == nil {
			t.Errorf("%s: it is accepted", name)
		}
	}
}

func later() time.Time { return time.Now().Add(time.Hour) }
