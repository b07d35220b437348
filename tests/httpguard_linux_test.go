package tests

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// namespace is a network of its own, with a link to a second one: two machines.
type namespace struct {
	t          *testing.T
	here, peer string
}

const (
	hereAddress = "10.209.17.1"
	peerAddress = "10.209.17.2"
)

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{t: t, here: fmt.Sprintf("iotcast-a-%d", os.Getpid()), peer: fmt.Sprintf("iotcast-b-%d", os.Getpid())}
	for _, name := range []string{n.here, n.peer} {
		n.ip("netns", "add", name)
		t.Cleanup(func() { n.ip("netns", "delete", name) })
		n.ip("-n", name, "link", "set", "lo", "up")
	}
	n.ip("-n", n.here, "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", n.peer)
	for name, address := range map[string]string{n.here: hereAddress, n.peer: peerAddress} {
		n.ip("-n", name, "address", "add", address+"/24", "dev", "veth0")
		n.ip("-n", name, "link", "set", "veth0", "up")
	}
	return n
}

func (n *namespace) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command(toolPath("ip"), args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: this test needs iproute2 and root: %s", strings.Join(args, " "), err, out)
	}
}

// in is a command inside one of the two.
func (n *namespace) in(name, program string, args ...string) *exec.Cmd {
	return exec.CommandContext(n.t.Context(), toolPath("ip"), append([]string{"netns", "exec", name, program}, args...)...)
}

// status is that of a request from one of the two; 0: there is no connection.
func (n *namespace) status(name, method, url, body string, more ...string) (status int) {
	n.t.Helper()
	args := append([]string{"-c", `
import sys, urllib.request, urllib.error
method, url, body, user = (sys.argv[1:] + [""])[:4]
request = urllib.request.Request(url, data=body.encode() or None, method=method)
if user:
    import base64
    request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
try:
    print(urllib.request.urlopen(request, timeout=5).status)
except urllib.error.HTTPError as e:
    print(e.code)
except OSError:
    print(0)
`, method, url, body}, more...)
	out, err := n.in(name, python, args...).Output()
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, url, err)
	}
	if _, err := fmt.Sscan(string(out), &status); err != nil {
		n.t.Fatalf("%s %s: %s", method, url, out)
	}
	return status
}

// What another machine reaches of streams mode: nothing by default, nothing with
// --no-api, and what is open with a password.
func TestOtherMachinesMakeNoStreams(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	gateway := "logger: { level: INFO, format: logfmt }\nwebsocket_gateways: [ { label: main, routes: [ { path: /telemetry } ] } ]\n"
	launch := func(config string, args ...string) *process {
		t.Helper()
		p := start(t, "iotcast", n.in(n.here, binary, append([]string{"streams", "-o", writeFile(t, gateway+config)}, args...)...))
		eventually(t, "iotcast has started", func() bool { return strings.Contains(p.out.String(), "Launching") })
		return p
	}
	end := func(p *process) {
		t.Helper()
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		p.exitCode(shutdownTimeout)
	}
	local, remote := "http://127.0.0.1:4195", "http://"+hereAddress+":4195"

	p := launch("") // no http at all
	if got := n.status(n.here, http.MethodPost, local+"/streams/one", idle); got != http.StatusOK {
		t.Errorf("by default, from the machine itself: %d", got)
	}
	if got := n.status(n.peer, http.MethodGet, remote+"/streams", ""); got != 0 {
		t.Errorf("by default, from another machine: %d", got)
	}
	end(p)

	p = launch("http: { address: 0.0.0.0:4195 }\n", "--no-api")
	for name, url := range map[string]string{n.here: local, n.peer: remote} {
		if got := n.status(name, http.MethodGet, url+"/ping", ""); got != 0 {
			t.Errorf("with --no-api: %s: %d", url, got)
		}
	}
	end(p)

	refused := start(t, "iotcast", n.in(n.here, binary, "streams", "-o", writeFile(t, gateway+"http: { address: 0.0.0.0:4195 }\n")))
	if code := refused.exitCode(time.Minute); code == 0 || !strings.Contains(refused.out.String(), "http_guard") {
		t.Errorf("without a password, on all addresses: code %d\n%s", code, refused.out.tail())
	}

	p = launch("http: { address: 0.0.0.0:4195 }\nhttp_guard: { username: me, password: secret }\n")
	for _, test := range []struct {
		method, path, body, user string
		want                     int
	}{
		{http.MethodGet, "/ping", "", "", http.StatusOK},
		{http.MethodGet, "/ready", "", "", http.StatusOK},
		{http.MethodGet, "/metrics", "", "", http.StatusOK},
		{http.MethodGet, "/streams", "", "", http.StatusUnauthorized},
		{http.MethodPost, "/streams/one", idle, "", http.StatusUnauthorized},
		{http.MethodPost, "/streams/one", idle, "me:wrong", http.StatusUnauthorized},
		{http.MethodPost, "/streams/one", idle, "me:secret", http.StatusOK},
		{http.MethodPost, "/streams/two", "pipeline: { processors: [ { command: { name: id } } ] }", "me:secret", http.StatusBadRequest},
	} {
		if got := n.status(n.peer, test.method, remote+test.path, test.body, test.user); got != test.want {
			t.Errorf("%s %s as %q: %d, want %d", test.method, test.path, test.user, got, test.want)
		}
	}
	end(p)
}
