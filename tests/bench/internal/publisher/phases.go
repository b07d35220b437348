package publisher

import (
	"cmp"
	"errors"
	"time"
)

const (
	patience   = 5 * time.Second // without any delivery: the rest is lost
	probeEvery = 50 * time.Millisecond
	probeQuiet = 250 * time.Millisecond
	probeLimit = 20 * time.Second
	gather     = 32 << 10 // bytes a write, when nothing limits the publisher
)

func (p *publisher) obey(o Order) (Report, error) {
	if o.Probe {
		return Report{}, p.probe()
	}
	if p.board != nil {
		p.base = p.board.Delivered.Load()
	}
	begun := time.Now()
	var r Report
	var err error
	switch {
	case o.Rate > 0:
		r.Sent, err = p.paced(o, begun)
	case o.Window > 0:
		r.Sent, err = p.windowed(o, begun)
	default:
		r.Sent, err = p.flat(o)
	}
	if err == nil && p.board != nil {
		r.Arrived = p.drain(r.Sent, cmp.Or(o.Patience, patience))
	}
	r.Seconds = time.Since(begun).Seconds()
	return r, err
}

// probe sends until the way to the readers is open, and then waits until all
// that it sent is through.
func (p *publisher) probe() error {
	before := p.board.Delivered.Load()
	for begun := time.Now(); p.board.Delivered.Load() == before; nap(probeEvery) {
		if time.Since(begun) > probeLimit {
			return errors.New("nothing arrives at the readers")
		}
		p.publish()
		if err := p.flush(); err != nil {
			return err
		}
	}
	for last := uint64(0); last != p.board.Delivered.Load(); {
		last = p.board.Delivered.Load()
		nap(probeQuiet)
	}
	return nil
}

func (o *Order) over(n int, begun time.Time) bool {
	return o.Count > 0 && n >= o.Count || o.For > 0 && time.Since(begun) >= o.For
}

func (p *publisher) paced(o Order, begun time.Time) (n int, err error) {
	for ; !o.over(n, begun); n++ {
		nap(time.Until(begun.Add(time.Duration(float64(n) / o.Rate * float64(time.Second)))))
		p.publish()
		if err := p.flush(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// windowed sends each message with a write of its own, as devices would, as
// soon as there is room in the window.
func (p *publisher) windowed(o Order, begun time.Time) (n int, err error) {
	last, moved := 0, begun
	for !o.over(n, begun) {
		arrived := p.arrived()
		if arrived != last {
			last, moved = arrived, time.Now()
		}
		if n-arrived >= o.Window {
			if time.Since(moved) > patience {
				return n, nil // the count of those that arrived tells
			}
			nap(50 * time.Microsecond)
			continue
		}
		p.publish()
		if err := p.flush(); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// flat sends Count messages as fast as the broker takes them.
func (p *publisher) flat(o Order) (n int, err error) {
	for ; n < o.Count; n++ {
		p.publish()
		if p.cfg.QoS > 0 {
			p.sent.Add(1)
		}
		full := o.Unacked > 0 && p.sent.Load()-p.acked.Load() >= int64(o.Unacked)
		if len(p.packet) < gather && n+1 < o.Count && !full {
			continue
		}
		if err := p.flush(); err != nil {
			return n, err
		}
		for o.Unacked > 0 && p.sent.Load()-p.acked.Load() > int64(o.Unacked)/2 {
			nap(50 * time.Microsecond)
		}
	}
	return n, nil
}

// drain waits until n messages have arrived everywhere, or nothing moves.
func (p *publisher) drain(n int, patience time.Duration) int {
	last, moved := p.arrived(), time.Now()
	for last < n && time.Since(moved) < patience {
		nap(100 * time.Microsecond)
		if now := p.arrived(); now != last {
			last, moved = now, time.Now()
		}
	}
	return last
}
