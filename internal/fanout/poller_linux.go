package fanout

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller reads what clients send, in one goroutine for all connections of the
// process. A goroutine for each would be nearly half of what an idle connection
// weighs: 2 KiB of stack, and its descriptor.
type poller struct {
	file *os.File        // of an epoll(7) instance
	raw  syscall.RawConn // the same: Go's poller waits for it, so that it takes no thread
	done chan struct{}

	mu    sync.Mutex
	last  uint64           // key; they are not used again, so that an event of the past finds nobody
	conns map[uint64]*Conn // that are watched; guarded by mu
}

// newPoller returns nil where there can be none.
func newPoller() *poller {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := unix.SetNonblock(fd, true); err != nil { // os takes it for pollable
		_ = unix.Close(fd)
		return nil
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{}), conns: make(map[uint64]*Conn)}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil
	}
	go p.run()
	return p
}

func (p *poller) run() {
	defer close(p.done)
	events := make([]unix.EpollEvent, 128)
	buffer := make([]byte, 16<<10)
	for {
		n := 0
		if p.raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		}) != nil {
			return // stopped
		}
		for _, e := range events[:n] {
			key := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			p.mu.Lock()
			c := p.conns[key]
			p.mu.Unlock()
			if c != nil {
				c.readable(buffer)
			}
		}
	}
}

// watch calls c.readable when there is something to read, the end included, until
// forget. The connection must have a descriptor; false means that it cannot be
// watched. The caller must hold c.mu.
func (p *poller) watch(c *Conn) bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	event := unix.EpollEvent{
		Events: unix.EPOLLIN,
		Fd:     int32(uint32(p.last)), Pad: int32(uint32(p.last >> 32)), // the user's eight bytes
	}
	if p.control(unix.EPOLL_CTL_ADD, c.descriptor(), &event) != nil {
		return false
	}
	c.pollKey = p.last
	p.conns[c.pollKey] = c
	return true
}

// forget ends what watch began. The caller must hold c.mu.
func (p *poller) forget(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c.pollKey)
	c.pollKey = 0
	if fd := c.descriptor(); fd >= 0 {
		_ = p.control(unix.EPOLL_CTL_DEL, fd, nil)
	}
}

func (p *poller) control(operation, fd int, event *unix.EpollEvent) (err error) {
	if failed := p.raw.Control(func(own uintptr) { err = unix.EpollCtl(int(own), operation, fd, event) }); failed != nil {
		return failed
	}
	return err
}

// stop is for when there are no connections any more.
func (p *poller) stop() {
	if p != nil {
		_ = p.file.Close()
		<-p.done
	}
}
