//go:build unix

// Package mosquitto prepares Mosquittos for tests: the real broker that ours is compared and connected with. Who starts one as
// a process is the test, which knows when it ends.
package mosquitto

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/iotcast/iotcast/internal/reserve"
)

// Broker is a Mosquitto that may be started, and again when it has ended.
type Broker struct {
	Addr   string // host:port, which stays its own until the process of the test ends
	config string
}

// New writes the configuration of a broker into a directory: the lines, after those that every test wants. Nobody may connect
// unless they say so.
func New(dir string, lines ...string) (*Broker, error) {
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	b := &Broker{config: filepath.Join(dir, "mosquitto.conf")}
	if b.Addr, err = reserve.Address(); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(b.Addr)
	if err != nil {
		return nil, err
	}
	config := append([]string{
		fmt.Sprintf("listener %s %s", port, host),
		"user " + me.Username, // or else root would become mosquitto, who cannot read dir
		"set_tcp_nodelay true",
		"max_queued_messages 0",
	}, lines...)
	if err := os.WriteFile(b.config, []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	return b, nil
}

// Command is what starts it.
func (b *Broker) Command() *exec.Cmd {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto" // where Debian has it, outside the path of most users
	}
	return exec.Command(program, "-c", b.config) // #nosec G204
}
