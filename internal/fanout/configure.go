package fanout

import "time"

// settings are a Config, and what follows from it. They are never written to: others
// take their place.
type settings struct {
	Config
	mostWaiting int64 // bytes, for one connection: a message of Limits.QueueBytes with its headers
}

func newSettings(cfg Config) *settings {
	if cfg.CloseTimeout <= 0 {
		cfg.CloseTimeout = 5 * time.Second
	}
	return &settings{cfg, int64(messageSize(int(cfg.QueueBytes), cfg.MaxFrame))}
}

// cfg is what is in force now.
func (h *Hub) cfg() *settings { return h.config.Load() }

// Configure has the hub go on with another Config, from the next message and the next
// look at a limit on, for the connections that are open, too. What is kept is kept as
// far as the new bounds let it. Who has chosen keeps its choice.
func (h *Hub) Configure(cfg Config) {
	now := time.Now()
	h.mu.Lock()
	h.config.Store(newSettings(cfg))
	if cfg.Compression && cfg.History != (History{}) {
		h.all.queue(asDeflated)
	}
	h.bindHistory(cfg.History, now)
	h.latest.bind(cfg.Latest, now)
	h.counted.Store(h.latest.count)
	h.mu.Unlock()
	h.lag.Lock()
	h.room.Broadcast() // more may wait now
	h.lag.Unlock()
	for _, s := range h.shards {
		s.loop.retick()
	}
}
