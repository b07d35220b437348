package fanout

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// watcher waits, in one goroutine, for something to read from any of a hub's
// connections that rest. A goroutine for each would be nearly half of what an idle
// connection weighs: 2 KiB of stack, and its descriptor.
type watcher struct {
	file *os.File        // of an epoll(7) instance
	raw  syscall.RawConn // the same: Go's poller waits for it, so that it takes no thread
	done chan struct{}

	mu    sync.Mutex
	last  uint64           // key; they are not used again, so that an event of the past finds nobody
	conns map[uint64]*Conn // that rest
}

// newWatcher returns nil where there can be none.
func newWatcher() *watcher {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := unix.SetNonblock(fd, true); err != nil { // os takes it for pollable
		_ = unix.Close(fd)
		return nil
	}
	w := &watcher{file: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{}), conns: make(map[uint64]*Conn)}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		_ = w.file.Close()
		return nil
	}
	go w.run()
	return w
}

func (w *watcher) run() {
	defer close(w.done)
	events := make([]unix.EpollEvent, 128)
	for {
		n := 0
		if w.raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		}) != nil {
			return // stopped
		}
		for _, e := range events[:n] {
			key := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			w.mu.Lock()
			c := w.conns[key]
			w.mu.Unlock()
			if c != nil {
				c.called()
			}
		}
	}
}

// add watches a connection until the first event. The caller holds c.mu.
func (w *watcher) add(c *Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	operation := unix.EPOLL_CTL_MOD
	if c.key == 0 {
		w.last++
		c.key, operation = w.last, unix.EPOLL_CTL_ADD
	}
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT,
		Fd:     int32(uint32(c.key)), Pad: int32(uint32(c.key >> 32)), // the user's eight bytes
	}
	var err error
	if w.raw.Control(func(fd uintptr) { err = unix.EpollCtl(int(fd), operation, c.descriptor(), &event) }) != nil || err != nil {
		return false
	}
	w.conns[c.key] = c
	return true
}

// remove is for a connection that does not rest any more.
func (w *watcher) remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c.key)
}

// stop is for when there are no connections any more.
func (w *watcher) stop() {
	_ = w.file.Close()
	<-w.done
}
