package fanout

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller reads what clients send, and tells loops which sockets have room again, in
// one goroutine for all connections of the process. A goroutine for each would be
// nearly half of what an idle connection weighs: 2 KiB of stack, and its descriptor.
type poller struct {
	file *os.File        // of an epoll(7) instance
	raw  syscall.RawConn // the same: Go's poller waits for it, so that it takes no thread
	done chan struct{}

	mu    sync.Mutex
	last  uint64           // the last key; none is used again, so that an event of the past finds nobody; guarded by mu
	conns map[uint64]*Conn // those that are watched, by key; guarded by mu
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
			c, found := p.happened(e)
			if found&forRoom != 0 {
				c.shard.loop.goOn(c)
			}
			if found&forReading != 0 {
				c.readable(buffer)
			}
		}
	}
}

// happened returns the connection of an event, and what it is for. An event for room
// comes once. A socket that has failed is an event for all that it is watched for.
func (p *poller) happened(e unix.EpollEvent) (*Conn, interest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.conns[uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32]
	if c == nil {
		return nil, 0
	}
	found := interest(e.Events)
	if e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		found = forReading | forRoom
	}
	found &= c.watched.what
	if found&forRoom != 0 {
		_ = p.set(c, c.watched.what&^forRoom)
	}
	return c, found
}

// interest is what a connection is watched for. forReading: there is something to read,
// or the end, and c.readable is called. forRoom: its socket has room, and c.goOn is
// called, once.
type interest uint32

const (
	forReading interest = unix.EPOLLIN
	forRoom    interest = unix.EPOLLOUT
)

// watched is the poller's account of a connection. It is guarded by poller.mu.
type watched struct {
	key  uint64
	what interest
	fd   int32
}

// watch watches a connection for one thing more. It must have a descriptor; false means
// that it cannot be watched. The caller must hold c.mu.
func (p *poller) watch(c *Conn, more interest) bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.watched.key == 0 {
		c.watched.fd = int32(c.descriptor())
	}
	if p.set(c, c.watched.what|more) != nil {
		return false
	}
	c.poller = p
	return true
}

// unwatch ends a part of what watch began. The caller must hold c.mu.
func (p *poller) unwatch(c *Conn, less interest) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.set(c, c.watched.what&^less)
}

// forget ends all of it, before the descriptor is closed. The caller must hold c.mu.
func (p *poller) forget(c *Conn) { p.unwatch(c, forReading|forRoom) }

// set has a connection watched for nothing else. The caller must hold p.mu.
func (p *poller) set(c *Conn, what interest) error {
	w := &c.watched
	operation := unix.EPOLL_CTL_MOD
	switch {
	case what == w.what:
		return nil
	case what == 0:
		operation = unix.EPOLL_CTL_DEL
	case w.what == 0:
		operation = unix.EPOLL_CTL_ADD
		p.last++
		w.key = p.last
	}
	event := unix.EpollEvent{Events: uint32(what), Fd: int32(uint32(w.key)), Pad: int32(uint32(w.key >> 32))} // the user's eight bytes
	err := p.control(operation, int(w.fd), &event)
	switch {
	case what == 0, err != nil && w.what == 0:
		delete(p.conns, w.key)
		*w = watched{}
		return err
	case err == nil:
		p.conns[w.key] = c
		w.what = what
	}
	return err
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
