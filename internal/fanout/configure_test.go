package fanout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"
)

// texts are what a client gets, as far as the last text, uncompressed.
func texts(t *testing.T, client net.Conn, last string) (all []string) {
	t.Helper()
	_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
	for len(all) == 0 || all[len(all)-1] != last {
		first, p, err := readMessage(client)
		if err != nil {
			t.Fatalf("after %q: %v", all, err)
		}
		text := string(p)
		if first&rsv1Bit != 0 {
			text = inflated(t, p)
		}
		all = append(all, text)
	}
	return all
}

// TestConfigureHistory: bounds change what can be resumed from, and no connection.
func TestConfigureHistory(t *testing.T) {
	base := Config{Limits: Limits{QueueBytes: 1 << 20}, Gap: gapText}
	with := func(most int) Config {
		cfg := base
		cfg.History.MaxMessages = most
		return cfg
	}
	h := newTestHub(t, with(10))
	_, open := link(t, h, 0)
	for i := range 5 {
		keep(h, i, 0)
	}
	resume := func(id string, want ...string) {
		t.Helper()
		_, client := linkAs(t, h, 0, Client{Start: Start{ResumeFrom: id}})
		if got := texts(t, client, want[len(want)-1]); !slices.Equal(got, want) {
			t.Errorf("behind %s: %q, want %q", id, got, want)
		}
	}
	resume("id-1", "2:", "3:", "4:")
	h.Configure(with(2))
	resume("id-1", "gap 0 0", "3:", "4:")
	h.Configure(with(0))
	if h.Keeps() {
		t.Error("it keeps what is not to be kept")
	}
	resume("id-3", "gap 0 0")
	keep(h, 5, 0)
	h.Configure(with(10))
	resume("id-5", "gap 0 0")
	keep(h, 6, 0)
	keep(h, 7, 0)
	resume("id-6", "7:")
	if got := texts(t, open, "7:"); len(got) != 8 {
		t.Errorf("the connection that stays got %q", got)
	}
}

// TestConfigureCompression: who comes before and after gets each message once, whether
// it is kept compressed, is not, or is again.
func TestConfigureCompression(t *testing.T) {
	cfg := Config{Limits: Limits{QueueBytes: 1 << 20}, History: History{MaxMessages: 100}, Gap: gapText}
	h := newTestHub(t, cfg)
	n := 0
	more := func() {
		for range 3 {
			keep(h, n, 1000)
			n++
		}
	}
	all := func(from int) (want []string) {
		for i := from; i < n; i++ {
			want = append(want, message(i, 1000))
		}
		return want
	}
	more()
	for step, on := range []bool{true, false, true, false, false, true} {
		cfg.Compression = on
		h.Configure(cfg)
		more()
		for from := range n - 1 {
			_, client := linkAs(t, h, 0, Client{Compressed: step%2 == from%2, Start: Start{ResumeFrom: fmt.Sprint("id-", from)}})
			if got := texts(t, client, message(n-1, 1000)); !slices.Equal(got, all(from+1)) {
				t.Fatalf("step %d, from %d: %d messages, want %d", step, from, len(got), n-from-1)
			}
			_ = client.Close()
		}
		eventually(t, func() bool { return h.Len() == 0 }) // or what is not kept is compressed for them
	}
}

// TestConfigureLatest: what is kept is kept by other keys and within other bounds.
func TestConfigureLatest(t *testing.T) {
	cfg := Config{Limits: Limits{QueueBytes: 1 << 20}, Wrap: wrapAt}
	h := newTestHub(t, cfg)
	send := func(key, topic, text string) {
		parts := []Part{{ID: text, Key: key, Topic: topic, To: len(text)}}
		h.Broadcast(Message{Opcode: Text, Payload: []byte(text), ID: text, Parts: parts})
	}
	gets := func(want string) {
		t.Helper()
		_, client := link(t, h, 0)
		broadcast(h, Text, []byte("end"))
		if got := fmt.Sprint(texts(t, client, "end")); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	with := func(l Latest) {
		cfg.Latest = l
		h.Configure(cfg)
	}
	send("a", "x", "lost")
	gets("[end]")
	with(Latest{MaxKeys: 10, ByTopic: true})
	for _, topic := range []string{"x", "y", "z"} {
		send("a", topic, "a"+topic)
	}
	send("b", "x", "bx")
	gets("[[ay,az,bx] end]")
	with(Latest{MaxKeys: 10})
	gets("[[az,bx] end]")
	send("a", "y", "ay2")
	gets("[[bx,ay2] end]")
	with(Latest{MaxKeys: 10, ByTopic: true})
	send("c", "q", "cq")
	gets("[[bx,ay2,cq] end]")
	with(Latest{MaxKeys: 1, ByTopic: true})
	gets("[[cq] end]")
	with(Latest{})
	gets("[end]")
	send("a", "x", "not kept")
	with(Latest{MaxKeys: 10})
	gets("[end]")
	send("a", "x", "again")
	gets("[[again] end]")
}

// TestConfigureParts: messages are taken apart while that is of use, and who resumes from
// before and chooses is told that it was not.
func TestConfigureParts(t *testing.T) {
	taken := 0
	cfg := Config{
		Limits: Limits{QueueBytes: 1 << 20}, Gap: gapText, Wrap: wrapAt, History: History{MaxMessages: 100},
		Parts: func(p []byte) []Part {
			taken++
			return []Part{{ID: "part " + string(p), Key: string(p[:1]), To: len(p)}}
		},
	}
	h := newTestHub(t, cfg)
	send := func(text string) { h.Broadcast(Message{Opcode: Text, Payload: []byte(text), ID: text}) }
	send("a1")
	send("b1")
	if taken != 0 {
		t.Errorf("%d messages were taken apart for nobody", taken)
	}
	cfg.Apart = true
	h.Configure(cfg)
	send("a2")
	choice := Start{Choice: &Choice{Keys: []string{"a"}}}
	choice.ResumeFrom = "a1"
	_, chooses := linkAs(t, h, 0, Client{Start: choice})
	choice.ResumeFrom = "b1"
	_, after := linkAs(t, h, 0, Client{Start: choice})
	cfg.Apart = false
	h.Configure(cfg)
	send("b3")
	send("a3")
	if got := texts(t, chooses, "[a3]"); fmt.Sprint(got) != "[gap 0 0 [a2] [a3]]" {
		t.Errorf("who resumes from before gets %q", got)
	}
	if got := texts(t, after, "[a3]"); fmt.Sprint(got) != "[[a2] [a3]]" {
		t.Errorf("who resumes from the last before gets %q", got)
	}
}

// TestChooseWhileTheHistoryIsGone: a slow connection that resumes gets what it was to
// get, by the old choice, and then by the new one.
func TestChooseWhileTheHistoryIsGone(t *testing.T) {
	cfg := Config{Limits: Limits{QueueBytes: 64 << 20}, Gap: gapText, Wrap: wrapAt, History: History{MaxMessages: 10_000}}
	h := newTestHub(t, cfg)
	part := func(key string, i int) {
		id, text := fmt.Sprint(key, i), fmt.Sprintf("%s%d:%01000d", key, i, 0)
		h.Broadcast(Message{Opcode: Text, Payload: []byte(text), ID: id, Parts: []Part{{Key: key, ID: id, To: len(text)}}})
	}
	const kept = 3000
	for i := range kept {
		part("a", i)
	}
	c, client := linkAs(t, h, smallBuffer, Client{Start: Start{ResumeFrom: "a0", Choice: &Choice{Keys: []string{"a"}}}})
	for i := range 10 {
		cfg.History.MaxMessages = i % 2 * 10
		h.Configure(cfg)
		if err := c.Choose(&Choice{Keys: []string{"b"}}, fmt.Append(nil, "answer ", i)); err != nil {
			t.Fatal(err)
		}
		part("b", i)
	}
	part("a", kept)
	got := texts(t, client, "answer 9")
	if len(got) < kept-1+10 {
		t.Errorf("%d messages and answers, want the %d that were kept", len(got), kept-1)
	}
	part("b", 99)
	if rest := texts(t, client, fmt.Sprintf("[b99:%01000d]", 0)); len(rest) != 1 {
		t.Errorf("by the new choice it gets %.100q", rest)
	}
}

// TestBroadcastBehindTheEnd: it goes nowhere, and says so; who waits for a connection
// does so no more.
func TestBroadcastBehindTheEnd(t *testing.T) {
	h := NewHub(Config{Limits: Limits{QueueBytes: 1 << 10}})
	waiting := make(chan error)
	go func() { waiting <- h.WaitForConnection(t.Context()) }()
	h.Close(context.Background(), GoingAway, errors.New("over"))
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	if n := broadcast(h, Text, []byte("x")); n != Closed {
		t.Errorf("%d connections", n)
	}
}

// TestConfigureLimits: they are those of the connections that are open, too.
func TestConfigureLimits(t *testing.T) {
	cfg := Config{Limits: Limits{QueueBytes: 1 << 20}}
	h := newTestHub(t, cfg)
	_, big := link(t, h, 0)
	_, old := link(t, h, 0)
	cfg.MaxMessageBytes = 3
	h.Configure(cfg)
	send(t, big, masked(finBit|byte(Text), "four"))
	if op, _, p, err := readFrame(big); err != nil || op != opClose || int(p[0])<<8|int(p[1]) != MessageTooBig {
		t.Errorf("%d %q %v", op, p, err)
	}
	cfg.MaxLifetime = time.Millisecond
	h.Configure(cfg)
	if op, _, p, err := readFrame(old); err != nil || op != opClose || int(p[0])<<8|int(p[1]) != GoingAway {
		t.Errorf("%d %q %v", op, p, err)
	}
}
