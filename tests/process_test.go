package tests

import (
	"bytes"
	"context"
	"io"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/iotcast/iotcast/internal/reserve"
)

// patience bounds every wait for something that should happen at once.
const patience = 40 * time.Second

// shutdownTimeout is Benthos' 20 s, and a little for what comes after.
const shutdownTimeout = 25 * time.Second

// process is a program under test or beside it, which ends with the test.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when it has ended
	err  error         // of Wait; to be read after done
}

// start starts a program. Its standard input and output are as cmd says; what
// is not set there goes to out.
func start(t *testing.T, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	cmd.Stderr = &p.out
	cmd.WaitDelay = 5 * time.Second
	if err := spawn(cmd); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(shutdownTimeout):
			t.Errorf("%s did not end within %v of SIGTERM", name, shutdownTimeout)
			p.kill()
		}
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, p.out.tail())
		}
	})
	return p
}

// converse starts a program that is talked to, and that ends when its input does.
func converse(t *testing.T, name string, cmd *exec.Cmd) (p *process, stdin io.WriteCloser, out io.Reader) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w := io.Pipe()
	cmd.Stdout = w
	p = start(t, name, cmd)
	t.Cleanup(func() { // before the SIGTERM of start, which a browser may survive
		stdin.Close()
		select {
		case <-p.done:
		case <-time.After(patience):
		}
	})
	go func() {
		<-p.done
		w.Close()
	}()
	return p, stdin, out
}

var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		// dieWithParent ends a child with the thread that started it.
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// spawn starts cmd such that it does not outlive this process, however that ends.
func spawn(cmd *exec.Cmd) error {
	dieWithParent(cmd)
	result := make(chan error)
	starter() <- func() { result <- cmd.Start() }
	return <-result
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// waitListening waits until the process accepts connections.
func (p *process) waitListening(addr string) {
	p.t.Helper()
	eventuallyWithin(p.t, 3*patience, p.name+" accepts connections", func() bool { // RabbitMQ takes its time
		select {
		case <-p.done:
			p.t.Fatalf("%s has ended: %v", p.name, p.err)
		default:
		}
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// halt stops the process with SIGSTOP, and returns when all its threads stand
// still: the signal alone does not wait for those that run.
func (p *process) halt() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	eventually(p.t, p.name+" stands still", func() bool {
		states, err := exec.Command("ps", "-L", "-o", "stat=", "-p", strconv.Itoa(p.cmd.Process.Pid)).Output()
		return err == nil && !strings.ContainsFunc(strings.Join(strings.Fields(string(states)), " "), func(r rune) bool {
			return strings.ContainsRune("RSD", r)
		})
	})
}

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// exitCode waits for the end of the process.
func (p *process) exitCode(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("%s did not end within %v", p.name, within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// runProgram runs a program to its end and returns what it printed and its exit code.
func runProgram(t *testing.T, name string, args ...string) (printed string, exitCode int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("running %s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// output keeps what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String is all of it.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) tail() string {
	s := o.String()
	return s[max(0, len(s)-4000):]
}

// eventually waits until ok says so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	eventuallyWithin(t, patience, what, ok)
}

func eventuallyWithin(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// freeAddress is the loopback address of a server to be started, and of no other.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := reserve.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
