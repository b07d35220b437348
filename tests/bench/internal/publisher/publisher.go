// Package publisher sends MQTT messages at a rate, or as fast as a window of
// messages in flight lets it, or as fast as it can.
package publisher

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/iotcast/iotcast/tests/bench/internal/board"
	"github.com/iotcast/iotcast/tests/bench/internal/mqtt"
)

// Config is the publisher's for all its life.
type Config struct {
	Broker  string `json:"broker"`  // host:port
	Topic   string `json:"topic"`   // with Devices: a pattern, with %d for the number of one at random
	Devices int    `json:"devices"` // 0: the topic is one
	InTurn  bool   `json:"in_turn"` // the devices' numbers, and not at random
	QoS     byte   `json:"qos"`
	Size    int    `json:"size"`    // of a payload
	Board   string `json:"board"`   // file; empty: the deliveries are not watched
	Readers int    `json:"readers"` // connections that each get every message
}

// Order is one phase.
type Order struct {
	Probe    bool          `json:"probe"`    // one message at a time, until one arrives
	Rate     float64       `json:"rate"`     // messages a second; 0: as fast as Window allows
	Window   int           `json:"window"`   // not yet delivered to all; 0: no limit
	For      time.Duration `json:"for"`      // 0: Count alone decides
	Count    int           `json:"count"`    // 0: For alone decides
	Unacked  int           `json:"unacked"`  // by the broker, at QoS 1
	Patience time.Duration `json:"patience"` // at the end, without any delivery; 0: that of the package
}

// Report is the end of a phase, after all that was sent had arrived, or had
// stopped arriving.
type Report struct {
	Sent     int     `json:"sent"`
	Arrived  int     `json:"arrived"` // at all readers, on the average
	Seconds  float64 `json:"seconds"`
	Rejected string  `json:"rejected,omitempty"`
}

type publisher struct {
	cfg    Config
	conn   net.Conn
	board  *board.Board
	base   uint64 // deliveries before the phase
	packet []byte
	id     uint16
	next   int          // device, in turn
	sent   atomic.Int64 // at QoS 1, of all phases
	acked  atomic.Int64
}

// Main takes orders in JSON, one a line, from its standard input and answers
// each with a report. args is its Config in JSON.
func Main(args []string) error {
	var p publisher
	if err := json.Unmarshal([]byte(args[0]), &p.cfg); err != nil {
		return err
	}
	if err := p.open(); err != nil {
		return err
	}
	runtime.LockOSThread()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o Order
		if err := in.Decode(&o); err != nil {
			return nil // the bench has gone
		}
		report, err := p.obey(o)
		if err != nil {
			report.Rejected = err.Error()
		}
		if err := out.Encode(report); err != nil {
			return err
		}
	}
}

func (p *publisher) open() (err error) {
	if p.cfg.Board != "" {
		if p.board, err = board.Open(p.cfg.Board); err != nil {
			return err
		}
	}
	if p.conn, err = mqtt.Dial(p.cfg.Broker, mqtt.Connect(fmt.Sprintf("publisher-%d", os.Getpid()))); err != nil {
		return err
	}
	go p.acknowledgements()
	return nil
}

// acknowledgements counts what comes back: nothing but PUBACKs, of four bytes.
func (p *publisher) acknowledgements() {
	buf, n := make([]byte, 4096), 0
	for {
		got, err := p.conn.Read(buf)
		if err != nil {
			return
		}
		n += got
		p.acked.Store(int64(n / 4))
	}
}

// arrived is how many messages of this phase all readers have, on the average.
func (p *publisher) arrived() int {
	return int((p.board.Delivered.Load() - p.base) / uint64(p.cfg.Readers))
}

// publish makes one message; the write is the caller's.
func (p *publisher) publish() {
	p.id = max(p.id+1, 1)
	topic := p.cfg.Topic
	if p.cfg.Devices > 0 {
		topic = fmt.Sprintf(topic, p.device())
	}
	p.packet = mqtt.AppendPublishHead(p.packet, topic, p.cfg.QoS, p.id, p.cfg.Size)
	p.packet = board.AppendPayload(p.packet, p.cfg.Size)
}

// device is the number of the one that sends next.
func (p *publisher) device() int {
	if !p.cfg.InTurn {
		return rand.IntN(p.cfg.Devices)
	}
	p.next++
	return (p.next - 1) % p.cfg.Devices
}

func (p *publisher) flush() error {
	_, err := p.conn.Write(p.packet)
	p.packet = p.packet[:0]
	return err
}

// nap sleeps for less than a millisecond when asked to, as time.Sleep does not.
func nap(d time.Duration) {
	if d > 0 {
		t := unix.NsecToTimespec(int64(d))
		_ = unix.Nanosleep(&t, nil)
	}
}
