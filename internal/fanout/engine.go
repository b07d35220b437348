package fanout

import (
	"runtime"
	"sync"
)

// engine is the goroutines that serve the connections of all hubs of the process:
// loops that write, and a poller that reads. What waits costs nothing, however many
// hubs there are.
type engine struct {
	loops []*loop

	polling sync.Once
	poller  *poller // nil: there can be none
}

// running is the engine of the process while it has hubs.
var running struct {
	mu sync.Mutex
	*engine
	hubs int
}

// startEngine returns the engine of the process for a hub, which must release it.
func startEngine() *engine {
	running.mu.Lock()
	defer running.mu.Unlock()
	if running.hubs++; running.hubs == 1 {
		running.engine = newEngine()
	}
	return running.engine
}

// release ends the engine with the last hub.
func (e *engine) release() {
	running.mu.Lock()
	defer running.mu.Unlock()
	if running.hubs--; running.hubs == 0 {
		running.engine = nil
		e.stop()
	}
}

func newEngine() *engine {
	e := new(engine)
	// A loop for every second core: the kernel's part of a loopback write, and the
	// pipeline, want the rest. Two loops on two cores cost a quarter more a delivery
	// than one.
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		l := newLoop()
		e.loops = append(e.loops, l)
		go l.run()
	}
	return e
}

// poll is the poller, which watches nothing once the engine has stopped. It begins
// with the first connection that it can watch: in a synctest bubble, which has none,
// time would stand still for its wait.
func (e *engine) poll() *poller {
	e.polling.Do(func() { e.poller = newPoller() })
	return e.poller
}

func (e *engine) stop() {
	for _, l := range e.loops {
		l.stop()
	}
	e.polling.Do(func() {}) // a connection that attaches still must not begin what nobody ends
	e.poller.stop()
}
