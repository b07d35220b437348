package client

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

// The module is tested in its own language; tests/ has it against real servers
// and in a browser.
func TestModule(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", "iotcast.test.js", "events.test.js", "shared.test.js").CombinedOutput()
	if err != nil {
		t.Fatalf("node --test: %v\n%s", err, out)
	}
}

func serve(t *testing.T, method string, header http.Header) (*http.Response, string) {
	t.Helper()
	req := httptest.NewRequest(method, "/"+File, nil)
	for k, v := range header {
		req.Header[k] = v
	}
	rec := httptest.NewRecorder()
	Handlers()[File].ServeHTTP(rec, req)
	res := rec.Result()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// Modules find each other by their names.
func TestFindEachOther(t *testing.T) {
	for name, found := range map[string][2]string{
		EventsFile: {File, "import('./" + EventsFile + "')"},
		WorkerFile: {SharedFile, "new SharedWorker(new URL('./" + WorkerFile + "', import.meta.url)"}, // as bundlers know it
	} {
		if by := found[0]; !strings.Contains(read(by), found[1]) {
			t.Errorf("%s does not contain %s", by, found[1])
		}
		rec := httptest.NewRecorder()
		Handlers()[name].ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/"+name, nil))
		if rec.Code != http.StatusOK || rec.Body.String() != read(name) || rec.Header().Get("Content-Type") != "text/javascript; charset=utf-8" {
			t.Errorf("GET %s answered %d, %v", name, rec.Code, rec.Header())
		}
	}
}

func TestHandler(t *testing.T) {
	res, body := serve(t, http.MethodGet, nil)
	if res.StatusCode != http.StatusOK || body != Source {
		t.Fatalf("GET answered %d with %d bytes, want 200 with %d", res.StatusCode, len(body), len(Source))
	}
	for name, want := range map[string]string{
		"Content-Type":                "text/javascript; charset=utf-8", // browsers refuse a module of any other type
		"Access-Control-Allow-Origin": "*",
		"Cache-Control":               "no-cache",
		"X-Content-Type-Options":      "nosniff",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if res, body := serve(t, http.MethodHead, nil); res.StatusCode != http.StatusOK || body != "" {
		t.Errorf("HEAD answered %d with %d bytes, want 200 with none", res.StatusCode, len(body))
	}
	again, _ := serve(t, http.MethodGet, http.Header{"If-None-Match": {res.Header.Get("ETag")}})
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("GET with the module's ETag answered %d, want 304", again.StatusCode)
	}
	if res, _ := serve(t, http.MethodPost, nil); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST answered %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
}
