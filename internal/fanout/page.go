package fanout

import (
	"math"
	"slices"
	"sort"
)

// page is the frames of numbered values, made once for all connections that want
// every value. It is divided into blocks, one behind the other, and may end before the
// newest values. It is guarded by Hub.mu.
type page struct {
	blocks []*block
}

// block is the values behind those of the block before, up to the last.
type block struct {
	last   uint64 // the number
	size   int    // of the values that there still are; 0: none
	behind string // the frames close with it, see Wrap.CloseAt
	frames frames
}

// frames are the same message in each variant; nil: nobody has made it. Connections
// hold them, they are never written to.
type frames [variants][]byte

// variant is how frames are made for a connection.
type variant uint8

const (
	asPlain variant = iota
	asDeflated
	asEvent
	variants
)

func (v variant) wire() wire {
	if v == asEvent {
		return eventStream
	}
	return webSocket
}

// find returns the index of the block with a number.
func (p *page) find(number uint64) int {
	return sort.Search(len(p.blocks), func(i int) bool { return p.blocks[i].last >= number })
}

// start is the number behind which a block begins.
func (p *page) start(i int) uint64 {
	if i == 0 {
		return 0
	}
	return p.blocks[i-1].last
}

// end is the last number of the block with a number.
func (p *page) end(number uint64) uint64 {
	if i := p.find(number); i < len(p.blocks) {
		return p.blocks[i].last
	}
	return math.MaxUint64
}

// remove takes a value out.
func (p *page) remove(number uint64, size int) {
	if i := p.find(number); i < len(p.blocks) {
		p.blocks[i].size -= size
		p.blocks[i].frames = frames{}
	}
}

// join has a block take in those behind it up to a number, as long as they fit: they
// lose values, and the last ends where the values did. So of two neighbours one is half
// full at least, however the values come and go.
func (p *page) join(i int, until uint64, most int) {
	b, end := p.blocks[i], i+1
	for ; end < len(p.blocks) && p.blocks[end].last <= until && b.fits(p.blocks[end].size, most); end++ {
		b.extend(p.blocks[end].last, p.blocks[end].size)
	}
	p.blocks = slices.Delete(p.blocks, i+1, end)
}

// fits reports whether the block has room for values.
func (b *block) fits(size, most int) bool { return size == 0 || b.size == 0 || b.size+size <= most }

// extend has the block go on to a number, by values of a size.
func (b *block) extend(last uint64, size int) {
	b.last = last
	if size > 0 {
		b.size += size
		b.frames = frames{}
	}
}

// closing returns the frames that close with an ID.
func (b *block) closing(behind string) *frames {
	if b.behind != behind {
		b.behind, b.frames = behind, frames{}
	}
	return &b.frames
}
