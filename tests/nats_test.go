package tests

import (
	"net"
	"os/exec"
	"testing"
)

// natsServer is a nats-server with JetStream of the test's own.
type natsServer struct {
	*process
	t    *testing.T
	dir  string
	addr string
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	s := &natsServer{t: t, dir: t.TempDir(), addr: freeAddress(t)}
	s.start()
	return s
}

// start starts the server, for the first time or again.
func (s *natsServer) start() {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.addr)
	s.process = start(s.t, "nats-server", exec.Command(toolPath("nats-server"), "-a", host, "-p", port, "-js", "-sd", s.dir))
	s.waitListening(s.addr)
}

func (s *natsServer) url() string { return "nats://" + s.addr }
