package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/tap"
)

func withTap(cfg *Config) { cfg.Tap = tap.New() }

// follow opens a tap, and returns it once it follows.
func (d *desk) follow(t testing.TB, client *http.Client, query string, header ...string) (*http.Response, *bufio.Reader) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+d.server.Addr().String()+"/tap"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		text, _ := io.ReadAll(res.Body)
		t.Fatalf("%s: %d %s", query, res.StatusCode, text)
	}
	lines := bufio.NewReader(res.Body)
	if line, err := lines.ReadString('\n'); line != ":\n" {
		t.Fatalf("%q %v", line, err)
	}
	return res, lines
}

// next is the next event.
func next(t testing.TB, lines *bufio.Reader) (e tapped) {
	t.Helper()
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatal(err, data)
		}
		return e
	}
}

func plainClient(t testing.TB, http2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(http2)
	protocols.SetHTTP1(!http2)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func reading(id, device string) tap.Message {
	return tap.Message{
		EventID: id, Source: "device", RegistryID: "home", DeviceID: device, Topic: "$devices/" + device + "/events",
		Payload: []byte("21.5"), QoS: 1, Stream: "telemetry", ReceivedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)),
	}
}

// TestTap: a message and its way, by either version of HTTP, and signs of life.
func TestTap(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprint("HTTP/2 ", http2), func(t *testing.T) {
			d := newDesk(t, withTap)
			client := plainClient(t, http2)
			_, lines := d.follow(t, client, "?device_id=boiler,pump&heartbeat=1s")
			_, elsewhere := d.follow(t, client, "?topic=$devices/boiler/%23&gateway_id=main&path=/other")
			d.cfg.Tap.Receive(reading("1", "boiler"))
			d.cfg.Tap.Receive(reading("2", "kettle"))
			if e := next(t, lines); len(e.Messages) != 1 || len(e.Ways) > 0 || e.Messages[0].Details.DeviceID != "boiler" || string(e.Messages[0].Details.Payload) != "21.5" || e.Messages[0].EventMetadata.CreatedAt.Format(time.RFC3339) != "2026-01-02T02:04:05Z" {
				t.Errorf("%+v", e)
			}
			d.cfg.Tap.Note(tap.Step{Step: tap.Failed, Reason: "no number"}, "1")
			d.cfg.Tap.Note(tap.Step{Step: tap.Acknowledged}, "1")
			e := next(t, lines)
			if len(e.Ways) != 1 || !e.Ways[0].Done || e.Ways[0].EventID != "1" {
				t.Fatalf("%+v", e)
			}
			var steps []string
			for _, s := range e.Ways[0].Steps {
				steps = append(steps, s.Step+s.Reason)
			}
			if got := strings.Join(steps, " "); got != "received failedno number acknowledged" {
				t.Error(got)
			}
			for range 2 { // the blank lines around
				if line, err := lines.ReadString('\n'); err != nil || strings.TrimSpace(line) != "" && line != ":\n" {
					t.Errorf("%q %v", line, err)
				}
			}
			if elsewhere.Buffered() > 2 {
				t.Error("a way that does not pass there is shown")
			}
		})
	}
}

// TestTapEndsWithTheServer: at once, and without what is under way being broken off.
func TestTapEndsWithTheServer(t *testing.T) {
	d := newDesk(t, withTap)
	_, one := d.follow(t, plainClient(t, false), "")
	_, two := d.follow(t, plainClient(t, true), "")
	d.server.Close(t.Context()) // which has no deadline
	for _, lines := range []*bufio.Reader{one, two} {
		if rest, err := io.ReadAll(lines); err != nil || strings.TrimSpace(string(rest)) != "" {
			t.Errorf("%q %v", rest, err)
		}
	}
	if d.cfg.Tap.On() {
		t.Error("somebody follows still")
	}
}

// TestTapEndsWithItsToken: who was let in is not let in for ever.
func TestTapEndsWithItsToken(t *testing.T) {
	t.Parallel()
	d := newDesk(t, withTap, withTokens(t, access.Grant{Account: "viewer", Role: "viewer"}))
	_, lines := d.follow(t, plainClient(t, false), "?heartbeat=1s", "Authorization", "Bearer "+sign(t, "viewer", time.Now().Add(2*time.Second)))
	if _, err := io.ReadAll(lines); err != nil {
		t.Error(err)
	}
	eventually(t, "nobody follows", func() bool { return !d.cfg.Tap.On() })
}

// TestTapRefusals: what cannot be asked for.
func TestTapRefusals(t *testing.T) {
	d := newDesk(t, withTap)
	long := strings.Repeat("x", 2000)
	for path, want := range map[string]string{
		"/tap?topic=a/%23/b":             "topic",
		"/tap?device_id=a/b":             "device_id",
		"/tap?device_id=":                "device_id is empty",
		"/tap?stream=":                   "stream is empty",
		"/tap?devices=a":                 "devices",
		"/tap?text=" + long:              "text has 2000 bytes",
		"/tap?path=" + long:              "path has 2000 bytes",
		"/tap?gateway_id=a&gateway_id=b": "gateway_id is there more than once",
		"/tap?heartbeat=1ms":             "heartbeat",
		"/tap?heartbeat=x":               "heartbeat",
		"/tap?%zz":                       "malformed",
		"/tap?device_id=" + strings.Repeat("a,", 1500):    "1501 devices",
		"/tap?topic=" + strings.Repeat(long[:900]+",", 3): "topic",
		"/tap/latest":     "console",
		"/tap/losses?x=1": "parameter",
		"/tap/other":      "",
	} {
		if code, text := d.rest(t, "GET", path, ""); code < 400 || code >= 500 || !strings.Contains(text, want) || len(text) > 1000 {
			t.Errorf("%.60s: %d %s", path, code, text)
		}
	}
	if code, _ := d.rest(t, "POST", "/tap", "{}"); code != 405 {
		t.Error(code)
	}
	if code, _ := d.rest(t, "GET", "/tap?text="+strings.Repeat("x", 64<<10), ""); code != 431 {
		t.Error(code)
	}
	if d.cfg.Tap.On() {
		t.Error("somebody follows")
	}
}

// TestTapIsForViewersOfAll: payloads are as secret as all that a viewer sees, and of one registry is not all.
func TestTapIsForViewersOfAll(t *testing.T) {
	d := newDesk(t, withTap, withTokens(t,
		access.Grant{Account: "viewer", Role: "viewer"}, access.Grant{Account: "limited", Role: "viewer", Resources: []string{"home"}},
		access.Grant{Account: "writer", Role: "iot.devices.writer"}, access.Grant{Account: "gateways", Role: "api-gateway.admin"},
	))
	d.cfg.Tap.KeepLatest()
	d.cfg.Tap.Receive(reading("1", "boiler"))
	for account, want := range map[string]int{"": 401, "limited": 403, "writer": 403, "gateways": 403, "nobody": 403, "viewer": 200} {
		header := []string{}
		if account != "" {
			header = []string{"Authorization", "Bearer " + sign(t, account, time.Now().Add(time.Hour))}
		}
		for _, path := range []string{"/tap", "/tap/latest", "/tap/latest?registry_id=home", "/tap/losses"} {
			if path == "/tap" && want == 200 {
				d.follow(t, plainClient(t, false), "", header...)
				continue
			}
			if code, text := d.rest(t, "GET", path, "", header...); code != want || want != 200 && strings.Contains(text, "boiler") {
				t.Errorf("%s %s: %d %s", account, path, code, text)
			}
		}
		for _, foreign := range []string{"https://evil.example", "null"} {
			if code, _ := d.rest(t, "GET", "/tap", "", append(header, "Origin", foreign)...); code != 403 && code != 401 {
				t.Errorf("%s from %s: %d", account, foreign, code)
			}
		}
	}
}

// TestTapOfForeignPages: without tokens, too, and by the name of another host.
func TestTapOfForeignPages(t *testing.T) {
	d := newDesk(t, withTap)
	for _, header := range [][]string{{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Host", "evil.example"}, {"Sec-Fetch-Site", "cross-site"}} {
		if code, text := d.rest(t, "GET", "/tap", "", header...); code != 403 && code != 421 {
			t.Errorf("%q: %d %s", header, code, text)
		}
	}
}

// TestManyTaps: no more than there is room for, and there is room again when one ends.
func TestManyTaps(t *testing.T) {
	d := newDesk(t, withTap)
	client := plainClient(t, true)
	first, _ := d.follow(t, client, "")
	for range 63 {
		d.follow(t, client, "")
	}
	var refused sync.WaitGroup
	for range 200 {
		refused.Go(func() {
			res, err := client.Get("http://" + d.server.Addr().String() + "/tap")
			if err != nil {
				t.Error(err)
				return
			}
			text, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != 429 || !bytes.Contains(text, []byte("64")) {
				t.Errorf("%d %s", res.StatusCode, text)
			}
		})
	}
	refused.Wait()
	_ = first.Body.Close()
	eventually(t, "there is room", func() bool {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+d.server.Addr().String()+"/tap", nil)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode == 200
	})
}

// TestTapThatIsNotRead: nobody waits for it, and who reads at last is told what was left out.
func TestTapThatIsNotRead(t *testing.T) {
	d := newDesk(t, withTap)
	conn, err := net.Dial("tcp", d.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "GET /tap HTTP/1.1\r\nHost: "+d.server.Addr().String()+"\r\n\r\n")
	eventually(t, "it follows", d.cfg.Tap.On)
	large := reading("", "boiler")
	large.Payload = bytes.Repeat([]byte("x"), tap.MaxPayload)
	for i := range 3_000 {
		large.EventID = fmt.Sprint(i)
		d.cfg.Tap.Receive(large)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	lines, received, skipped := bufio.NewReader(res.Body), 0, 0
	for received+skipped < 3_000 { // a busy machine may tell of it bit by bit
		e := next(t, lines)
		received, skipped = received+len(e.Messages), skipped+e.Skipped
	}
	if skipped < 1_000 {
		t.Errorf("%d skipped", skipped)
	}
}

// TestLatestAndLosses: what is kept without anybody who follows.
func TestLatestAndLosses(t *testing.T) {
	d := newDesk(t, withTap)
	if code, text := d.rest(t, "GET", "/tap/losses", ""); code != 200 || !strings.Contains(text, `"ways": []`) {
		t.Error(code, text)
	}
	d.cfg.Tap.KeepLatest()
	if code, text := d.rest(t, "GET", "/tap/latest", ""); code != 200 || !strings.Contains(text, `"messages": []`) {
		t.Error(code, text)
	}
	d.cfg.Tap.Receive(reading("1", "boiler"))
	d.cfg.Tap.Lost(reading("2", "pump"), tap.Step{Step: tap.GivenUp, Reason: "its filter is gone"})
	if _, text := d.rest(t, "GET", "/tap/latest?registry_id=home", ""); !strings.Contains(text, `"device_id": "boiler"`) {
		t.Error(text)
	}
	if _, text := d.rest(t, "GET", "/tap/latest?registry_id=office", ""); strings.Contains(text, "boiler") {
		t.Error(text)
	}
	if _, text := d.rest(t, "GET", "/tap/losses", ""); !strings.Contains(text, "its filter is gone") || !strings.Contains(text, `"done": true`) {
		t.Error(text)
	}
}

// TestTapIsRecorded: as other calls are.
func TestTapIsRecorded(t *testing.T) {
	d := newDesk(t, withTap)
	ctx, leave := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+d.server.Addr().String()+"/tap", nil)
	res, err := plainClient(t, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	_ = res.Body.Close()
	eventually(t, "nobody follows", func() bool { return !d.cfg.Tap.On() })
	d.server.Close(t.Context())
	if log := d.log.String(); !strings.Contains(log, "method=TapService/GetMessages") || !strings.Contains(log, "service_account_id=local") {
		t.Error(log)
	}
}
