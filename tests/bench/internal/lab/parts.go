package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/board"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/swarm"
)

// The parts that this program plays as its own child.
const (
	PartSwarm     = "_swarm"
	PartPublisher = "_publisher"
	PartPeer      = "_peer"
	PartFleet     = "_fleet"
)

// mosquitto starts the broker with further lines of its configuration.
func (l *Lab) mosquitto(listeners ...string) (*Process, error) {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto" // not in everybody's PATH
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	lines := append([]string{
		"user " + me.Username, // or root would become one who cannot read the file
		"allow_anonymous true",
		"persistence false",
		"set_tcp_nodelay true", // or Nagle and the delayed ACK add 40 ms now and then
		"max_queued_messages 0",
		"max_inflight_messages 10000",
		"log_type error",
	}, listeners...)
	file := l.file("mosquitto.conf")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	return l.start("mosquitto", program, "-c", file)
}

func listener(address string) string {
	host, port, _ := strings.Cut(address, ":")
	return "listener " + port + " " + host
}

// Swarm is the clients.
type Swarm struct {
	*Process
	Board *board.Board
	File  string // the board's
	lab   *Lab
	total uint64
}

// StartSwarm begins to connect.
func (l *Lab) StartSwarm(c swarm.Config) (*Swarm, error) {
	s := &Swarm{File: l.file("board"), lab: l, total: uint64(c.Readers + c.Stalled + c.Slow)}
	var err error
	if s.Board, err = board.Create(s.File); err != nil {
		return nil, err
	}
	c.Board = s.File
	if c.Parallel == 0 {
		c.Parallel = 64
	}
	s.Process, err = l.start("swarm", self(PartSwarm, c)...)
	return s, err
}

// WaitReady returns when all connections are open.
func (s *Swarm) WaitReady() error {
	for begun := time.Now(); s.Board.Ready.Load() < s.total; {
		if err := s.lab.Sleep(5 * time.Millisecond); err != nil {
			return err
		}
		if s.ended() || s.Board.Dead.Load() > 0 || time.Since(begun) > time.Minute {
			result, err := s.Finish()
			return errors.Join(fmt.Errorf("only %d of %d connections: %s", s.Board.Ready.Load(), s.total, result.Failure), err)
		}
	}
	return nil
}

// Finish ends the swarm and returns what it has found.
func (s *Swarm) Finish() (r swarm.Result, err error) {
	s.Board.Stop.Store(1)
	err = s.hear(&r)
	return r, err
}

// Publisher is the devices.
type Publisher struct{ *Process }

// StartPublisher connects to the broker.
func (l *Lab) StartPublisher(c publisher.Config) (*Publisher, error) {
	p, err := l.start("publisher", self(PartPublisher, c)...)
	return &Publisher{p}, err
}

// Obey runs one phase to its end.
func (p *Publisher) Obey(o publisher.Order) (r publisher.Report, err error) {
	if err := p.tell(o); err != nil {
		return r, fmt.Errorf("publisher: %w: %s", err, p.complaint())
	}
	if err := p.hear(&r); err != nil {
		return r, err
	}
	if r.Rejected != "" {
		return r, fmt.Errorf("publisher: %s", r.Rejected)
	}
	return r, nil
}
