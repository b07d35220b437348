package control

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/gateway"
)

// withOverview has the console, of a process in which nothing flows.
func withOverview(cfg *Config) {
	cfg.Console = http.NotFoundHandler()
	cfg.Metrics = func(context.Context) ([]byte, error) { return nil, nil }
}

// followOverview asks for the events, which come as they are.
func (d *desk) followOverview(t testing.TB, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+d.server.Addr().String()+"/console/overview", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// eachEvent calls each with the texts of events, until it returns true.
func eachEvent(t testing.TB, body io.Reader, each func(text string) bool) {
	t.Helper()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok && each(text) {
			return
		}
	}
	t.Fatalf("the events end: %v", lines.Err())
}

// TestOverviewIsCompressed: each event by itself, for who takes it.
func TestOverviewIsCompressed(t *testing.T) {
	d := newDesk(t, withOverview)
	for accept, want := range map[string]string{"": "", "br": "", "gzip;q=0": "", "gzip, br": "gzip"} {
		res := d.followOverview(t, "Accept-Encoding", accept)
		if got := res.Header.Get("Content-Encoding"); got != want || res.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %q, %v", accept, got, res.Header)
		}
		body := io.Reader(res.Body)
		if want == "gzip" {
			var err error
			if body, err = gzip.NewReader(body); err != nil {
				t.Fatal(err)
			}
		}
		eachEvent(t, body, func(text string) bool { return json.Valid([]byte(text)) && strings.Contains(text, `"findings":[`) })
	}
	one, all := d.followOverview(t, "Accept-Encoding", "gzip"), new(bytes.Buffer)
	read := make(chan error)
	go func() {
		small, err := gzip.NewReader(one.Body)
		if err == nil {
			_, err = all.ReadFrom(small)
		}
		read <- err
	}()
	d.server.Close(t.Context())
	if err := <-read; err != nil { // as it would be without an end
		t.Errorf("%v after %q", err, all)
	}
}

// TestManyOverviews: no more than may be, and there is room again when one ends.
func TestManyOverviews(t *testing.T) {
	d := newDesk(t, withOverview)
	first := d.followOverview(t)
	for range maxOverviews - 1 {
		if res := d.followOverview(t); res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
	}
	if code, text := d.rest(t, "GET", "/console/overview", ""); code != 429 || !strings.Contains(text, "32") {
		t.Errorf("%d %s", code, text)
	}
	_ = first.Body.Close()
	eventually(t, "there is room", func() bool { return d.followOverview(t).StatusCode == 200 })
}

// TestOverviewOfACluster: a node that did not answer is a finding.
func TestOverviewOfACluster(t *testing.T) {
	t.Parallel()
	d := newDesk(t, withOverview, func(cfg *Config) {
		cfg.Connections = connections.Cluster(gateway.NewSet(), []string{"b"}, func(context.Context, string, []byte) ([]byte, error) {
			return nil, errors.New("no responders")
		}, slog.New(slog.DiscardHandler))
	})
	if code, text := d.rest(t, "GET", "/apigateways/websocket/v1/connections", ""); code != 200 || !strings.Contains(text, "unreachable") {
		t.Fatalf("%d %s", code, text)
	}
	eachEvent(t, d.followOverview(t).Body, func(text string) bool { return strings.Contains(text, "The node b does not answer.") })
}

// bound are gateways with bindings of their own.
type bound struct {
	connections.Directory
	bindings map[string]access.Bindings
}

func (b bound) Bindings() map[string]access.Bindings { return b.bindings }

// TestAccount: callers are told what they may, by whichever bindings.
func TestAccount(t *testing.T) {
	d := newDesk(t, func(cfg *Config) {
		cfg.Connections = bound{connections.Local(gateway.NewSet()), map[string]access.Bindings{
			"main": {"viewer": access.Broadcaster, "limited": access.Viewer, "other": access.Admin}, "open": {},
		}}
	}, withTokens(t, access.Grant{Account: "viewer", Role: "viewer"}, access.Grant{Account: "limited", Role: "api-gateway.viewer", Resources: []string{"main"}}))
	main := []string{"main"}
	for account, want := range map[string]struct {
		roles      []string
		restricted map[string][]string
	}{
		"viewer":  {[]string{"viewer", "api-gateway.auditor", "api-gateway.viewer"}, map[string][]string{"api-gateway.websocketWriter": main, "api-gateway.websocketBroadcaster": main}},
		"limited": {[]string{}, map[string][]string{"api-gateway.auditor": main, "api-gateway.viewer": main}},
		"nobody":  {[]string{}, nil},
	} {
		_, text := d.rest(t, "GET", "/console/account", "", "Authorization", "Bearer "+sign(t, account, time.Now().Add(time.Hour)))
		var got struct {
			Roles      []string
			Restricted map[string][]string
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got.Roles, want.roles) ||
			!reflect.DeepEqual(got.Restricted, want.restricted) {
			t.Errorf("%s: %s", account, text)
		}
	}
}

// TestEventsEndBetweenParts: who reads slowly does not get the rest of a large event when the server has begun to end.
func TestEventsEndBetweenParts(t *testing.T) {
	const size = 16 << 20 // above what sockets hold
	closing, end := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), closingKey{}, closing)
		ctx = context.WithValue(ctx, callerKey{}, &caller{again: func(context.Context, http.Header) error { return nil }})
		serveEvents(ctx, w, r, time.Minute, func(context.Context) (any, error) { return strings.Repeat("x", size), nil })
	}))
	defer server.Close()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
	req.Header.Set("Accept-Encoding", "identity")
	res, err := plainClient(t, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.ReadFull(res.Body, make([]byte, 1<<10)); err != nil {
		t.Fatal(err)
	}
	end()
	if n, err := io.Copy(io.Discard, res.Body); err != nil || n >= size {
		t.Errorf("%v after %d bytes", err, n)
	}
}
