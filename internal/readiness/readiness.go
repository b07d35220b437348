// Package readiness is what has to be there before a process serves, beside what
// Benthos knows of its streams.
package readiness

import "sync"

// Checks are asked for /ready. The zero value is ready.
type Checks struct {
	mu  sync.Mutex
	all []func() error
}

// Add adds a check. Its error says what is missing, to everyone.
func (c *Checks) Add(check func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, check)
}

// Err is the error of the first check that fails.
func (c *Checks) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, check := range c.all {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}
