// Package publisher is devices that know exactly what their broker has accepted.
package publisher

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Publisher publishes the numbers from 0 on at QoS 1, each once more than the
// broker was able to answer: what is not answered with PUBACK it sends again,
// over a new connection if it must. It speaks MQTT by hand, so that it knows in
// which order and on which connection the broker accepted what.
type Publisher struct {
	Addr     string        // of the broker
	Topics   []string      // number n goes to topic n modulo their number
	Count    int           // how many numbers; 0: until Stop
	Window   int           // messages that may be unanswered
	Interval time.Duration // from one message to the next; 0: as fast as the window allows
	Size     int           // of a payload, which is filled up with spaces

	mu       sync.Mutex
	pending  []int // sent on this connection, or to be sent again; in order
	next     int
	accepted int
	stopped  bool
	begun    time.Time
	lost     int   // connections
	inDoubt  []int // the last message accepted on each connection that was lost
}

// Run returns when the broker has accepted all, or with an error when ctx ends
// before.
func (p *Publisher) Run(ctx context.Context) error {
	p.mu.Lock()
	p.begun = time.Now()
	p.mu.Unlock()
	for {
		err := p.connection(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("publishing: %w after %d messages: %w", ctx.Err(), p.Accepted(), err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// Stop lets Run end when all that was begun is accepted.
func (p *Publisher) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
}

// Accepted is how many messages the broker has accepted: all numbers below, when
// nothing is unanswered.
func (p *Publisher) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Sent is how many messages were sent at least once.
func (p *Publisher) Sent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// Lost is how many connections were lost.
func (p *Publisher) Lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// InDoubt is the last number that was accepted on each connection that was lost:
// a broker that answers before it has saved may lose it in a crash.
func (p *Publisher) InDoubt() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.inDoubt)
}

// connection publishes until all is accepted, or the connection is lost.
func (p *Publisher) connection(ctx context.Context) error {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", p.Addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()

	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion = "MQTT", 4
	connect.CleanSession, connect.ClientIdentifier = true, "steady-publisher"
	if err := connect.Write(nc); err != nil {
		return err
	}
	in := bufio.NewReader(nc)
	if _, err := packets.ReadPacket(in); err != nil {
		return err
	}
	p.mu.Lock()
	again := slices.Clone(p.pending)
	p.mu.Unlock()
	for _, n := range again {
		if err := p.send(nc, n, true); err != nil {
			return err
		}
	}
	last := -1
	for {
		more, wait, done := p.take()
		if done {
			return nil
		}
		for _, n := range more {
			if err := p.send(nc, n, false); err != nil {
				break // what was accepted until now is still to be read
			}
		}
		if wait > 0 {
			time.Sleep(wait)
			continue
		}
		packet, err := packets.ReadPacket(in)
		if err != nil {
			p.lose(last)
			return err
		}
		if ack, ok := packet.(*packets.PubackPacket); ok {
			last = p.accept(ack.MessageID)
		}
	}
}

// take returns the numbers that it is time for and for which there is room in
// the window; or for how long to wait, when nothing is unanswered.
func (p *Publisher) take() (more []int, wait time.Duration, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.pending) < p.Window && !p.complete() {
		if ahead := time.Duration(p.next)*p.Interval - time.Since(p.begun); ahead > 0 {
			if len(p.pending) == 0 {
				wait = ahead
			}
			break
		}
		p.pending = append(p.pending, p.next)
		more = append(more, p.next)
		p.next++
	}
	return more, wait, len(p.pending) == 0 && p.complete()
}

func (p *Publisher) complete() bool { return p.stopped || p.Count > 0 && p.next >= p.Count }

// packetID: no two messages in one window have the same.
func packetID(n int) uint16 { return uint16(n%60000 + 1) }

func (p *Publisher) send(nc net.Conn, n int, again bool) error {
	publish := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	publish.TopicName, publish.Payload = p.Topics[n%len(p.Topics)], fmt.Appendf(nil, "%-*d", p.Size, n)
	publish.Qos, publish.MessageID, publish.Dup = 1, packetID(n), again
	return publish.Write(nc)
}

func (p *Publisher) accept(id uint16) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, n := range p.pending {
		if packetID(n) == id {
			p.pending = slices.Delete(p.pending, i, i+1)
			p.accepted++
			return n
		}
	}
	return -1
}

func (p *Publisher) lose(last int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost++
	if last >= 0 {
		p.inDoubt = append(p.inDoubt, last)
	}
}
