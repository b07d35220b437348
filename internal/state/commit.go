package state

import (
	"errors"
	"sync"

	"go.etcd.io/bbolt"
)

var errClosed = errors.New("the state is closed: the process ends")

// committer writes changes. Those that come while the disk is busy are written together, so that many callers at once wait
// for few syncs, and one caller waits for no other.
type committer struct {
	mu      sync.Mutex
	changed sync.Cond
	waiting []*change // guarded by mu
	closed  bool      // guarded by mu
	ended   chan struct{}
}

// change is one call of Write.
type change struct {
	do   func(*Tx) error
	done chan error
}

func (c *committer) start(db *bbolt.DB) {
	c.changed.L = &c.mu
	c.ended = make(chan struct{})
	go func() {
		defer close(c.ended)
		for {
			batch := c.next()
			if batch == nil {
				return
			}
			commit(db, batch)
		}
	}()
}

// next waits for changes; nil means that there will be none.
func (c *committer) next() []*change {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) == 0 && !c.closed {
		c.changed.Wait()
	}
	batch := c.waiting
	c.waiting = nil
	return batch
}

func (c *committer) stop() {
	c.mu.Lock()
	c.closed = true
	c.changed.Broadcast()
	c.mu.Unlock()
	<-c.ended
}

// Write lets f change the state, and returns when that is on disk. With an error of f, nothing of it is. f may be called
// more than once.
func (c *committer) Write(f func(*Tx) error) error {
	one := &change{do: f, done: make(chan error, 1)}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return errClosed
	}
	c.waiting = append(c.waiting, one)
	c.changed.Broadcast()
	c.mu.Unlock()
	return <-one.done
}

// commit writes a batch. A change that fails after it has written something takes all others back with it: they are made
// again without it.
func commit(db *bbolt.DB, batch []*change) {
	for len(batch) > 0 {
		var kept []*change
		again := false
		err := db.Update(func(tx *bbolt.Tx) error {
			for i, one := range batch {
				t := &Tx{tx: tx}
				err := one.do(t)
				if err == nil {
					kept = append(kept, one)
					continue
				}
				one.done <- err
				if t.wrote {
					kept = append(kept, batch[i+1:]...)
					again = true
					return err
				}
			}
			return nil
		})
		if !again {
			for _, one := range kept {
				one.done <- err
			}
			return
		}
		batch = kept
	}
}
