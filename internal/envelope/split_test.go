package envelope

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSplit(t *testing.T) {
	small := deviceMessage([]byte("Test 4"))
	large := deviceMessage(make([]byte, 1000))
	one := len(AppendEnvelope(nil, DeviceFormat, []Message{small}))
	two := len(AppendEnvelope(nil, DeviceFormat, []Message{small, small}))

	type span struct {
		from, to int
		tooLarge bool
	}
	for name, tt := range map[string]struct {
		msgs     []Message
		maxBytes int
		want     []span
	}{
		"no messages":       {nil, 0, nil},
		"no limit":          {[]Message{small, large, small}, 0, []span{{0, 3, false}}},
		"exactly two":       {[]Message{small, small, small}, two, []span{{0, 2, false}, {2, 3, false}}},
		"one byte too few":  {[]Message{small, small}, two - 1, []span{{0, 1, false}, {1, 2, false}}},
		"large first":       {[]Message{large, small, small}, two, []span{{0, 1, true}, {1, 3, false}}},
		"large between":     {[]Message{small, large, small}, two, []span{{0, 1, false}, {1, 2, true}, {2, 3, false}}},
		"large last":        {[]Message{small, small, large}, two, []span{{0, 2, false}, {2, 3, true}}},
		"two large":         {[]Message{large, large}, two, []span{{0, 1, true}, {1, 2, true}}},
		"nothing ever fits": {[]Message{small, small}, one - 1, []span{{0, 1, true}, {1, 2, true}}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []span
			for g := range Split(DeviceFormat, tt.msgs, tt.maxBytes) {
				got = append(got, span{g.From, g.To, g.Err != nil})
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("groups %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSplitErrorSaysWhatToDo(t *testing.T) {
	msgs := []Message{brokerMessage(make([]byte, 192<<10))}
	for g := range Split(BrokerFormat, msgs, 128<<10) {
		var tooLarge *SizeError
		if !errors.As(g.Err, &tooLarge) {
			t.Fatalf("error %v, want a *SizeError", g.Err)
		}
		const want = "message of 262420 bytes as an envelope exceeds max_bytes 131072 (payload 196608 bytes): raise max_bytes or send smaller payloads"
		if got := g.Err.Error(); got != want {
			t.Errorf("error %q, want %q", got, want)
		}
		if want := len(AppendEnvelope(nil, BrokerFormat, msgs)); tooLarge.Size != want {
			t.Errorf("size %d, want %d", tooLarge.Size, want)
		}
	}
}

func TestSplitStopsWhenAsked(t *testing.T) {
	msgs := slices.Repeat([]Message{deviceMessage(nil)}, 3)
	for _, maxBytes := range []int{1, 512} { // each message too large, each an envelope of its own
		n := 0
		for range Split(DeviceFormat, msgs, maxBytes) {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%d groups after a break, want 1", n)
		}
	}
}

// TestSplitInvariants: groups are consecutive and complete, their sizes true and within the limit, and none could have taken
// the next message too.
func TestSplitInvariants(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		msgs := make([]Message, random.IntN(20))
		for i := range msgs {
			msgs[i] = deviceMessage(bytes.Repeat([]byte{1}, random.IntN(700)))
		}
		maxBytes := 512 + random.IntN(2000)
		next := 0
		previous := Group{Err: errors.New("none")}
		for g := range Split(DeviceFormat, msgs, maxBytes) {
			if g.From != next || g.To <= g.From {
				t.Fatalf("group %+v, want one from %d", g, next)
			}
			next = g.To
			if size := len(AppendEnvelope(nil, DeviceFormat, msgs[g.From:g.To])); size != g.Size {
				t.Fatalf("group %+v has %d bytes", g, size)
			}
			if tooLarge := g.Size > maxBytes; tooLarge != (g.Err != nil) || tooLarge && g.To-g.From != 1 {
				t.Fatalf("group %+v with a limit of %d", g, maxBytes)
			}
			if previous.Err == nil && g.Err == nil && previous.Size+1+Size(DeviceFormat, &msgs[g.From]) <= maxBytes {
				t.Fatalf("group %+v had room for message %d within %d", previous, g.From, maxBytes)
			}
			previous = g
		}
		if next != len(msgs) {
			t.Fatalf("groups end at %d of %d messages", next, len(msgs))
		}
	}
}
