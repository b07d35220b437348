package tests

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

var updateGolden = flag.Bool("update", false, "write what the management API answers to testdata/management.http")

const goldenFile = "testdata/management.http"

// exchange is a request and its answer, as in goldenFile: a title after ###, the method, the path and headers, the body, and
// after a line of dashes the status and the body of the answer.
type exchange struct{ title, request, answer string }

func exchanges(t *testing.T) (all []exchange) {
	t.Helper()
	text, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split("\n"+string(text), "\n### ")[1:] {
		title, rest, _ := strings.Cut(part, "\n")
		request, answer, _ := strings.Cut(rest, "\n---\n")
		all = append(all, exchange{title, strings.TrimSpace(request), strings.TrimSpace(answer)})
	}
	return all
}

var (
	times      = regexp.MustCompile(`"20\d\d-\d\d-\d\dT[0-9:.]+Z"`)
	operations = regexp.MustCompile(`"[0-9a-f]{32}"`)
	passwords  = regexp.MustCompile(`"[0-9a-f]{20}"`)
	prints     = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	pems       = regexp.MustCompile(`"-----BEGIN CERTIFICATE-----[^"]*"`)
	tokens     = regexp.MustCompile(`"nextPageToken": "[^"]+"`)
	ports      = regexp.MustCompile(`"127\.0\.0\.1:\d+"`)
)

func settled(answer string) string {
	answer = times.ReplaceAllString(answer, `"TIME"`)
	answer = operations.ReplaceAllString(answer, `"OPERATION"`)
	answer = prints.ReplaceAllString(answer, "FINGERPRINT")
	answer = passwords.ReplaceAllString(answer, `"PASSWORD"`)
	answer = pems.ReplaceAllString(answer, `"CERTIFICATE"`)
	answer = tokens.ReplaceAllString(answer, `"nextPageToken": "PAGE"`)
	return ports.ReplaceAllString(answer, `"ADDRESS"`)
}

// What the REST API answers to the documented bodies of the original.
func TestManagementREST(t *testing.T) {
	t.Parallel()
	api := freeAddress(t)
	c := newIotcast(t)
	root := fmt.Sprintf(`
management_api: { address: %q }
mqtt_broker: { address: %q }
iot_registries: [ { id: fixed, devices: [ { id: lamp } ] } ]
websocket_gateways: [ { label: main, address: %q, routes: [ { path: /telemetry } ] } ]
`, api, freeAddress(t), c.gateway)
	c.launch("streams", "-s", "http.address="+c.http, "-o", writeFile(t, root), t.TempDir())
	c.waitLog("Launching")
	c.waitReady()

	certificate := pemCertificate(t)
	last := map[string]string{} // what answers have told: the ID of the last operation, and of the last password
	var written bytes.Buffer
	for _, e := range exchanges(t) {
		request := strings.ReplaceAll(e.request, "CERTIFICATE", strings.ReplaceAll(certificate, "\n", `\n`))
		for name, value := range last {
			request = strings.ReplaceAll(request, name, value)
		}
		answer := ask(t, api, request)
		for name, pattern := range map[string]*regexp.Regexp{"OPERATION": operations, "PASSWORD": passwords, "FINGERPRINT": prints} {
			if found := pattern.FindString(answer); found != "" {
				last[name] = strings.Trim(found, `"`)
			}
		}
		answer = settled(answer)
		if answer != e.answer && !*updateGolden {
			t.Errorf("%s: %s\ngot\n%s\nwant\n%s", e.title, e.request, answer, e.answer)
		}
		fmt.Fprintf(&written, "### %s\n%s\n---\n%s\n\n", e.title, e.request, answer)
	}
	if *updateGolden {
		if err := os.WriteFile(goldenFile, written.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// ask sends a request of goldenFile.
func ask(t *testing.T, address, request string) (answer string) {
	t.Helper()
	line, body, _ := strings.Cut(request, "\n")
	method, path, _ := strings.Cut(line, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
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
	return fmt.Sprintf("%d\n%s", res.StatusCode, text)
}

// pemCertificate is one of its own.
func pemCertificate(t *testing.T) string {
	t.Helper()
	a := newAuthority(t)
	cert, _ := a.sign("device")
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}
