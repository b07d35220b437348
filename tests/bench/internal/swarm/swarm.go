// Package swarm is thousands of WebSocket clients on one thread. It counts the
// IoT messages that arrive and samples how long they took; it does so little
// besides that the server stays the larger load.
package swarm

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/iotcast/iotcast/tests/bench/internal/board"
)

// Config says what to connect to, and how.
type Config struct {
	Address  string `json:"address"` // host:port, loopback; of several servers with commas between, which connections take in turn
	Path     string `json:"path"`
	Protocol string `json:"protocol"` // what is spoken inside: a key of dialects
	Topic    string `json:"topic"`    // for the dialects that subscribe
	Deflate  bool   `json:"deflate"`  // offer permessage-deflate
	Watch    Watch  `json:"watch"`
	Query    string `json:"query"` // beside what Watch asks for
	Readers  int    `json:"readers"`
	Stalled  int    `json:"stalled"`   // further connections, which never read
	Slow     int    `json:"slow"`      // further connections, which read as fast as a thin link carries
	SlowBits int    `json:"slow_bits"` // a second
	Parallel int    `json:"parallel"`
	Board    string `json:"board"` // file
}

// Watch is which devices, numbered from 0, a connection asks for: Each of them, the
// next connection the next ones.
type Watch struct {
	Parameter string `json:"parameter"` // of the query; empty: it asks for nothing
	Pattern   string `json:"pattern"`   // with %d for the number
	Each      int    `json:"each"`
	Devices   int    `json:"devices"`
}

// query is what connection i asks for.
func (w *Watch) query(i int) string {
	if w.Parameter == "" {
		return ""
	}
	var all []string
	for k := range w.Each {
		all = append(all, url.QueryEscape(fmt.Sprintf(w.Pattern, (i*w.Each+k)%w.Devices)))
	}
	return "?" + w.Parameter + "=" + strings.Join(all, ",")
}

// Result is what the swarm prints when it is told to stop.
type Result struct {
	Latencies int     `json:"latencies"`
	P50       float64 `json:"p50"` // milliseconds
	P99       float64 `json:"p99"`
	Late      Late    `json:"late"`
	Failure   string  `json:"failure,omitempty"` // of the first connection that ended
}

// Late is by how much what the slow connections got was older than the newest that
// their link could have brought.
type Late struct {
	Messages int     `json:"messages"`
	P50      float64 `json:"p50"` // milliseconds
	Max      float64 `json:"max"`
}

const (
	sampled    = 16 // connections on which latency is noted
	readBuffer = 256 << 10

	epollIdle = 100 // milliseconds
	epollSlow = 5   // with slow connections, whose turn comes by the clock
)

type swarm struct {
	cfg     Config
	dialect dialect
	targets []*unix.SockaddrInet4
	board   *board.Board
	epoll   int
	conns   []*conn // by file descriptor
	slow    []*conn // of these, once they are open
	buf     []byte
	pages   map[string]page

	started   int
	opening   int
	ready     int
	dead      int
	delivered uint64
	bytes     uint64
	latencies []int64 // nanoseconds
	lateness  []int64 // likewise, of the slow ones
	inflate   inflater
	failure   string
	begun     time.Time
}

// Main runs a swarm until the board says stop. args is its Config in JSON.
func Main(args []string) error {
	var s swarm
	if err := json.Unmarshal([]byte(args[0]), &s.cfg); err != nil {
		return err
	}
	if err := s.init(); err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := s.run(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(s.result())
}

func (s *swarm) init() (err error) {
	var ok bool
	if s.dialect, ok = dialects[s.cfg.Protocol]; !ok {
		return fmt.Errorf("unknown protocol %q", s.cfg.Protocol)
	}
	for address := range strings.SplitSeq(s.cfg.Address, ",") {
		target, err := loopback(address)
		if err != nil {
			return err
		}
		s.targets = append(s.targets, target)
	}
	if s.board, err = board.Open(s.cfg.Board); err != nil {
		return err
	}
	s.buf = make([]byte, readBuffer)
	s.pages = make(map[string]page)
	s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return err
}

func (s *swarm) total() int { return s.cfg.Readers + s.cfg.Stalled + s.cfg.Slow }

func (s *swarm) run() error {
	s.begun = time.Now()
	events, wait := make([]unix.EpollEvent, 512), epollIdle
	if s.cfg.Slow > 0 {
		wait = epollSlow
	}
	for s.board.Stop.Load() == 0 {
		for s.started < s.total() && s.opening < s.cfg.Parallel {
			if err := s.connect(); err != nil {
				return err
			}
		}
		n, err := unix.EpollWait(s.epoll, events, wait)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if c := s.conns[e.Fd]; c != nil {
				s.handle(c)
			}
		}
		s.readSlow()
		s.publish()
	}
	return nil
}

// publish writes the board: once a round, not once a message.
func (s *swarm) publish() {
	s.board.Delivered.Store(s.delivered)
	s.board.Bytes.Store(s.bytes)
	s.board.Dead.Store(uint64(s.dead))
	if s.ready == s.total() && s.board.StormNano.Load() == 0 {
		s.board.StormNano.Store(uint64(time.Since(s.begun)))
	}
	s.board.Ready.Store(uint64(s.ready))
}

func (s *swarm) result() Result {
	slices.Sort(s.latencies)
	slices.Sort(s.lateness)
	return Result{
		Latencies: len(s.latencies), P50: quantile(s.latencies, 0.5), P99: quantile(s.latencies, 0.99), Failure: s.failure,
		Late: Late{Messages: len(s.lateness), P50: quantile(s.lateness, 0.5), Max: quantile(s.lateness, 1)},
	}
}

// quantile is that of ascending nanoseconds, in milliseconds.
func quantile(all []int64, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	return float64(all[int(q*float64(len(all)-1))]) / 1e6
}

// note records the latency of a message on a sampled connection.
func (s *swarm) note(published int64, ok bool) {
	if ok {
		s.latencies = append(s.latencies, time.Now().UnixNano()-published)
	}
}
