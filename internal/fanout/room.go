package fanout

import (
	"context"
	"time"
)

// WaitForQueues returns when another size bytes make no connection a slow one, or
// when ctx ends. It is for whoever has held messages back, and so has more at once
// than may wait for a connection. Clients are not slow if they need time to read that.
func (h *Hub) WaitForQueues(ctx context.Context, size int) {
	const every = 2 * time.Millisecond
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if h.longest()+int64(size) <= h.cfg().mostWaiting {
				return
			}
			look.Reset(every)
		case <-ctx.Done():
			return
		}
	}
}

// longest is how many bytes wait for the connection for which the most do.
func (h *Hub) longest() (longest int64) {
	for _, s := range h.shards {
		s.each(func(c *Conn) { longest = max(longest, c.pending()) })
	}
	return longest
}

// pending is how many bytes wait for a connection that stays open.
func (c *Conn) pending() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.closing != nil {
		return 0
	}
	return c.waiting(c.newest())
}
