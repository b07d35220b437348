package origin

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
)

func request(host, origin string, secure bool) *http.Request {
	req := &http.Request{Host: host, Header: http.Header{}}
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	if secure {
		req.TLS = new(tls.ConnectionState)
	}
	return req
}

// TestOwnHost: pages of the host that the request is for may always make it, in
// whatever way a browser or a proxy writes that host, and no others may.
func TestOwnHost(t *testing.T) {
	for _, tc := range []struct {
		host, origin string
		want         bool
	}{
		{"example.com", "", true}, // no page
		{"example.com", "https://example.com", true},
		{"example.com", "http://example.com", true}, // a proxy may have ended TLS, or there is none
		{"example.com:443", "https://example.com", true},
		{"example.com:80", "http://example.com", true},
		{"example.com", "https://example.com:443", true},
		{"Example.COM:443", "https://eXample.com", true},
		{"example.com.", "https://example.com", true},
		{"example.com.:443", "https://example.com.", true},
		{"example.com:8443", "https://example.com:8443", true},
		{"[::1]:8080", "http://[::1]:8080", true},
		{"[0:0:0:0:0:0:0:1]:443", "https://[::1]", true},
		{"[2001:DB8::1]", "https://[2001:db8:0::1]", true},
		{"127.0.0.1:8080", "http://127.0.0.1:8080", true},

		{"example.com:443", "http://example.com", false},
		{"example.com:80", "https://example.com", false},
		{"example.com:8443", "https://example.com", false},
		{"example.com", "https://example.com:8443", false},
		{"example.com", "https://example.com:80", false},
		{"example.com:443", "https://example.org", false},
		{"example.com", "https://evil.test/example.com", false},
		{"example.com", "https://evil.test#example.com", false},
		{"example.com", "https://example.com@evil.test", false},
		{"example.com", "https://example.com.evil.test", false},
		{"example.com", "https://notexample.com", false},
		{"example.com", "https://example.com..", false},
		{"example.com", "//example.com:443", false},
		{"example.com:443", "//example.com:443", false},
		{"example.com:8443", "ftp://example.com:8443", false},
		{"example.com", "example.com", false},
		{"example.com", "https://", false},
		{"example.com", "https://[::1", false},
		{"example.com", "https://example.com:x", false},
		{"[::1]:8080", "http://[::2]:8080", false},
		{"", "null", false},
		{"", "https://", false},
		{"null", "null", false},
	} {
		if got := Allowed(request(tc.host, tc.origin, false), nil); got != tc.want {
			t.Errorf("Host %q, Origin %q: %v", tc.host, tc.origin, got)
		}
	}
}

// TestOwnHostOverTLS: that the client has come by TLS is known here.
func TestOwnHostOverTLS(t *testing.T) {
	for _, tc := range []struct {
		host, origin string
		want         bool
	}{
		{"example.com", "https://example.com", true},
		{"example.com", "https://example.com:443", true},
		{"example.com:8443", "https://example.com:8443", true},
		{"example.com", "http://example.com", false},
		{"example.com", "http://example.com:443", false},
		{"example.com:8443", "http://example.com:8443", false},
		{"example.com:80", "http://example.com", false},
	} {
		if got := Allowed(request(tc.host, tc.origin, true), nil); got != tc.want {
			t.Errorf("Host %q, Origin %q: %v", tc.host, tc.origin, got)
		}
	}
	if !Allowed(request("example.com:8443", "http://example.com:8443", true), []string{"http://example.com:8443"}) {
		t.Error("a page that a pattern names is refused")
	}
}

func TestSeveralOrigins(t *testing.T) {
	req := request("example.com", "https://example.com", false)
	req.Header.Add("Origin", "https://evil.test")
	if Allowed(req, []string{"*"}) {
		t.Error("one of two is believed")
	}
	if !Allowed(&http.Request{Host: "example.com", Header: http.Header{"Origin": {""}}}, nil) {
		t.Error("an empty origin is a page's")
	}
}

func TestPatterns(t *testing.T) {
	for _, tc := range []struct {
		pattern, origin string
		want            bool
	}{
		{"dashboard.example.com", "https://dashboard.example.com", true},
		{"Dashboard.Example.com", "https://DASHBOARD.example.com", true},
		{"dashboard.example.com:443", "https://dashboard.example.com", true},
		{"https://dashboard.example.com:443", "https://dashboard.example.com", true},
		{"https://dashboard.example.com", "https://dashboard.example.com:443", true},
		{"https://dashboard.example.com", "https://dashboard.example.com.", true},
		{"*.example.com", "http://a.b.example.com", true},
		{"http://localhost:*", "http://localhost:8000", true},
		{"http://localhost:*", "http://localhost", true},
		{"localhost:80", "http://localhost", true},
		{"*", "https://any.test:8443", true},
		{"*", "null", true},
		{"*", "file://", true},
		{"null", "null", true},
		{"file://", "file://", true},
		{"[::1]:8080", "http://[::1]:8080", true},
		{"http://[::1]:*", "http://[::1]:8080", true},
		{"https://[2001:db8::1]", "https://[2001:DB8::1]", true},
		{"[2001:db8:*]", "https://[2001:db8::1]", true},
		{"capacitor://localhost", "capacitor://localhost", true},

		{"https://dashboard.example.com", "http://dashboard.example.com", false},
		{"dashboard.example.com:80", "https://dashboard.example.com", false},
		{"dashboard.example.com", "https://dashboard.example.com:8443", false},
		{"*.example.com", "https://example.com", false},
		{"*.example.com", "https://a.example.com.evil.test", false},
		{"*.example.com", "https://a.example.com:8443", false},
		{"[::1]:8080", "http://1:8080", false}, // no class of characters
		{"http://localhost:*", "https://localhost:8000", false},
		{"", "null", false},
		{"", "file://", false},
		{"", "https://any.test", false},
		{"null", "https://null.test", false},
		{`a\`, `https://a`, false},
	} {
		if got := Allowed(request("gateway", tc.origin, false), []string{"x.test", tc.pattern}); got != tc.want {
			t.Errorf("%q, Origin %q: %v", tc.pattern, tc.origin, got)
		}
	}
}

func TestCheck(t *testing.T) {
	if err := Check([]string{"", "*", "null", "a.test", "https://a.test:8443", "*://a.test", "http://[::1]:*", "file://"}); err != nil {
		t.Error(err)
	}
	for _, p := range []string{"https://a.test/", "a.test/x", "a.test, b.test", "a.test b.test", "https:/a.test", `a\.test`, "//a.test"} {
		if err := Check([]string{"a.test", p}); err == nil || !strings.Contains(err.Error(), p[:2]) {
			t.Errorf("%q: %v", p, err)
		}
	}
}

// FuzzOwnHost: a page that no pattern names comes from the request's host.
func FuzzOwnHost(f *testing.F) {
	f.Add("example.com:443", "https://example.com")
	f.Add("[::1]:80", "http://[0::1]")
	f.Add("a", "https://a@b")
	f.Fuzz(func(t *testing.T, host, from string) {
		if !Allowed(request(host, from, false), nil) || from == "" {
			return
		}
		if o, err := parse(from); err != nil || o.name == "" || !strings.Contains(strings.ToLower(host), o.name) && !strings.Contains(o.name, ":") {
			t.Errorf("Host %q, Origin %q", host, from)
		}
	})
}
