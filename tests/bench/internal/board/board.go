// Package board is a page of memory that the processes of a measurement share:
// the swarm writes what has arrived, the publisher and the bench read it.
package board

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Board is the page. Each word has one writer.
type Board struct {
	// By the swarm.
	Delivered atomic.Uint64 // IoT messages, all readers together
	Bytes     atomic.Uint64 // of WebSocket frames, readers only
	Ready     atomic.Uint64 // connections that are open, and subscribed where that applies
	Dead      atomic.Uint64 // connections that have ended
	StormNano atomic.Uint64 // from the first connect to the last connection's readiness

	// By the bench.
	Record atomic.Uint64 // 1: note latencies
	Stop   atomic.Uint64 // 1: report and exit
}

const size = 4096

// Create makes the file of a new board, all zero.
func Create(file string) (*Board, error) {
	if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
		return nil, err
	}
	return Open(file)
}

// Open maps an existing board. The mapping stays until the process ends.
func Open(file string) (*Board, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", file, err)
	}
	return (*Board)(unsafe.Pointer(&mem[0])), nil
}
