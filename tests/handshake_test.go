package tests

import (
	"net/http"
	"testing"
)

func TestConnectionID(t *testing.T) {
	t.Parallel()
	cast := runStreams(t)
	ids := map[string]string{}
	for _, c := range connectAll(t, cast.url("/telemetry")) {
		if c.id == "" || len(c.id) > 50 {
			t.Errorf("%s client: connection ID %q in the answer, want 1 to 50 characters", c.name, c.id)
		}
		if other, taken := ids[c.id]; taken {
			t.Errorf("the %s and the %s client have the same connection ID", c.name, other)
		}
		ids[c.id] = c.name
	}
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	cast := runStreams(t, "allowed_origins: [ dashboard.example.com ]")
	upgrade := map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	}
	for _, test := range []struct {
		name, path, origin string
		headers            map[string]string
		want               int
	}{
		{name: "no origin", path: "/telemetry", headers: upgrade, want: http.StatusSwitchingProtocols},
		{name: "own origin", path: "/telemetry", origin: "http://" + cast.gateway, headers: upgrade, want: http.StatusSwitchingProtocols},
		{name: "allowed origin", path: "/telemetry", origin: "https://dashboard.example.com", headers: upgrade, want: http.StatusSwitchingProtocols},
		{name: "foreign origin", path: "/telemetry", origin: "https://evil.example.com", headers: upgrade, want: http.StatusForbidden},
		{name: "unknown path", path: "/nowhere", headers: upgrade, want: http.StatusNotFound},
		{name: "path below a route", path: "/telemetry/1", headers: upgrade, want: http.StatusNotFound},
		{name: "plain GET", path: "/telemetry", want: http.StatusUpgradeRequired},
		{name: "plain GET of an unknown path", path: "/", want: http.StatusNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+cast.gateway+test.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range test.headers {
				req.Header.Set(name, value)
			}
			if test.origin != "" {
				req.Header.Set("Origin", test.origin)
			}
			res, err := apiClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != test.want {
				t.Errorf("status %d, want %d", res.StatusCode, test.want)
			}
			id := res.Header.Get(headerConnectionID)
			if opened := test.want == http.StatusSwitchingProtocols; opened != (id != "") {
				t.Errorf("connection ID %q with status %d", id, res.StatusCode)
			}
		})
	}
}
