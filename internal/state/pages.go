package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The file format of bbolt, version 2. Numbers are in the byte order of the machine.
const (
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSize    = 64 // its last 8 bytes are a checksum of the others
	noFreelist  = ^uint64(0)

	headerSize  = 16 // of a page: ID, kind, number of elements, and how many pages more it takes
	elementSize = 16 // of branches and leaves: where key and value are, and how long
	bucketSize  = 16 // of the value of a bucket: its first page, or none, and then that page follows

	branchPage    = 1
	leafPage      = 2
	freelistPage  = 16
	bucketElement = 1
	countFollows  = 0xFFFF

	minPageSize = 1 << 10
	maxPageSize = 1 << 24
)

var order = binary.NativeEndian

// meta says where all begins. A file has two: the younger one of those that are whole counts.
type meta struct{ pageSize, root, freelist, end, transaction uint64 }

// pages are those of a file. bbolt trusts them: a page that leads back to itself, or a length of many gigabytes, ends the
// process, and no recover helps. So checkPages walks through all of them before bbolt does.
type pages struct {
	file io.ReaderAt
	meta
	used []bool // by page: whether something leads to it, or it is free
}

// checkPages returns what is wrong with the pages of a file of that size.
func checkPages(file io.ReaderAt, size int64) error {
	m, err := findMeta(file)
	if err != nil {
		return err
	}
	if m.end > uint64(size)/m.pageSize {
		return fmt.Errorf("%d of its %d pages of %d bytes are there", uint64(size)/m.pageSize, m.end, m.pageSize)
	}
	p := pages{file: file, meta: m, used: make([]bool, m.end)}
	if m.freelist != noFreelist {
		if err := p.checkFreelist(); err != nil {
			return err
		}
	}
	return p.walk(m.root)
}

func findMeta(file io.ReaderAt) (meta, error) {
	first, err := readMeta(file, 0)
	if err == nil {
		if second, err := readMeta(file, first.pageSize); err == nil && second.transaction > first.transaction {
			return second, nil
		}
		return first, nil
	}
	for at := uint64(minPageSize); at <= maxPageSize; at *= 2 {
		if second, err := readMeta(file, at); err == nil {
			return second, nil
		}
	}
	return meta{}, err
}

var errBeginning = errors.New("its beginning is not that of a state")

func readMeta(file io.ReaderAt, at uint64) (meta, error) {
	var b [metaSize]byte
	if _, err := file.ReadAt(b[:], int64(at+headerSize)); err != nil {
		return meta{}, errBeginning
	}
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	m := meta{
		pageSize: uint64(order.Uint32(b[8:])), root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]),
		end: order.Uint64(b[40:]), transaction: order.Uint64(b[48:]),
	}
	switch {
	case order.Uint32(b[:]) != metaMagic || order.Uint32(b[4:]) != metaVersion || order.Uint64(b[56:]) != sum.Sum64():
		return m, errBeginning
	case m.pageSize < minPageSize || m.pageSize > maxPageSize:
		return m, fmt.Errorf("it has pages of %d bytes", m.pageSize)
	}
	return m, nil
}

// take reads a page that nothing else has led to, with those of the file that it continues on.
func (p *pages) take(id uint64) ([]byte, error) {
	if id < 2 || id >= p.end { // the first two are the metas
		return nil, fmt.Errorf("page %d is not among its %d", id, p.end)
	}
	var header [headerSize]byte
	if _, err := p.file.ReadAt(header[:], int64(id*p.pageSize)); err != nil {
		return nil, err
	}
	n := 1 + uint64(order.Uint32(header[12:]))
	if order.Uint64(header[:]) != id || id+n > p.end {
		return nil, fmt.Errorf("page %d says to be %d, of %d pages", id, order.Uint64(header[:]), n)
	}
	for i := id; i < id+n; i++ {
		if p.used[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		p.used[i] = true
	}
	page := make([]byte, n*p.pageSize)
	_, err := p.file.ReadAt(page, int64(id*p.pageSize))
	return page, err
}

func (p *pages) checkFreelist() error {
	page, err := p.take(p.freelist)
	if err != nil {
		return err
	}
	kind, count, ids := order.Uint16(page[8:]), uint64(order.Uint16(page[10:])), page[headerSize:]
	if count == countFollows {
		count, ids = order.Uint64(ids), ids[8:]
	}
	if kind != freelistPage || count > uint64(len(ids)/8) {
		return fmt.Errorf("page %d is no list of %d free pages", p.freelist, count)
	}
	for i := range count {
		id := order.Uint64(ids[8*i:])
		if id < 2 || id >= p.end || p.used[id] {
			return fmt.Errorf("page %d is not one that may be free", id)
		}
		p.used[id] = true
	}
	return nil
}

func (p *pages) walk(id uint64) error {
	page, err := p.take(id)
	if err != nil {
		return err
	}
	if err := p.checkElements(page); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// checkElements goes through what is on a page, and on all that it leads to.
func (p *pages) checkElements(page []byte) error {
	if len(page) < headerSize {
		return errors.New("it ends within its header")
	}
	kind, count := order.Uint16(page[8:]), int(order.Uint16(page[10:]))
	if kind != branchPage && kind != leafPage || kind == branchPage && count == 0 {
		return fmt.Errorf("kind %d with %d elements", kind, count)
	}
	if headerSize+count*elementSize > len(page) {
		return fmt.Errorf("%d elements do not fit", count)
	}
	var before []byte
	for i := range count {
		element := page[headerSize+i*elementSize:]
		var flags, position, keySize, valueSize uint32
		if kind == branchPage {
			position, keySize = order.Uint32(element), order.Uint32(element[4:])
		} else {
			flags, position = order.Uint32(element), order.Uint32(element[4:])
			keySize, valueSize = order.Uint32(element[8:]), order.Uint32(element[12:])
		}
		if uint64(position)+uint64(keySize)+uint64(valueSize) > uint64(len(element)) {
			return fmt.Errorf("element %d lies outside", i)
		}
		key := element[position : position+keySize]
		value := element[position+keySize:][:valueSize]
		if i > 0 && bytes.Compare(before, key) >= 0 {
			return fmt.Errorf("element %d is not in order", i)
		}
		before = key
		var err error
		switch {
		case kind == branchPage:
			err = p.walk(order.Uint64(element[8:]))
		case flags&bucketElement != 0:
			err = p.checkBucket(value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *pages) checkBucket(value []byte) error {
	if len(value) < bucketSize {
		return errors.New("a bucket is cut off")
	}
	if root := order.Uint64(value); root != 0 {
		return p.walk(root)
	}
	return p.checkElements(value[bucketSize:])
}
