package fanout

import "sync/atomic"

// Stats is what a hub has done since it began.
type Stats struct {
	Messages   int64             // broadcast, whatever the number of connections
	Deliveries int64             // messages times connections, handed to a writer
	Bytes      int64             // of these, with frame headers
	Writes     int64             // write calls on sockets
	Repeated   int64             // messages that came again and were not broadcast again
	Dropped    int64             // messages times connections, by DropOldest
	Slow       int64             // connections closed by Disconnect
	Gaps       [gapReasons]int64 // that clients were told of, by GapReason
	Queued     int64             // bytes that wait for the connection for which the most do, as last looked
	History    int64             // messages that can be resumed from
	Latest     int64             // parts that are the newest of their keys
}

// counters are a shard's part of Stats: one for each, so that the cores do not
// pass a cache line to and fro.
type counters struct {
	deliveries, bytes, writes, dropped, slow, queued atomic.Int64
	gaps                                             [gapReasons]atomic.Int64
}

// Stats returns the sum over the shards.
func (h *Hub) Stats() Stats {
	s := Stats{Messages: h.messages.Load(), Repeated: h.repeated.Load()}
	for _, sh := range h.shards {
		s.Deliveries += sh.count.deliveries.Load()
		s.Bytes += sh.count.bytes.Load()
		s.Writes += sh.count.writes.Load()
		s.Dropped += sh.count.dropped.Load()
		s.Slow += sh.count.slow.Load()
		for reason := range s.Gaps {
			s.Gaps[reason] += sh.count.gaps[reason].Load()
		}
		s.Queued = max(s.Queued, sh.count.queued.Load())
	}
	h.mu.Lock()
	s.History = int64(h.history.size)
	s.Latest = int64(len(h.latest.byKey))
	h.mu.Unlock()
	return s
}
