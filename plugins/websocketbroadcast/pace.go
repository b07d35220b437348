package websocketbroadcast

import (
	"context"
	"time"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
)

// pace is that of the messages of one batch. Those of a batch that is larger than
// what may wait for a connection come at once only because they were gathered
// here: sent at once, they would make slow consumers of all clients.
type pace struct {
	route *gateway.Route
	bytes int64 // that were sent
	until time.Time
}

// readingTime is what the clients have to read a large batch.
const readingTime = time.Second

// wait returns when the next message may be sent. It does not wait for the first
// ones, which fit, nor longer than readingTime altogether.
func (p *pace) wait(ctx context.Context, m fanout.Message) {
	if p.bytes += int64(len(m.Payload)); p.bytes <= p.route.MessageBytes() {
		return
	}
	if p.until.IsZero() {
		p.until = time.Now().Add(readingTime)
	}
	ctx, cancel := context.WithDeadline(ctx, p.until)
	defer cancel()
	p.route.WaitForQueues(ctx, len(m.Payload))
}
