package tests

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// startNginx starts an nginx before a gateway that forwards no upgrade: what it does by
// default, and what breaks WebSockets on many a network.
func startNginx(t *testing.T, to string) (addr string) {
	t.Helper()
	dir := t.TempDir()
	addr = freeAddress(t)
	config := writeFile(t, fmt.Sprintf(`daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server {
    listen %[2]s;
    location / { proxy_pass http://%[3]s; proxy_set_header Host $http_host; }
  }
}
`, dir, addr, to))
	start(t, "nginx", exec.Command(toolPath("nginx"), "-e", "stderr", "-p", dir, "-c", config)).waitListening(addr)
	return addr
}

// A proxy lets no WebSocket through: a page gets the messages by server-sent events,
// goes on behind a loss with neither gap nor repeat, and chooses anew. So does one of
// another origin that may connect.
func TestBrokenWebSockets(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := newIotcast(t)
	cast.launchWithHistory("max_messages: 1000 }, sse: true, watch: {}, latest: { by: topic", trigger(b, "broker_id: factory", ""), "viewer: /live")
	nginx := startNginx(t, cast.gateway)
	n := startProxy(t, nginx)
	other := startFakeGateway(t)
	pages := map[string]*feed{
		"own":   followers["chromium"](t, n.Addr(), n.Addr(), "ws://"+n.Addr()+"/telemetry", ""),
		"other": followers["chromium"](t, other.addr, cast.gateway, "ws://"+n.Addr()+"/telemetry", ""),
	}
	for _, f := range pages {
		f.wait("open", 1)
	}
	b.publish(1, numbers(0, 9)...)
	for _, f := range pages {
		f.wait("message", 10)
	}
	n.Cut()
	b.publish(1, numbers(10, 19)...)
	for _, f := range pages {
		f.wait("waiting", 3)
	}
	n.Mend()
	for name, f := range pages {
		f.wait("message", 20)
		f.wait("open", 2)
		fmt.Fprintln(f.stdin, `{"topics":["hall/+"]}`)
		f.wait("watch", 1)
		if e := f.told()[len(f.told())-1]; e.Text != `{"device_ids":[],"topics":["hall/+"]}` {
			t.Errorf("%s: the choice was answered by %q %q", name, e.Text, e.Reason)
		}
	}
	for name, f := range pages {
		fmt.Fprintln(f.stdin, `{}`)
		f.wait("watch", 2)
		if e := f.told()[len(f.told())-1]; e.Text != `{}` {
			t.Errorf("%s: the choice of everything was answered by %q %q", name, e.Text, e.Reason)
		}
	}
	b.publish(1, numbers(20, 29)...)
	for _, f := range pages {
		f.wait("message", 30)
		f.mustTell("0-29")
	}

	v := openViewer(t, "http://"+nginx+"/live?path=/telemetry")
	v.wait("a stream of events", func(s shown) bool { return s.State == "live" && s.Messages > 0 })
	if strings.Contains(cast.out.String(), "origin was refused") {
		t.Error("an origin was refused")
	}
}
