package fanout

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestInterval: of each key comes the first at once, then one in an interval at most,
// and at last the newest.
func TestInterval(t *testing.T) {
	const interval = 20 * time.Millisecond
	h := newTestHub(t, Config{Wrap: testWrap})
	_, client := linkAs(t, h, 0, Client{Start: Start{Choice: &Choice{All: true, Interval: interval}}})
	_, all := link(t, h, 0)
	began := time.Now()
	const messages = 3000
	go func() {
		for n := range messages {
			text := fmt.Sprintf("%d;key%d", n, n%3)
			parts := []Part{{Key: text[len(text)-4:], From: 1, To: 1 + len(text)}}
			h.Broadcast(Message{Opcode: Text, Payload: []byte("[" + text + "]"), Parts: parts})
			if n%100 == 0 {
				time.Sleep(time.Millisecond) // over some intervals; how many does not matter
			}
		}
	}()
	for range messages { // who has no interval gets all
		if _, _, err := readMessage(all); err != nil {
			t.Fatal(err)
		}
	}
	last, count := map[string]int{}, map[string]int{}
	for key := 0; last["key0"] < messages-3 || last["key1"] < messages-2 || last["key2"] < messages-1; key++ {
		_, payload, err := readMessage(client)
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(strings.Trim(string(payload), "[]"), ",") {
			var n int
			_, _ = fmt.Sscanf(part, "%d;", &n)
			name := part[len(part)-4:]
			if count[name] == 0 && n >= 3 {
				t.Errorf("%s begins with %d", name, n)
			}
			if count[name]++; count[name] > 1 && n <= last[name] {
				t.Errorf("%s: %d after %d", name, n, last[name])
			}
			last[name] = n
		}
	}
	most := int(time.Since(began)/interval) + 1
	for name, n := range count {
		if n > most {
			t.Errorf("%s came %d times in %s, at most %d would do", name, n, time.Since(began), most)
		}
	}
	h.mu.Lock()
	s := h.chosen.all[0]
	h.mu.Unlock()
	eventually(t, func() bool { // what is silent takes no memory
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(s.pacer.keys)+len(s.pacer.turns) == 0
	})
}

// TestIntervalEndsWithTheChoice: who chooses anew gets what the old choice has held back
// before the answer, since nobody would send it later.
func TestIntervalEndsWithTheChoice(t *testing.T) {
	h := newTestHub(t, Config{Wrap: testWrap})
	c, client := linkAs(t, h, 0, Client{Start: Start{Choice: &Choice{All: true, Interval: time.Hour}}})
	for _, text := range []string{"1;a", "2;a", "3;b", "4;a", "5;b"} {
		parts := []Part{{ID: text, Key: text[2:], From: 1, To: 1 + len(text)}}
		h.Broadcast(Message{Opcode: Text, Payload: []byte("[" + text + "]"), Parts: parts})
	}
	if err := c.Choose(&Choice{Keys: []string{"a"}, Interval: time.Hour}, []byte("chosen")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"[1;a]", "[3;b]", "[4;a,5;b]", "chosen"} {
		if _, got, err := readMessage(client); err != nil || string(got) != want {
			t.Fatalf("got %s, %v, want %s", got, err, want)
		}
	}
}

// parts broadcasts messages of one part each, such as a1 of the key a.
func parts(h *Hub, texts ...string) {
	for _, text := range texts {
		h.Broadcast(Message{
			Opcode: Text, ID: "id " + text, Payload: []byte("[" + text + "]"),
			Parts: []Part{{ID: "id " + text, Key: text[:1], From: 1, To: 1 + len(text)}},
		})
	}
}

// TestHeldBackComesBeforeTheEnd: what an interval holds back goes out before a connection
// is closed.
func TestHeldBackComesBeforeTheEnd(t *testing.T) {
	h := newTestHub(t, Config{Wrap: testWrap})
	c, client := linkAs(t, h, 0, Client{Start: Start{Choice: &Choice{All: true, Interval: time.Hour}}})
	parts(h, "a1", "a2", "b3", "a4")
	expect(t, client, "[a1]", "[b3]")
	c.CloseWith(GoingAway, errors.New("over"))
	expect(t, client, "[a4]")
	if op, _, _, err := readFrame(client); op != opClose {
		t.Errorf("opcode %d, %v", op, err)
	}
}

// TestHeldBackComesAfterALoss: a client that was lost while something was held back, and
// goes on behind what was not, gets that, too.
func TestHeldBackComesAfterALoss(t *testing.T) {
	h := newTestHub(t, Config{Wrap: wrapAt, History: History{MaxMessages: 100}})
	choice := &Choice{Keys: []string{"a", "b", "c"}, Interval: time.Hour}
	_, client := linkAs(t, h, 0, Client{Start: Start{Choice: choice}})
	parts(h, "a1", "x2", "a3", "b4", "x5")
	expect(t, client, "[a1]", "[b4]")
	_ = client.Close()
	parts(h, "c6")
	_, client = linkAs(t, h, 0, Client{Start: Start{Choice: choice, ResumeFrom: "id b4"}})
	expect(t, client, "[a3]id b4", "[c6]")
}
