package fanout

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// pageReader reads last values without a socket, at its own pace.
type pageReader struct {
	*testing.T
	conn     *Conn
	past     *snapshot
	kept     map[string]string // by key, when it began
	frames   [][]byte
	got      []string
	position string // of the last envelope
}

// readPage begins to read what a hub keeps now.
func readPage(t *testing.T, h *Hub, as variant, choice *Choice) *pageReader {
	s := h.all
	if choice != nil {
		s = newSelection(choice, len(h.shards))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &Conn{hub: h, shard: h.shards[0], queue: s.queue(as), takes: as, wire: as.wire(), group: &group{selection: s}}
	r := &pageReader{T: t, conn: c, past: h.snapshot(c), kept: make(map[string]string)}
	for _, v := range h.latest.values {
		if v.text != nil {
			r.kept[v.key] = string(v.text)
		}
	}
	return r
}

// read reads one envelope, and reports whether there was one.
func (r *pageReader) read() bool {
	p := r.past.read(r.conn)
	if p == nil {
		return false
	}
	r.frames = append(r.frames, p)
	var text, id string
	if r.conn.wire == eventStream {
		var err error
		if id, text, err = readEvent(bufio.NewReader(bytes.NewReader(p))); err != nil {
			r.Fatal(err)
		}
	} else {
		payload := appendPayload(nil, p)
		if p[0]&rsv1Bit != 0 {
			var err error
			if payload, err = inflate(payload, 1<<20); err != nil {
				r.Fatal(err)
			}
		}
		text = string(payload)
	}
	if r.position != "" {
		r.Fatalf("%.20q comes after the last envelope", text)
	}
	list, position, _ := strings.Cut(strings.TrimPrefix(text, "["), "]")
	values := strings.Split(list, ",")
	r.got, r.position = append(r.got, values...), position
	r.conn.hub.mu.Lock()
	defer r.conn.hub.mu.Unlock()
	behind := ""
	if r.conn.hub.latest.none(r.past.after, r.past.until) {
		behind = r.past.behind
	}
	last, _, _ := strings.Cut(values[len(values)-1], ";")
	if position != behind || r.conn.wire == eventStream && behind == "" && id != last || behind != "" && id != "" && id != behind {
		r.Fatalf("position %q, want %q; event %q, the last is %q", position, behind, id, last)
	}
	return true
}

// check holds what was read to the end against what there was to read.
func (r *pageReader) check() {
	last := -1
	var got []string
	for _, text := range r.got {
		var n int
		_, _ = fmt.Sscan(strings.SplitN(text, ";", 2)[0], &n)
		key := strings.Split(text, ";")[1]
		if n <= last || r.kept[key] != text {
			r.Fatalf("%d after %d: got %.20q, kept was %.20q", n, last, text, r.kept[key])
		}
		last = n
		got = append(got, key)
	}
	l := &r.conn.hub.latest
	r.conn.hub.mu.Lock()
	defer r.conn.hub.mu.Unlock()
	for key, text := range r.kept {
		if number, ok := l.byKey[key]; ok && number <= r.past.until && !slices.Contains(got, key) {
			r.Fatalf("%.20q did not come", text)
		}
	}
}

func readAll(t *testing.T, h *Hub, as variant, choice *Choice) *pageReader {
	t.Helper()
	r := readPage(t, h, as, choice)
	for r.read() {
	}
	r.check()
	return r
}

// broadcastValue broadcasts a message of one part.
func broadcastValue(h *Hub, p Part, text string) {
	p.From, p.To = 1, 1+len(text)
	h.Broadcast(Message{Opcode: Text, ID: p.ID, Payload: []byte("[" + text + "]"), Parts: []Part{p}})
}

// shared is how many of the frames of two pages are the same memory.
func shared(a, b *pageReader) (n int) {
	for _, p := range a.frames {
		if slices.ContainsFunc(b.frames, func(q []byte) bool { return &p[0] == &q[0] }) {
			n++
		}
	}
	return n
}

// TestPage: those who want everything share the frames of a page, but for the block in
// which a value has changed, and the last.
func TestPage(t *testing.T) {
	h := newTestHub(t, Config{
		Wrap: wrapAt, Latest: Latest{MaxKeys: 1000}, History: History{MaxMessages: 10}, Compression: true, MaxFrame: 32 << 10,
	})
	number := 0
	value := func(key int) {
		text := fmt.Sprintf("%d;%d;%s", number, key, strings.Repeat("x", 1000))
		broadcastValue(h, Part{ID: fmt.Sprint(number), Key: fmt.Sprint(key)}, text)
		number++
	}
	for key := range 300 {
		value(key)
	}
	for _, as := range []variant{asPlain, asDeflated, asEvent} {
		one, two := readAll(t, h, as, nil), readAll(t, h, as, nil)
		paced := readAll(t, h, as, &Choice{All: true, Interval: pace})
		n := len(one.frames)
		if n < 5 || shared(one, two) != n || shared(one, paced) != n {
			t.Fatalf("of %d frames %d and %d are shared", n, shared(one, two), shared(one, paced))
		}
		chosen := readAll(t, h, as, &Choice{All: true, Within: &Choice{All: true}})
		if shared(one, chosen) != 0 {
			t.Fatal("a claim shares the page of everything")
		}
		size := 0
		for _, p := range one.frames {
			size += len(p)
			if cap(p) != len(p) && cap(p) > 64<<10 {
				t.Errorf("a frame of %d bytes has %d", len(p), cap(p))
			}
		}
		if want := 300 * 1000; as == asDeflated && size > want/10 || as != asDeflated && size < want {
			t.Errorf("a page of %d bytes", size)
		}
		changed := 100 + int(as)
		value(changed)
		after := readAll(t, h, as, nil)
		if got := shared(one, after); got != n-2 {
			t.Errorf("after a change %d of %d frames are shared", got, n)
		}
		if !strings.HasPrefix(after.got[len(after.got)-1], fmt.Sprintf("%d;%d;", number-1, changed)) {
			t.Errorf("the last value is %.20q", after.got[len(after.got)-1])
		}
	}
}

// FuzzPage has values come and go while clients read them, each at its pace: they get
// each that was there when they began and is still, once, in order, and at the end the
// message behind which to go on. However the values come and go, the page is not left
// in crumbs.
func FuzzPage(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 2))
		h := newTestHub(t, Config{
			Limits: Limits{SlowConsumer: OnlyLatest}, Wrap: wrapAt, Compression: true, History: History{MaxMessages: 10},
			Latest: Latest{MaxKeys: 20 + random.IntN(60), MaxBytes: int64(random.IntN(2)) * 40_000},
		})
		most, keys := h.pastBytes(), 10+random.IntN(90)
		number := 0
		var readers []*pageReader
		for range 1500 {
			switch n := random.IntN(10); {
			case n < 6:
				text := fmt.Sprintf("%d;%d;%s", number, random.IntN(keys), strings.Repeat("x", random.IntN(1500)))
				broadcastValue(h, Part{ID: fmt.Sprint(number), Key: strings.Split(text, ";")[1], Empty: random.IntN(5) == 0}, text)
				number++
			case n == 6 && len(readers) < 6:
				readers = append(readers, readPage(t, h, variant(random.IntN(3)), nil))
			case len(readers) > 0:
				i := random.IntN(len(readers))
				if !readers[i].read() {
					readers[i].check()
					readers = slices.Delete(readers, i, i+1)
				}
			}
		}
		for _, r := range readers {
			for r.read() {
			}
			r.check()
		}
		one, two := readAll(t, h, asPlain, nil), readAll(t, h, asPlain, nil)
		if n := len(one.frames); shared(one, two) != n {
			t.Errorf("of %d frames %d are shared", n, shared(one, two))
		}
		l := &h.latest
		after := uint64(0)
		for i, b := range l.page.blocks {
			size := 0
			for _, v := range l.values[l.find(after+1):l.find(b.last+1)] {
				size += v.room()
			}
			if size != b.size {
				t.Errorf("a block of %d bytes says %d", size, b.size)
			}
			if i > 0 && b.size+l.page.blocks[i-1].size <= most {
				t.Errorf("neighbours of %d and %d bytes", l.page.blocks[i-1].size, b.size)
			}
			after = b.last
		}
	})
}

// BenchmarkLatest is a broadcast on a route with many keys, to nobody: before a client
// has got a page, and after.
func BenchmarkLatest(b *testing.B) {
	for _, paged := range []bool{false, true} {
		b.Run(fmt.Sprintf("paged=%t", paged), func(b *testing.B) {
			h := newTestHub(b, Config{Wrap: wrapAt, Latest: Latest{MaxKeys: 20_000}})
			const keys = 10_000
			random := rand.New(rand.NewPCG(1, 1))
			payload := []byte("[" + strings.Repeat("x", 350) + "]")
			parts := make([]Part, keys)
			for i := range parts {
				parts[i] = Part{ID: "1", Key: fmt.Sprintf("device%d", i), From: 1, To: len(payload) - 1}
				h.Broadcast(Message{Opcode: Text, Payload: payload, Parts: parts[i : i+1]})
			}
			if paged {
				c, client := linkAs(b, h, 0, Client{})
				for read := 0; read < keys*350; {
					_, p, err := readMessage(client)
					if err != nil {
						b.Fatal(err)
					}
					read += len(p)
				}
				c.abort()
			}
			for b.Loop() {
				i := random.IntN(keys)
				h.Broadcast(Message{Opcode: Text, Payload: payload, Parts: parts[i : i+1]})
			}
		})
	}
}
