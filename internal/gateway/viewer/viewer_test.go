package viewer

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/iotcast/iotcast/internal/gateway/client"
)

func serve(t *testing.T, h http.Handler, method string, header http.Header) (*http.Response, string) {
	t.Helper()
	req := httptest.NewRequest(method, "/", nil)
	for k, v := range header {
		req.Header[k] = v
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	res := rec.Result()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func paths(all ...string) (routes []Route) {
	for _, path := range all {
		routes = append(routes, Route{Path: path})
	}
	return routes
}

func TestSlotsOccurOnce(t *testing.T) {
	for _, slot := range []string{titleSlot, configSlot, "<style>", "</style>", `<script type="module">`} {
		if n := strings.Count(source, slot); n != 1 {
			t.Errorf("%q occurs %d times in viewer.html, want 1", slot, n)
		}
	}
}

func TestHeaders(t *testing.T) {
	h := Handler("/", "main", paths("/telemetry"), "")
	res, body := serve(t, h, http.MethodGet, nil)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET answered %d, want 200", res.StatusCode)
	}
	for name, want := range map[string]string{
		"Content-Type":           "text/html; charset=utf-8",
		"Cache-Control":          "no-cache",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(body, "<title>main</title>") {
		t.Error("the title is not in the page")
	}

	head, headBody := serve(t, h, http.MethodHead, nil)
	if head.StatusCode != http.StatusOK || headBody != "" {
		t.Errorf("HEAD answered %d with %d bytes, want 200 with none", head.StatusCode, len(headBody))
	}
	if got, want := head.Header.Get("Content-Security-Policy"), res.Header.Get("Content-Security-Policy"); got != want {
		t.Errorf("HEAD has the policy %q, GET %q", got, want)
	}

	again, _ := serve(t, h, http.MethodGet, http.Header{"If-None-Match": {res.Header.Get("ETag")}})
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("GET with the page's ETag answered %d, want 304", again.StatusCode)
	}
	other, _ := serve(t, Handler("/", "main", paths("/other"), ""), http.MethodGet, nil)
	if other.Header.Get("ETag") == res.Header.Get("ETag") {
		t.Error("two different pages share an ETag")
	}
}

func TestPages(t *testing.T) {
	for at, module := range map[string]string{
		"/": "/iotcast.js", "/live/": "/live/iotcast.js", "/live": "/iotcast.js", "/a/b": "/a/iotcast.js",
	} {
		pages := Pages(at, "main", paths("/telemetry"), "")
		want := []string{at}
		for _, name := range []string{client.File, client.EventsFile, client.SharedFile, client.WorkerFile} {
			want = append(want, path.Join(path.Dir(module), name))
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(pages)); !slices.Equal(got, want) {
			t.Errorf("a viewer at %s serves %v, want %v", at, got, want)
			continue
		}
		res, body := serve(t, pages[at], http.MethodGet, nil)
		if res.StatusCode != http.StatusOK || !strings.Contains(body, "new EventSource(") {
			t.Errorf("a viewer at %s: %d, a page without the client", at, res.StatusCode)
		}
		if _, body := serve(t, pages[module], http.MethodGet, nil); body != client.Source {
			t.Errorf("a viewer at %s: %s is not the client", at, module)
		}
	}
}

func TestMethodNotAllowed(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		res, _ := serve(t, Handler("/", "main", nil, ""), method, nil)
		if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s answered %d, Allow %q", method, res.StatusCode, res.Header.Get("Allow"))
		}
	}
}

// TestPolicyMatchesPage computes the hashes as a browser does: over the text of
// every style and every executable script that it finds in the served page.
func TestPolicyMatchesPage(t *testing.T) {
	res, body := serve(t, Handler("/", `</script><style>`, paths("/<style>", "/</script>", "<script>"), ""), http.MethodGet, nil)
	policy := map[string]string{}
	for directive := range strings.SplitSeq(res.Header.Get("Content-Security-Policy"), "; ") {
		name, value, _ := strings.Cut(directive, " ")
		policy[name] = value
	}
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	styles := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(body, -1)
	scripts := regexp.MustCompile(`(?s)<script type="module">(.*?)</script>`).FindAllStringSubmatch(body, -1)
	if len(styles) != 1 || len(scripts) != 1 {
		t.Fatalf("the page has %d styles and %d scripts, want one of each", len(styles), len(scripts))
	}
	for name, want := range map[string]string{
		"default-src": "'none'",
		"style-src":   hash(styles[0][1]),
		"script-src":  hash(scripts[0][1]),
		"connect-src": "'self'",
		"base-uri":    "'none'",
	} {
		if policy[name] != want {
			t.Errorf("%s is %q, want %q", name, policy[name], want)
		}
	}
	if attr := regexp.MustCompile(`(?i)<[a-z][^>]*\s(style|on[a-z]+)\s*=`).FindString(regexp.MustCompile(`(?s)<(style|script)\b.*?</(style|script)>`).ReplaceAllString(body, "")); attr != "" {
		t.Errorf("inline style or handler that the policy would block: %q", attr)
	}
	if strings.Contains(source, "https://") || strings.Contains(regexp.MustCompile(`http://www\.w3\.org/2000/svg`).ReplaceAllString(source, ""), "http://") {
		t.Error("the page refers to another host")
	}
}

func TestHostileNamesStayInert(t *testing.T) {
	title := `</title><script>alert(1)</script>` + configSlot
	routes := []string{
		`/</script><script>alert(1)</script>`,
		`/<!--<script>`,
		`/"]};alert(1)//`,
		"/\u2028\u2029",
		`/{{.}}`,
		titleSlot,
		configSlot,
	}
	_, body := serve(t, Handler("/", title, paths(routes...), ""), http.MethodGet, nil)

	if strings.Contains(body, "alert(1)</script>") || strings.Contains(body, "<!--<script>") {
		t.Error("a hostile name reached the page as markup")
	}
	if n := strings.Count(body, "</script>"); n != 2 {
		t.Errorf("the page ends %d scripts, want 2", n)
	}
	if n := strings.Count(body, "</title>"); n != 1 {
		t.Errorf("the page ends %d titles, want 1", n)
	}

	_, block, _ := strings.Cut(body, `<script type="application/json" id="config">`)
	block, _, _ = strings.Cut(block, "</script>")
	var config struct {
		Title  string
		Routes []string
	}
	if err := json.Unmarshal([]byte(block), &config); err != nil {
		t.Fatalf("parsing the config block: %v", err)
	}
	if config.Title != title || !reflect.DeepEqual(config.Routes, routes) {
		t.Errorf("the names did not survive the way: %+v", config)
	}
}

func TestNoRoutesIsAnEmptyList(t *testing.T) {
	_, body := serve(t, Handler("/", "", nil, ""), http.MethodGet, nil)
	if !strings.Contains(body, `{"title":"iotcast","at":"/","routes":[],"access":{},"publish":"mosquitto_pub"}`) {
		t.Error("no routes should reach the page as an empty list")
	}
}

// TestExample: the page says how to publish at the broker that there is.
func TestExample(t *testing.T) {
	for broker, want := range map[string]string{
		"":                 "mosquitto_pub",
		"127.0.0.1:1883":   "mosquitto_pub",
		"127.0.0.1:11883":  "mosquitto_pub -p 11883",
		"[::]:11883":       "mosquitto_pub -p 11883",
		":1883":            "mosquitto_pub",
		"192.0.2.1:1883":   "mosquitto_pub -h 192.0.2.1",
		"[::1]:11883":      "mosquitto_pub -h ::1 -p 11883",
		"broker.test:8883": "mosquitto_pub -h broker.test -p 8883",
	} {
		if _, body := serve(t, Handler("/", "", nil, broker), http.MethodGet, nil); !strings.Contains(body, `"publish":"`+want+`"}`) {
			t.Errorf("with a broker at %q the page has not %q", broker, want)
		}
	}
}

// TestAccess: the page knows where a route takes tokens from, and whether it has a history.
func TestAccess(t *testing.T) {
	_, body := serve(t, Handler("/live", "", []Route{
		{Path: "/a"}, {Path: "/b", History: true}, {Path: "/c", Tokens: true, QueryParameter: "key", SubprotocolPrefix: "bearer."},
	}, ""), http.MethodGet, nil)
	want := `"at":"/live","routes":["/a","/b","/c"],"access":{"/b":{"history":true,"queryParameter":"","subprotocolPrefix":""},` +
		`"/c":{"tokens":true,"queryParameter":"key","subprotocolPrefix":"bearer."}}`
	if !strings.Contains(body, want) {
		t.Errorf("the page has not %s", want)
	}
}
