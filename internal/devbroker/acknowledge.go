package devbroker

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// acknowledge answers a PUBLISH. If the answer cannot be written, the connection is at its end, and reading finds that.
func (h *hook) acknowledge(cl *mqtt.Client, pk *packets.Packet, reason packets.Code) {
	kind := packets.Puback
	switch pk.FixedHeader.Qos {
	case 0:
		return
	case 2:
		kind = packets.Pubrec
	}
	var ack []byte
	if reason.Code == packets.CodeSuccess.Code { // MQTT 5.0, 3.4.2.1: a reason code of 0 may be left out
		ack = binary.BigEndian.AppendUint16([]byte{kind << 4, 2}, pk.PacketID)
	} else {
		var buf bytes.Buffer
		answer := packets.Packet{
			FixedHeader: packets.FixedHeader{Type: kind}, ProtocolVersion: cl.Properties.ProtocolVersion,
			PacketID: pk.PacketID, ReasonCode: reason.Code,
		}
		_ = answer.PubackEncode(&buf) // of a PUBREC as well
		ack = buf.Bytes()
	}
	connOf(cl).owe(ack)
	atomic.AddInt64(&h.server.Info.BytesSent, int64(len(ack)))
	atomic.AddInt64(&h.server.Info.PacketsSent, 1)
}

// owe queues an acknowledgement, which is written before more is read: those of all messages that came together in one write,
// and without another goroutine. Only the goroutine that reads may call it.
func (c *conn) owe(ack []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone() {
		c.queue = append(c.queue, ack...)
		c.owing = true
	}
}

// pay writes what is owed, as far as that can be done at once. The rest is for flush, as is all that waits for the disk. Who does not
// read what it is owed is not read from, or the queue would grow with all that it publishes.
func (c *conn) pay() {
	if !c.owing {
		return
	}
	c.owing = false
	c.mu.Lock()
	defer c.mu.Unlock()
	full := len(c.queue) >= queueBytes
	if c.socket != nil && len(c.queue) > 0 && !c.writing && !c.gone() && !c.unsynced.Load() {
		c.queue = c.queue[:copy(c.queue, c.queue[c.socket.writeNow(c.queue):])]
	}
	if full || len(c.queue) > 0 {
		c.changed.Broadcast()
	}
	for len(c.queue) >= queueBytes && !c.gone() {
		c.changed.Wait()
	}
}
