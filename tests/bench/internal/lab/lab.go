// Package lab starts the processes of a measurement, one server at a time, and
// reads what they cost. Everything listens on the loopback, and nothing that it
// started outlives it.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Lab is a temporary directory and the processes that are running.
type Lab struct {
	Dir     string // temporary
	Root    string // of the iotcast module
	iotcast string // the binary
	ctx     context.Context
	mu      sync.Mutex
	running map[*Process]bool
	count   int // of the board and log files
}

// New builds iotcast. A process must be allowed so many open files for the largest
// row.
func New(ctx context.Context, files uint64) (*Lab, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, err
	}
	limit.Cur = limit.Max
	// Set explicitly, so that the children inherit it.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, err
	}
	if limit.Cur < files {
		return nil, fmt.Errorf("only %d files may be open here (ulimit -Hn): %d are needed", limit.Cur, files)
	}
	root, err := moduleRoot("github.com/iotcast/iotcast")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "iotcast-bench-")
	if err != nil {
		return nil, err
	}
	l := &Lab{Dir: dir, Root: root, iotcast: filepath.Join(dir, "iotcast"), ctx: ctx, running: map[*Process]bool{}}
	if out, err := l.Run("go", "build", "-C", root, "-o", l.iotcast, "./cmd/iotcast"); err != nil {
		l.Close()
		return nil, fmt.Errorf("building iotcast: %w\n%s", err, out)
	}
	return l, nil
}

// Run runs a command to its end and returns what it has printed.
func (l *Lab) Run(name string, args ...string) ([]byte, error) {
	return exec.CommandContext(l.ctx, name, args...).CombinedOutput()
}

// Close kills what runs and removes the directory.
func (l *Lab) Close() {
	l.KillAll()
	_ = os.RemoveAll(l.Dir)
}

// KillAll ends the measurement.
func (l *Lab) KillAll() {
	l.mu.Lock()
	all := l.running
	l.running = map[*Process]bool{}
	l.mu.Unlock()
	for p := range all {
		p.kill()
	}
}

// moduleRoot looks for the module upwards from the working directory.
func moduleRoot(module string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module "+module+"\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("run it within the module %s: there is no such go.mod above the working directory", module)
		}
	}
}

// self is the command line of this very program in another part.
func self(part string, config any) []string {
	exe, err := os.Executable()
	if err != nil {
		exe = "/proc/self/exe"
	}
	text, err := json.Marshal(config)
	if err != nil {
		panic(err) // of our own structs
	}
	return []string{exe, part, string(text)}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// waitForPort returns when p, or what it started, listens on address.
func (l *Lab) waitForPort(p *Process, address string) error {
	for begun := time.Now(); time.Since(begun) < 20*time.Second; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		if err := l.Sleep(20 * time.Millisecond); err != nil {
			return err
		}
		if p.ended() {
			break
		}
	}
	return fmt.Errorf("%s does not listen: %s", p.name, p.complaint())
}

// Sleep returns early, with an error, when the bench is told to end.
func (l *Lab) Sleep(d time.Duration) error {
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
	}
	return l.Interrupted()
}

// Interrupted is an error once the bench is told to end.
func (l *Lab) Interrupted() error {
	if l.ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return nil
}

func (l *Lab) file(suffix string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	return filepath.Join(l.Dir, fmt.Sprintf("%d.%s", l.count, suffix))
}
