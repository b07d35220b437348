package tests

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// screenshot is kept, to be looked at.
const screenshot = "artefacts/quickstart.png"

var printedURL = regexp.MustCompile(`http://127\.0\.0\.1:\d+/\n`)

// The quickstart, as its first user sees it: one command, then a browser. Its
// devices follow the address of its broker: they must not come to another.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	c := newIotcast(t)
	cmd := exec.Command(binary, "quickstart")
	cmd.Env = append(os.Environ(), "GATEWAY_ADDRESS="+c.gateway, "MQTT_ADDRESS="+freeAddress(t), "HTTP_ADDRESS="+c.http)
	c.process = start(t, "iotcast quickstart", cmd)
	eventually(t, "the URL is printed", func() bool { return printedURL.MatchString(c.out.String()) })
	c.waitReady()
	url := printedURL.FindString(c.out.String())
	url = url[:len(url)-1]
	if want := "http://" + c.gateway + "/"; url != want {
		t.Errorf("printed %s, want %s", url, want)
	}

	seen := browse(t, url)
	for _, e := range seen.Errors {
		t.Errorf("in the browser: %s", e)
	}
	if seen.State != "live" || seen.Devices != "4" || seen.Rows < 4 || seen.Envelopes == 0 {
		t.Errorf("the page shows: %+v", seen)
	}
	if len(seen.Colours) == 0 {
		t.Error("there is no chart")
	}
	for i, n := range seen.Colours {
		if n < 8 { // an axis and the lines of four devices, with their smooth edges
			t.Errorf("canvas %d of the chart has %d colours: it is blank", i, n)
		}
	}
	c.terminate()
}

// In a container the gateway listens on all interfaces, and the API if somebody
// opens it: then it has a password, or the quickstart says how it gets one.
func TestQuickstartInContainer(t *testing.T) {
	t.Parallel()
	c := newIotcast(t)
	_, gatewayPort, _ := net.SplitHostPort(c.gateway)
	_, httpPort, _ := net.SplitHostPort(c.http)
	quickstart := func(env ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), binary, "quickstart")
		cmd.Env = append(append(os.Environ(), "GATEWAY_ADDRESS=0.0.0.0:"+gatewayPort, "MQTT_ADDRESS="+freeAddress(t), "HTTP_ADDRESS=0.0.0.0:"+httpPort), env...)
		return cmd
	}
	printed, err := quickstart().CombinedOutput()
	if err == nil {
		t.Error("started without a password")
	}
	mustName(t, string(printed), "IOTCAST_API_USER", "IOTCAST_API_PASSWORD")

	c.process = start(t, "iotcast quickstart", quickstart("IOTCAST_API_USER=me", "IOTCAST_API_PASSWORD=a password"))
	c.waitLog("http://localhost:" + gatewayPort + "/")
	c.waitReady()
	if status, _ := c.request("GET", "/streams", ""); status != http.StatusUnauthorized {
		t.Errorf("GET /streams: %d", status)
	}
	c.terminate()
}

// A port that is taken: a user of the quickstart has no fields, but variables.
func TestQuickstartWithoutPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, variable := range []string{"GATEWAY_ADDRESS", "MQTT_ADDRESS", "HTTP_ADDRESS"} {
		addresses := map[string]string{"GATEWAY_ADDRESS": freeAddress(t), "MQTT_ADDRESS": freeAddress(t), "HTTP_ADDRESS": freeAddress(t)}
		addresses[variable] = taken.Addr().String()
		cmd := exec.CommandContext(t.Context(), binary, "quickstart")
		cmd.Env = os.Environ()
		for name, address := range addresses {
			cmd.Env = append(cmd.Env, name+"="+address)
		}
		printed, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("%s: exit code 0", variable)
		}
		mustName(t, string(printed), taken.Addr().String(), "address already in use", variable+"=")
	}
}

// page is what the browser saw.
type page struct {
	State     string   `json:"state"`
	Messages  string   `json:"messages"`
	Devices   string   `json:"devices"`
	Rows      int      `json:"rows"`
	Envelopes int      `json:"envelopes"`
	Colours   []int    `json:"colours"`
	Errors    []string `json:"errors"`
}

func browse(t *testing.T, url string) (seen page) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(screenshot), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(toolPath("node"), "clients/quickstart.mjs", toolPath("chromium"), url, screenshot)
	stdin, err := cmd.StdinPipe() // its end tells the script to end
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, w := io.Pipe()
	cmd.Stdout = w
	browser := start(t, "browser", cmd)
	answer := make(chan []byte, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadBytes('\n')
		answer <- line
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case line := <-answer:
		if err := json.Unmarshal(line, &seen); err != nil {
			t.Fatalf("answer of the browser %.300q: %v", line, err)
		}
	case <-browser.done:
		t.Fatal("the browser has ended without an answer")
	case <-time.After(90 * time.Second):
		t.Fatal("no answer of the browser within 90 s")
	}
	if code := browser.exitCode(patience); code != 0 {
		t.Errorf("exit code %d of the browser", code)
	}
	return seen
}
