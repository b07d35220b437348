package fanout

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// testWrap makes payloads such as [3;a;x/y,4;b;x].
var testWrap = Wrap{Open: "[", Between: ",", Close: "]"}

// wrapAt says behind last values where to go on: [3;a;x]9.
var wrapAt = Wrap{Open: "[", Between: ",", Close: "]", CloseAt: func(id string) string { return "]" + id }}

// world is a hub, and what was broadcast by it.
type world struct {
	*testing.T
	hub    *Hub
	random *rand.Rand
	parts  []Part // all, by number
	ends   []int  // of the messages, in parts
}

// oldest is the first part that the history holds, and known the first from which a
// client can resume: of the message before as well.
func (w *world) oldest() (oldest, known int) {
	gone := len(w.ends) - w.hub.cfg().History.MaxMessages
	if gone > 0 {
		oldest = w.ends[gone-1]
	}
	if gone > 1 {
		known = w.ends[gone-2]
	}
	return oldest, known
}

func (w *world) pick(from ...string) string { return from[w.random.IntN(len(from))] }

// broadcast broadcasts a message of up to four parts.
func (w *world) broadcast() {
	m := Message{Opcode: Text}
	text := wrapper{wrap: &testWrap}
	for range 1 + w.random.IntN(4) {
		p := Part{
			ID: strconv.Itoa(len(w.parts)), Key: w.pick("a", "b", "c", "d", ""), Topic: w.pick("x", "x/y", "x/y/z", "$s/a", "$s/b/c"),
			Empty: w.random.IntN(20) == 0,
		}
		if text.begun {
			p.From = len(text.out) + 1
		} else {
			p.From = 1
		}
		text.add(fmt.Appendf(nil, "%s;%s;%s", p.ID, p.Key, p.Topic))
		p.To = len(text.out)
		m.Parts = append(m.Parts, p)
		w.parts = append(w.parts, p)
	}
	m.ID = m.Parts[len(m.Parts)-1].ID
	m.Payload = text.close()
	w.hub.Broadcast(m)
	w.ends = append(w.ends, len(w.parts))
}

// pace is how long an interval is: over in a moment, so that what was held back comes.
const pace = 200 * time.Microsecond

// choice is nil, or one at random.
func (w *world) choice(within *Choice) *Choice {
	paced := w.random.IntN(5) == 0
	if w.random.IntN(4) == 0 {
		if paced {
			return &Choice{All: true, Interval: pace, Within: within}
		}
		return within
	}
	c := &Choice{Within: within}
	if paced {
		c.Interval = pace
	}
	for range w.random.IntN(3) {
		c.Keys = append(c.Keys, w.pick("a", "b", "c", "d", "nobody"))
	}
	for range w.random.IntN(3) {
		c.Filters = append(c.Filters, w.pick("#", "+", "x/#", "x/+", "$s/#", "$s/+/c", "x/y", "+/y/#"))
	}
	return c
}

// wanted is what [chooser] does, said simply.
func wanted(c *Choice, p Part) bool {
	for ; c != nil; c = c.Within {
		if !c.All && (p.Key == "" || !slices.Contains(c.Keys, p.Key)) &&
			!slices.ContainsFunc(c.Filters, func(f string) bool { return iotcore.Match(f, p.Topic) }) {
			return false
		}
	}
	return true
}

// viewer is a client, with what it must get.
type viewer struct {
	conn      *Conn
	events    bool // it takes events
	within    *Choice
	stretches []stretch
	client    net.Conn
	got       []string
	done      chan struct{}
	reads     sync.Mutex // held while it is not to read
	stalled   bool
}

// stretch is a time in which a client has one choice.
type stretch struct {
	choice   *Choice
	from     int // all parts from here on
	live     int // the first that was broadcast in it
	gap      bool
	replay   bool // those before it come from the history, which can take some time
	snapshot int  // and the newest of each key of those before; -1: not
}

func (w *world) attach() *viewer {
	v := &viewer{done: make(chan struct{}), events: w.random.IntN(4) == 0}
	if w.random.IntN(2) == 0 {
		v.within = &Choice{Keys: []string{w.pick("a", "b"), "c"}, Filters: []string{w.pick("x/#", "$s/+")}}
	}
	s := stretch{choice: w.choice(v.within), from: len(w.parts), live: len(w.parts), snapshot: -1}
	start := Start{Choice: s.choice, NoLatest: w.random.IntN(3) == 0}
	oldest, known := w.oldest()
	latest := w.hub.latest.enabled() && !start.NoLatest
	switch {
	case len(w.parts) > 0 && w.random.IntN(2) == 0:
		seen := w.random.IntN(len(w.parts))
		if w.random.IntN(2) == 0 { // about as far back as it goes
			seen = min(max(known-2+w.random.IntN(5), 0), len(w.parts)-1)
		}
		start.ResumeFrom = strconv.Itoa(seen)
		s.gap = seen < known
		s.from, s.replay = seen+1, true
	case w.random.IntN(4) == 0:
		start.ResumeFrom = "unknown"
		s.gap = true
	case w.random.IntN(3) == 0:
		start.Rewind = time.Hour
		s.from, s.replay = oldest, true
	}
	if s.gap {
		s.from, s.replay = oldest, true
	}
	paced := s.choice != nil && s.choice.Interval > 0
	if latest && (start.ResumeFrom == "" && !s.replay || start.ResumeFrom != "" && (s.gap || paced)) {
		s.from, s.replay, s.snapshot = len(w.parts), false, len(w.parts)
	}
	client := Client{Start: start, Events: v.events, Compressed: !v.events && w.random.IntN(2) == 0}
	if w.random.IntN(2) == 0 {
		v.conn, v.client = linkAs(w.T, w.hub, smallBuffer, client)
	} else {
		// Nothing is in the pipe: what a client that does not read is to get is not made
		// before it reads.
		server, other := net.Pipe()
		client.Prelude = []byte("hello")
		v.conn, v.client = w.hub.Attach(server, client), other
		w.Cleanup(func() { _ = other.Close() })
		if w.random.IntN(2) == 0 {
			v.stall()
		}
	}
	v.stretches = []stretch{s}
	go v.read(w.T)
	return v
}

func (v *viewer) stall() {
	if !v.stalled {
		v.reads.Lock()
		v.stalled = true
	}
}

func (v *viewer) readOn() {
	if v.stalled {
		v.reads.Unlock()
		v.stalled = false
	}
}

// read reads all that comes. A client that stalls has read one more message.
func (v *viewer) read(t *testing.T) {
	defer close(v.done)
	in := bufio.NewReaderSize(v.client, 16)
	if _, piped := v.client.LocalAddr().(*net.TCPAddr); !piped {
		if _, err := in.Discard(len("hello")); err != nil {
			return
		}
	}
	for {
		var text, id string
		if v.events {
			var err error
			if id, text, err = readEvent(in); err != nil {
				return
			}
			if text == "" {
				continue
			}
		} else {
			first, payload, err := readMessage(in)
			if err != nil || Opcode(first&opcodeSet) == opClose {
				return
			}
			if first&rsv1Bit != 0 {
				payload, _ = inflate(payload, 1<<20)
			}
			text = string(payload)
		}
		v.reads.Lock()
		if list, ok := strings.CutPrefix(text, "["); ok {
			list, position, _ := strings.Cut(list, "]") // where to go on, behind last values
			all := strings.Split(list, ",")
			last := all[len(all)-1]
			if v.events && (position == "" && !strings.HasPrefix(last, id+";") || position != "" && id != position) {
				t.Errorf("the event with the ID %s ends with %q, position %q", id, last, position)
			}
			v.got = append(v.got, all...)
		} else {
			v.got = append(v.got, text)
		}
		v.reads.Unlock()
	}
}

// readEvent reads one event of one line.
func readEvent(in *bufio.Reader) (id, text string, err error) {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		if line == "\n" {
			return id, text, nil
		}
		if after, ok := strings.CutPrefix(line, fieldID); ok {
			id = strings.TrimSuffix(after, "\n")
		}
		if after, ok := strings.CutPrefix(line, fieldData); ok {
			text = strings.TrimSuffix(after, "\n")
		}
	}
}

func (w *world) choose(v *viewer) {
	s := stretch{choice: w.choice(v.within), from: len(w.parts), live: len(w.parts), snapshot: -1}
	if w.hub.latest.enabled() {
		s.snapshot = s.from
	}
	v.stretches = append(v.stretches, s)
	if err := v.conn.Choose(s.choice, []byte("chosen")); err != nil {
		w.Fatal(err)
	}
}

// check holds what a client got against what it had to get.
func (w *world) check(v *viewer) {
	if err := w.fit(v.got, v.stretches); err != nil {
		w.Fatalf("%v; in all it got %q", err, v.got)
	}
}

// fit is an error if what a client got is not what it had to get. One that chose anew
// while it was getting the history gets the rest of it by the new choice, from any part
// on.
func (w *world) fit(got []string, stretches []stretch) error {
	s := stretches[0]
	if len(stretches) == 1 {
		return w.fitStretch(got, &s, len(w.parts), true)
	}
	n := slices.Index(got, "chosen")
	if n < 0 {
		return fmt.Errorf("no answer to a choice in %q", got)
	}
	before, after, rest := got[:n], got[n+1:], stretches[1:]
	err := w.fitStretch(before, &s, rest[0].from, false)
	if err == nil {
		err = w.fit(after, rest)
	}
	for r := s.from; err != nil && s.replay && r < rest[0].from; r++ {
		if w.fitStretch(before, &s, r, false) == nil {
			goOn := slices.Clone(rest)
			goOn[0].from, goOn[0].replay, goOn[0].snapshot = r, true, -1
			if w.fit(after, goOn) == nil {
				return nil
			}
		}
	}
	return err
}

// fitStretch is fit for one stretch, which has the parts up to one.
func (w *world) fitStretch(got []string, s *stretch, until int, last bool) error {
	if s.gap {
		if len(got) == 0 || got[0] != "gap" {
			return fmt.Errorf("%q: not told of the gap", got)
		}
		got = got[1:]
	}
	paced := s.choice != nil && s.choice.Interval > 0
	newest := map[string]int{}
	for n, p := range w.parts[:max(s.snapshot, 0)] {
		if p.Key != "" {
			newest[p.Key] = n
		}
	}
	var numbers []int
	before := map[string]int{} // by key
	for _, text := range got {
		n, err := strconv.Atoi(strings.SplitN(text, ";", 2)[0])
		if err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		p := w.parts[n]
		if !wanted(s.choice, p) {
			return fmt.Errorf("got %q, which %+v does not want", text, s.choice)
		}
		// What is held back of one device says nothing of the others. What others with
		// the same choice wait for comes once more.
		if i, ok := before[p.pacedBy(false)]; paced && ok && (n < i || n == i && n >= s.live) ||
			!paced && len(numbers) > 0 && n <= numbers[len(numbers)-1] {
			return fmt.Errorf("%q: not in order", got)
		}
		before[p.pacedBy(false)] = n
		numbers = append(numbers, n)
	}
	later := map[string]bool{} // what is held back is replaced by
	for n := until - 1; n >= 0; n-- {
		p := w.parts[n]
		if n+1 == s.live {
			clear(later)
		}
		has, wants := slices.Contains(numbers, n), wanted(s.choice, p)
		may := n >= s.from && wants
		must := may
		if paced && wants && (n >= s.live || n < s.from) {
			may = n >= s.live || !later[p.pacedBy(false)] // held back for others
			must = n >= s.live && !later[p.pacedBy(false)]
			later[p.pacedBy(false)] = true
		}
		if at, ok := newest[p.Key]; n < s.snapshot && ok && at == n && !p.Empty && wants {
			may = true
			// One that was replaced before it was read comes by what is live, and what was
			// not read before another choice by that.
			must = last && !slices.ContainsFunc(w.parts[s.snapshot:until], func(q Part) bool { return q.Key == p.Key })
		}
		if has && !may || must && !has {
			return fmt.Errorf("part %d %+v: got %v, must %v, may %v; choice %+v of stretch %+v, got %q",
				n, p, has, must, may, s.choice, s, got)
		}
	}
	return nil
}

// FuzzChoices broadcasts to clients that choose, within what they may get, choose
// anew, resume, and stall: each gets all that it has chosen, once and in order, and
// nothing else; at an interval the newest at least.
func FuzzChoices(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		w := &world{T: t, random: rand.New(rand.NewPCG(seed, 1))}
		cfg := Config{
			Compression: w.random.IntN(2) == 0, Wrap: wrapAt,
			History: History{MaxMessages: []int{3, 10, 1000}[w.random.IntN(3)]},
			Gap:     func(GapReason, uint64) []byte { return []byte("gap") },
		}
		cfg.QueueBytes = 1 << 20
		if w.random.IntN(2) == 0 {
			cfg.Latest = Latest{MaxKeys: 100}
		}
		w.hub = NewHub(cfg)
		var all []*viewer
		for range 80 {
			switch v := w.random.IntN(14); {
			case v == 0 && len(all) < 6:
				all = append(all, w.attach())
			case v == 1 && len(all) > 0:
				if v := all[w.random.IntN(len(all))]; !v.events { // who takes events says nothing
					w.choose(v)
				}
			case v == 2 && len(all) > 3:
				gone := all[0]
				gone.readOn()
				_ = gone.client.Close()
				<-gone.done
				all = all[1:]
			case v == 3 && len(all) > 0:
				all[w.random.IntN(len(all))].stall()
			case v == 4 && len(all) > 0:
				all[w.random.IntN(len(all))].readOn()
			default:
				w.broadcast()
			}
		}
		for _, v := range all {
			v.readOn()
		}
		eventually(t, func() bool { // all had their turns
			w.hub.mu.Lock()
			defer w.hub.mu.Unlock()
			for s := range w.hub.pacing.selections {
				if len(s.pacer.turns) > 0 {
					return false
				}
			}
			return true
		})
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, v := range all {
			go func() { <-v.done; _ = v.client.Close() }()
		}
		w.hub.Close(ctx, GoingAway, errors.New("over"))
		for _, v := range all {
			<-v.done
			w.check(v)
		}
		if n := len(w.hub.chosen.byName) + len(w.hub.chosen.byKey) + len(w.hub.pacing.selections); n > 0 {
			t.Errorf("%d selections are left", n)
		}
	})
}
