package swarm

import (
	"bytes"
	"compress/flate"
	"hash/maphash"
	"io"
)

// inflater counts the IoT messages in compressed frames. Without context
// takeover all connections get the same bytes, so it inflates only the first
// frame of each content. Latency is not noted.
type inflater struct {
	counts map[uint64]uint64 // by hash of the frame
	out    bytes.Buffer
}

var (
	seed = maphash.MakeSeed()
	tail = []byte{0x00, 0x00, 0xff, 0xff} // what RFC 7692, section 7.2.1, leaves out
)

func (f *inflater) count(body []byte) uint64 {
	key := maphash.Bytes(seed, body)
	if n, ok := f.counts[key]; ok {
		return n
	}
	if f.counts == nil || len(f.counts) > 1<<14 {
		f.counts = map[uint64]uint64{}
	}
	f.out.Reset()
	// The end of the input is no end of the stream: an error that means nothing.
	_, _ = io.Copy(&f.out, flate.NewReader(io.MultiReader(bytes.NewReader(body), bytes.NewReader(tail))))
	n := uint64(bytes.Count(f.out.Bytes(), keyEventID))
	f.counts[key] = n
	return n
}
