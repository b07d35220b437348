package state

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
)

var errClosed = errors.New("the state is closed: the process ends")

// ErrNotWritten is that of a disk that is full, or does not take what is written for another reason.
var ErrNotWritten = errors.New("the state cannot be written")

// committer writes changes. Those that come while the disk is busy are written together, so that many callers at once wait
// for few syncs, and one caller waits for no other.
type committer struct {
	mu      sync.Mutex
	changed sync.Cond
	waiting []*change // guarded by mu
	closed  bool      // guarded by mu
	ended   chan struct{}
	failure atomic.Pointer[error] // of the last write that was tried; nil: it is on disk
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
			c.commit(db, batch)
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

// Unwritten is why the last change could not be written: ErrNotWritten with what the system said; nil if it could.
func (c *committer) Unwritten() error {
	if err := c.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// commit writes a batch. A change that fails after it has written something takes all others back with it: they are made
// again without it.
func (c *committer) commit(db *bbolt.DB, batch []*change) {
	for len(batch) > 0 {
		var again bool
		batch, again = c.attempt(db, batch)
		if !again {
			return
		}
	}
}

// attempt writes a batch, and returns those that are to be tried again.
func (c *committer) attempt(db *bbolt.DB, batch []*change) (left []*change, again bool) {
	err := update(db, func(tx *bbolt.Tx) error {
		for i, one := range batch {
			t := &Tx{tx: tx}
			err := one.do(t)
			if err == nil {
				left = append(left, one)
				continue
			}
			one.done <- err
			batch[i] = nil
			if t.wrote {
				left = append(left, batch[i+1:]...)
				again = true
				return err
			}
		}
		return nil
	})
	if again && !errors.Is(err, errPanicked) {
		return left, true
	}
	if err != nil && !errors.Is(err, errPanicked) {
		err = fmt.Errorf("%w: %w", ErrNotWritten, err)
		c.failure.Store(&err)
	} else if len(left) > 0 {
		c.failure.Store(nil)
	}
	for _, one := range batch {
		if one != nil {
			one.done <- err
		}
	}
	return nil, false
}

var errPanicked = errors.New("the state is damaged, or the program is wrong")

// update is db.Update. bbolt panics at pages that are not what they should be: that ends a change, and not the process.
func update(db *bbolt.DB, do func(*bbolt.Tx) error) (err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("%w: %v", errPanicked, why)
		}
	}()
	return db.Update(do)
}
