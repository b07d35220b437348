package tests

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// steadyPublisher publishes the numbers from 0 on, each once more than the
// broker was able to answer: what is not answered with PUBACK it sends again,
// over a new connection if it must. It speaks MQTT by hand, so that it knows in
// which order and on which connection the broker accepted what.
type steadyPublisher struct {
	addr   string
	topic  string
	count  int
	window int // messages that may be unanswered

	mu       sync.Mutex
	pending  []int // sent on this connection, or to be sent again; in order
	next     int
	accepted int
	lost     int   // connections
	inDoubt  []int // the last message accepted on each connection that was lost
}

// run returns when the broker has accepted all.
func (p *steadyPublisher) run(ctx context.Context) error {
	for {
		err := p.connection(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("publishing: %w after %d of %d messages: %w", ctx.Err(), p.progress(), p.count, err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (p *steadyPublisher) progress() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// connection publishes until all is accepted, or the connection is lost.
func (p *steadyPublisher) connection(ctx context.Context) error {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", p.addr)
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
	again := append([]int(nil), p.pending...)
	p.mu.Unlock()
	for _, n := range again {
		if err := p.send(nc, n, true); err != nil {
			return err
		}
	}
	last := -1
	for {
		more, done := p.take()
		if done {
			return nil
		}
		for _, n := range more {
			if err := p.send(nc, n, false); err != nil {
				break // what was accepted until now is still to be read
			}
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

// take returns the numbers for which there is room in the window.
func (p *steadyPublisher) take() (more []int, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.pending) < p.window && p.next < p.count {
		p.pending = append(p.pending, p.next)
		more = append(more, p.next)
		p.next++
	}
	return more, len(p.pending) == 0
}

// packetID: no two messages in one window have the same.
func packetID(n int) uint16 { return uint16(n%60000 + 1) }

func (p *steadyPublisher) send(nc net.Conn, n int, again bool) error {
	publish := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	publish.TopicName, publish.Payload = p.topic, strconv.AppendInt(nil, int64(n), 10)
	publish.Qos, publish.MessageID, publish.Dup = 1, packetID(n), again
	return publish.Write(nc)
}

func (p *steadyPublisher) accept(id uint16) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, n := range p.pending {
		if packetID(n) == id {
			p.pending = append(p.pending[:i], p.pending[i+1:]...)
			p.accepted++
			return n
		}
	}
	return -1
}

func (p *steadyPublisher) lose(last int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost++
	if last >= 0 {
		p.inDoubt = append(p.inDoubt, last)
	}
}

// start runs the publisher beside the test.
func (p *steadyPublisher) start(t *testing.T, within time.Duration) (done <-chan error) {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	result := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		result <- p.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return result
}
