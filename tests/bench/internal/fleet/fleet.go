// Package fleet is devices that log in to a broker, each over a connection of its
// own, and publish in turn; and one reader, who takes everything as a trigger does.
package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/iotcast/iotcast/tests/bench/internal/board"
	"github.com/iotcast/iotcast/tests/bench/internal/mqtt"
)

const (
	parallel  = 16              // devices that connect at a time
	keepalive = 60              // seconds; nobody is silent for so long
	patience  = 5 * time.Second // without any arrival: the rest is lost
)

// Config is the fleet's for all its life.
type Config struct {
	Broker   string `json:"broker"`  // host:port
	Devices  int    `json:"devices"` // User of each is its ID, by DeviceID
	Reader   string `json:"reader"`  // user who subscribes to Filter; empty: nobody does
	Password string `json:"password"`
	Filter   string `json:"filter"`
	QoS      byte   `json:"qos"`
	Size     int    `json:"size"` // of a payload
}

// DeviceID is the ID of a device by its number.
func DeviceID(i int) string { return fmt.Sprintf("device-%05d", i) }

// Topic is where a device publishes.
func Topic(i int) string { return "$devices/" + DeviceID(i) + "/events" }

// Order is one phase: either all devices connect, or all disconnect, or they publish.
type Order struct {
	Connect    bool          `json:"connect"`
	Disconnect bool          `json:"disconnect"`
	Rate       float64       `json:"rate"` // messages a second of all devices together
	For        time.Duration `json:"for"`
}

// Report is the end of a phase, after all that was sent had arrived and was
// acknowledged, or nothing more came.
type Report struct {
	Seconds  float64 `json:"seconds"`
	Sent     int     `json:"sent"`
	Arrived  int     `json:"arrived"`
	Acked    int     `json:"acked"`
	Rejected string  `json:"rejected,omitempty"`
}

type fleet struct {
	cfg     Config
	devices []net.Conn
	arrived atomic.Int64 // of all phases, as acked is
	acked   atomic.Int64
	next    int // device, in turn
	id      uint16
	packet  []byte
}

// Main takes orders in JSON, one a line, from its standard input and answers
// each with a report. args is its Config in JSON.
func Main(args []string) error {
	var f fleet
	if err := json.Unmarshal([]byte(args[0]), &f.cfg); err != nil {
		return err
	}
	if f.cfg.Reader != "" {
		if err := f.read(); err != nil {
			return err
		}
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o Order
		if err := in.Decode(&o); err != nil {
			return nil // the bench has gone
		}
		report, err := f.obey(o)
		if err != nil {
			report.Rejected = err.Error()
		}
		if err := out.Encode(report); err != nil {
			return err
		}
	}
}

func (f *fleet) obey(o Order) (r Report, err error) {
	begun := time.Now()
	switch {
	case o.Connect:
		err = f.connect()
	case o.Disconnect:
		f.disconnect()
	default:
		r, err = f.publish(o, begun)
	}
	r.Seconds = time.Since(begun).Seconds()
	return r, err
}

func (f *fleet) connect() error {
	f.devices = make([]net.Conn, f.cfg.Devices)
	var all errgroup.Group
	all.SetLimit(parallel)
	for i := range f.devices {
		all.Go(func() (err error) {
			id := DeviceID(i)
			f.devices[i], err = mqtt.Dial(f.cfg.Broker, mqtt.Login(id, id, f.cfg.Password, keepalive))
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	for _, c := range f.devices {
		go f.acknowledgements(c)
	}
	return nil
}

func (f *fleet) disconnect() {
	for _, c := range f.devices {
		_, _ = c.Write(mqtt.Disconnect())
		_ = c.Close()
	}
}

// acknowledgements counts what comes back: nothing but PUBACKs, of four bytes.
func (f *fleet) acknowledgements(c net.Conn) {
	buf, n := make([]byte, 64), 0
	for {
		got, err := c.Read(buf)
		if err != nil {
			return
		}
		n += got
		f.acked.Add(int64(n / 4))
		n %= 4
	}
}

// publish has the devices publish one after the other, each message with a write of
// its own.
func (f *fleet) publish(o Order, begun time.Time) (r Report, err error) {
	if len(f.devices) == 0 {
		return r, errors.New("no device is connected")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	arrived, acked := f.arrived.Load(), f.acked.Load()
	for ; time.Since(begun) < o.For; r.Sent++ {
		nap(time.Until(begun.Add(time.Duration(float64(r.Sent) / o.Rate * float64(time.Second)))))
		if err := f.send(); err != nil {
			return r, err
		}
	}
	moved := time.Now()
	for time.Since(moved) < patience && (r.Arrived < r.Sent || f.cfg.QoS > 0 && r.Acked < r.Sent) {
		nap(time.Millisecond)
		nowArrived, nowAcked := int(f.arrived.Load()-arrived), int(f.acked.Load()-acked)
		if nowArrived != r.Arrived || nowAcked != r.Acked {
			r.Arrived, r.Acked, moved = nowArrived, nowAcked, time.Now()
		}
	}
	return r, nil
}

// send sends the next device's message. Packet IDs need to differ only within a
// connection.
func (f *fleet) send() error {
	i := f.next
	f.next = (f.next + 1) % len(f.devices)
	f.id = max(f.id+1, 1)
	f.packet = mqtt.AppendPublishHead(f.packet[:0], Topic(i), f.cfg.QoS, f.id, f.cfg.Size)
	f.packet = board.AppendPayload(f.packet, f.cfg.Size)
	_, err := f.devices[i].Write(f.packet)
	return err
}

// read subscribes, and counts and acknowledges what comes from then on.
func (f *fleet) read() error {
	c, err := mqtt.Dial(f.cfg.Broker, mqtt.Login("reader", f.cfg.Reader, f.cfg.Password, 0))
	if err != nil {
		return fmt.Errorf("the reader: %w", err)
	}
	if _, err := c.Write(mqtt.Subscribe(1, f.cfg.Filter, f.cfg.QoS)); err != nil {
		return err
	}
	subscribed := make(chan byte, 1)
	go func() {
		defer close(subscribed)
		buf, n := make([]byte, 64<<10), 0
		for {
			got, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			n += got
			rest, acks := f.take(buf[:n], subscribed)
			n = copy(buf, rest)
			if len(acks) > 0 {
				if _, err := c.Write(acks); err != nil {
					return
				}
			}
		}
	}()
	select {
	case code, ok := <-subscribed:
		if !ok || code > 2 {
			return fmt.Errorf("the subscription to %s was refused: %#x", f.cfg.Filter, code)
		}
		return nil
	case <-time.After(patience):
		return errors.New("the subscription is not answered")
	}
}

// take counts the packets in p, and returns the PUBACKs for them and what is left.
func (f *fleet) take(p []byte, subscribed chan<- byte) (rest, acks []byte) {
	messages := 0
	for {
		kind, body, size := mqtt.Packet(p)
		if size == 0 {
			break
		}
		switch kind {
		case mqtt.SubAck:
			subscribed <- body[2]
		case mqtt.Publish:
			messages++
			if qos := p[0] >> 1 & 3; qos > 0 {
				id := body[2+int(body[0])<<8+int(body[1]):]
				acks = append(acks, mqtt.PubAck<<4, 2, id[0], id[1])
			}
		}
		p = p[size:]
	}
	f.arrived.Add(int64(messages))
	return p, acks
}

// nap sleeps for less than a millisecond when asked to, as time.Sleep does not.
func nap(d time.Duration) {
	if d > 0 {
		t := unix.NsecToTimespec(int64(d))
		_ = unix.Nanosleep(&t, nil)
	}
}
