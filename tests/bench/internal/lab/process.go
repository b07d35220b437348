package lab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a child whose cost can be read.
type Process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	log  string // file of its standard error
	done chan struct{}
}

func (l *Lab) start(name string, args ...string) (*Process, error) {
	return l.startWith(nil, name, args...)
}

// startWith does so with variables of the environment.
func (l *Lab) startWith(env []string, name string, args ...string) (*Process, error) {
	p := &Process{name: name, log: l.file("log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	out, outChild, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer outChild.Close()
	p.out = bufio.NewReader(out)
	p.cmd = exec.CommandContext(l.ctx, args[0], args[1:]...)
	p.cmd.Dir, p.cmd.Env = l.Dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = outChild, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		out.Close()
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	l.mu.Lock()
	l.running[p] = true
	l.mu.Unlock()
	return p, nil
}

func (p *Process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// complaint is the end of what the process has written to its standard error.
func (p *Process) complaint() string {
	text, _ := os.ReadFile(p.log)
	text = bytes.TrimSpace(text)
	return string(text[max(0, len(text)-500):])
}

// tell writes v as a line of JSON to the process, hear reads one.
func (p *Process) tell(v any) error { return json.NewEncoder(p.in).Encode(v) }

func (p *Process) hear(v any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s ended: %s", p.name, p.complaint())
	}
	return json.Unmarshal(line, v)
}

// discard reads what a server prints, lest it block.
func (p *Process) discard() { go func() { _, _ = io.Copy(io.Discard, p.out) }() }

// CPU is the time that all threads of the process, the ended ones included,
// have run, in user and in system mode: the kernel's own account, in
// nanoseconds, of which the ticks in /proc/<pid>/stat are a rounded copy.
func (p *Process) CPU() (time.Duration, error) {
	const cpuclockSched = 2 // see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|cpuclockSched), &t); err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w: %s", p.name, err, p.complaint())
	}
	return time.Duration(t.Nano()), nil
}

// Writes is how many write(2) and its like the process has made.
func (p *Process) Writes() float64 { return p.field("io", "syscw") }

// RSS and PeakRSS are in bytes.
func (p *Process) RSS() float64 { return p.field("status", "VmRSS") * 1024 }

// PeakRSS is the highest RSS since ResetPeak.
func (p *Process) PeakRSS() float64 { return p.field("status", "VmHWM") * 1024 }

// ResetPeak makes the present RSS the peak.
func (p *Process) ResetPeak() error { return os.WriteFile(p.proc("clear_refs"), []byte("5"), 0) }

func (p *Process) proc(file string) string {
	return "/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/" + file
}

func (p *Process) field(file, name string) float64 {
	text, _ := os.ReadFile(p.proc(file))
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return n
		}
	}
	return 0
}
