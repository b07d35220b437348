package fanout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// Part is one of the messages within the payload of a [Message], such as a reading
// in an envelope. Connections choose parts by key and topic.
type Part struct {
	ID       string // the event ID, from which a client that has seen the part resumes
	Key      string // whose message it is; "": nobody's
	Topic    string
	From, To int  // where it stands in the payload
	Empty    bool // there is no value any more
}

// Wrap is what stands around and between parts, to make a payload of some of them.
type Wrap struct {
	Open, Between, Close string

	// CloseAt stands at the end, in place of Close, of a payload with which a client has
	// all up to the message with an ID, though the parts in it are older. Nil: Close
	// stands there, and the client is not told.
	CloseAt func(id string) string
}

// wrapper makes a payload of parts.
type wrapper struct {
	wrap  *Wrap
	out   []byte
	begun bool
}

func (w *wrapper) add(part []byte) {
	if w.begun {
		w.out = append(w.out, w.wrap.Between...)
	} else {
		w.out = append(w.out, w.wrap.Open...)
	}
	w.begun = true
	w.out = append(w.out, part...)
}

func (w *wrapper) close() []byte { return append(w.out, w.wrap.Close...) }

// closeAt closes it where the client has all up to the message id; "": nobody knows.
func (w *wrapper) closeAt(id string) []byte {
	if id == "" || w.wrap.CloseAt == nil {
		return w.close()
	}
	return append(w.out, w.wrap.CloseAt(id)...)
}

// Choice is what a connection wants to get: the parts with one of the keys, and
// those whose topic one of the filters covers (MQTT 3.1.1, section 4.7). One without
// any of that wants nothing.
type Choice struct {
	All      bool // it wants everything
	Keys     []string
	Filters  []string
	Within   *Choice       // what is outside of it is left out; nil: nothing is
	Interval time.Duration // it wants one part of each key in that time, the newest; 0: all
}

// text is the same for choices that want the same in the same words.
func (c *Choice) text() string {
	var b strings.Builder
	for ; c != nil; c = c.Within {
		fmt.Fprintln(&b, c.All, c.Interval)
		for _, list := range [][]string{c.Keys, c.Filters} {
			list = slices.Clone(list)
			slices.Sort(list)
			for _, one := range slices.Compact(list) {
				b.WriteString(one)
				b.WriteByte(0) // MQTT has no such character [MQTT-1.5.3-2]
			}
			b.WriteByte(0)
		}
	}
	return b.String()
}

// chooser tells quickly whether a part is wanted.
type chooser struct {
	all     bool
	keys    map[string]struct{}
	filters iotcore.Trie[struct{}]
	within  *chooser
}

func newChooser(c *Choice) *chooser {
	if c == nil {
		return nil
	}
	f := &chooser{all: c.All, keys: make(map[string]struct{}, len(c.Keys)), within: newChooser(c.Within)}
	for _, key := range c.Keys {
		f.keys[key] = struct{}{}
	}
	for _, filter := range c.Filters {
		f.filters.Add(filter, struct{}{})
	}
	return f
}

// wants reports whether the part is wanted; a nil chooser wants all.
func (c *chooser) wants(key, topic string) bool {
	if c == nil {
		return true
	}
	_, found := c.keys[key]
	if found = c.all || found && key != ""; !found {
		c.filters.Match(topic, func(struct{}) { found = true })
	}
	return found && c.within.wants(key, topic)
}
