package tap

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func steps(w Way) (names []string) {
	for _, s := range w.Steps {
		names = append(names, s.Step)
	}
	return names
}

func next(t *testing.T, f *Follower) ([]Message, []Way, int) {
	t.Helper()
	messages, ways, skipped, err := f.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return messages, ways, skipped
}

func TestWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap := New()
		f := tap.Follow(Filter{})
		defer f.Close()
		tap.Receive(Message{EventID: "1", Payload: []byte("one"), ReceivedAt: time.Now()})
		tap.Receive(Message{EventID: "2", ReceivedAt: time.Now()})
		if messages, ways, skipped := next(t, f); len(messages) != 2 || string(messages[0].Payload) != "one" || messages[0].PayloadBytes != 3 || len(ways)+skipped > 0 {
			t.Fatal(messages, ways, skipped)
		}
		time.Sleep(time.Millisecond)
		tap.Note(Step{Step: Batched, Messages: 2}, "1", "2")
		tap.Alias("1", "one")
		tap.Envelope("2", []string{"1", "2"})
		tap.NoteEnvelope("2", Step{Step: Encoded})
		before := time.Now()
		time.Sleep(time.Millisecond)
		tap.NoteEach("2", func(i int) Step { return Step{Step: Written, Connections: i} }) // before it is noted as broadcast
		tap.NoteEnvelope("2", Step{Step: Broadcast, At: before, Connections: 2})
		tap.NoteEnvelope("2", Step{Step: Broadcast, Path: "/b", Connections: 1})
		tap.Note(Step{Step: Acknowledged}, "one", "2")
		if _, ways, _ := f.tap.count(f); ways != 0 {
			t.Fatal("done before all is written")
		}
		tap.NoteEnvelope("2", Step{Step: Written})
		_, ways, _ := next(t, f)
		if len(ways) != 2 || !ways[0].Done || ways[0].Message.EventID != "1" || ways[1].Message.EventID != "2" {
			t.Fatalf("%+v", ways)
		}
		if got, want := fmt.Sprint(steps(ways[1])), "[received batched encoded broadcast written broadcast acknowledged written]"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if ways[0].Steps[4].Connections != 0 || ways[1].Steps[4].Connections != 1 {
			t.Errorf("%+v", ways)
		}
		if len(tap.ways)+len(tap.envelopes)+tap.order.Len()+tap.bytes > 0 {
			t.Error("something is kept")
		}
	})
}

// count is what waits for a follower.
func (t *Tap) count(f *Follower) (messages, ways, skipped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(f.queued), len(f.ways), f.skipped
}

func TestWayThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap := New()
		f := tap.Follow(Filter{Gateway: "main"})
		defer f.Close()
		for i := range 3 {
			id := fmt.Sprint(i)
			tap.Receive(Message{EventID: id})
			for range 1000 {
				tap.Note(Step{Step: Retried}, id)
			}
			tap.Note(Step{Step: Broadcast, Gateway: "main", Connections: 1}, id) // beyond what is kept of steps
			tap.Enter(Message{EventID: "entered" + id})
			tap.Note(Step{Step: Broadcast, Gateway: "main", Connections: 1}, "entered"+id)
			time.Sleep(4 * time.Second)
		}
		began := time.Now()
		for i := range 3 {
			_, ways, _ := next(t, f)
			if len(ways) != 1 || ways[0].Done || ways[0].Message.EventID != fmt.Sprint("entered", i) {
				t.Fatalf("%+v", ways)
			}
		}
		if got := time.Since(began); got != 6*time.Second {
			t.Error(got)
		}
		if tap.order.Len() > 0 {
			t.Error("something is kept")
		}
	})
}

// TestEventIDsThatRepeat: each message is shown, and no way waits for nothing.
func TestEventIDsThatRepeat(t *testing.T) {
	tap := New()
	f := tap.Follow(Filter{})
	defer f.Close()
	for range 5 {
		tap.Receive(Message{EventID: "same"})
		tap.Alias("same", "other")
		tap.Envelope("same", []string{"same", "same", "unknown"})
		tap.NoteEnvelope("same", Step{Step: Encoded})
	}
	tap.Note(Step{Step: Acknowledged}, "other", "same")
	messages, ways, skipped := next(t, f)
	if len(messages) != 5 || len(ways) != 5 || skipped != 0 || ways[3].Done || !ways[4].Done {
		t.Fatalf("%d, %d, %d: %+v", len(messages), len(ways), skipped, ways)
	}
	if len(tap.ways)+len(tap.envelopes)+tap.order.Len() > 0 {
		t.Error("something is kept")
	}
}

func TestFilter(t *testing.T) {
	message := Message{DeviceID: "dev", Topic: "site/A/temperature", Stream: "s", Payload: []byte(`{"Unit":"°C"}`)}
	thousand := Filter{}
	for i := range 1000 {
		thousand.Topics = append(thousand.Topics, fmt.Sprintf("site/%d/#", i))
	}
	for name, test := range map[string]struct {
		filter Filter
		want   bool
	}{
		"all":          {Filter{}, true},
		"device":       {Filter{DeviceIDs: []string{"x", "dev"}}, true},
		"other device": {Filter{DeviceIDs: []string{"x", ""}}, false},
		"topic":        {Filter{Topics: []string{"site/+/temperature"}}, true},
		"other topic":  {thousand, false},
		"either":       {Filter{DeviceIDs: []string{"x"}, Topics: []string{"#"}}, true},
		"stream":       {Filter{Streams: []string{"x", "s"}}, true},
		"other stream": {Filter{Streams: []string{"x"}, Topics: []string{"#"}}, false},
		"text":         {Filter{Text: "unit"}, true},
		"of the topic": {Filter{Text: "SITE/a"}, true},
		"other text":   {Filter{Text: "humidity"}, false},
	} {
		if got := newFilter(test.filter).wants(&searched{Message: &message}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for name, test := range map[string]struct {
		filter Filter
		want   bool
	}{
		"anywhere":      {Filter{}, true},
		"path":          {Filter{Path: "/b"}, true},
		"both":          {Filter{Gateway: "h", Path: "/b"}, true},
		"of two routes": {Filter{Gateway: "g", Path: "/b"}, false},
		"other":         {Filter{Gateway: "x"}, false},
	} {
		if got := newFilter(test.filter).passes(&Way{Steps: []Step{{Step: Received}, {Gateway: "g", Path: "/a"}, {Gateway: "h", Path: "/b"}}}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestLeftOut(t *testing.T) {
	tap := New()
	f := tap.Follow(Filter{Topics: []string{"a"}})
	defer f.Close()
	tap.LeaveOut(Message{Topic: "b"}, "nobody wants it")
	tap.LeaveOut(Message{Topic: "a"}, "nobody wants it")
	if messages, ways, _ := next(t, f); len(messages) > 0 || len(ways) != 1 || !ways[0].Done || ways[0].Steps[1].Reason == "" {
		t.Errorf("%v %+v", messages, ways)
	}
}

// TestWhoDoesNotRead costs bounded memory, and is told how much was left out.
func TestWhoDoesNotRead(t *testing.T) {
	tap := New()
	tap.KeepLatest()
	var followers []*Follower
	for range maxFollowers {
		followers = append(followers, tap.Follow(Filter{}))
	}
	more := tap.Follow(Filter{})
	if _, _, _, err := more.Next(t.Context()); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	more.Close()
	const messages = maxDevices + 1000
	payload := []byte(strings.Repeat("x", 256<<10))
	for i := range messages {
		m := Message{EventID: fmt.Sprint(i), DeviceID: fmt.Sprint(i), Payload: payload}
		tap.Receive(m)
		tap.Lost(m, Step{Step: GivenUp})
	}
	var now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&now)
	if now.HeapAlloc > 100<<20 {
		t.Errorf("%d bytes are kept", now.HeapAlloc)
	}
	if n := len(tap.Latest("")); n != maxDevices {
		t.Errorf("%d last messages", n)
	}
	if all := tap.Losses(); len(all) != maxLosses || all[0].Message.EventID != fmt.Sprint(messages-1) ||
		all[0].Message.PayloadBytes != len(payload) {
		t.Errorf("%d losses, the last of %s", len(all), all[0].Message.EventID)
	}
	for _, f := range followers {
		got, ways, skipped := next(t, f)
		if len(got) == 0 || (len(got)+len(ways)-1)*got[0].size() > maxTakenBytes {
			t.Errorf("%d messages and %d ways at once", len(got), len(ways))
		}
		for most := maxQueueBytes / got[0].size(); len(got) < most; {
			more, _, left := next(t, f)
			got, skipped = append(got, more...), skipped+left
		}
		if len(got)+skipped < messages {
			t.Errorf("%d messages, and %d skipped", len(got), skipped)
		}
		f.Close()
	}
	if tap.On() || !tap.Receives() || tap.order.Len()+len(tap.ways)+tap.bytes > 0 {
		t.Error("not as it was before")
	}
}

func TestLatest(t *testing.T) {
	tap := New()
	tap.Receive(Message{RegistryID: "r", DeviceID: "before"})
	if tap.Receives() || tap.KeepsLatest() {
		t.Error("it receives before somebody asks")
	}
	tap.KeepLatest()
	payload := []byte("12")
	tap.Receive(Message{RegistryID: "r", DeviceID: "b", Payload: []byte("longer")})
	tap.Receive(Message{RegistryID: "r", DeviceID: "b", Payload: payload})
	tap.Receive(Message{RegistryID: "r", DeviceID: "a"})
	tap.Receive(Message{RegistryID: "q", DeviceID: "b"})
	tap.Receive(Message{RegistryID: "q"})
	payload[0] = 'x'
	all := tap.Latest("r")
	if len(all) != 2 || all[0].DeviceID != "a" || string(all[1].Payload) != "12" || all[1].PayloadBytes != 2 || len(tap.Latest("")) != 3 {
		t.Errorf("%+v", all)
	}
}

func TestNextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New().Follow(Filter{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Second)
			cancel()
			time.Sleep(time.Second)
			f.Close()
		}()
		if _, _, _, err := f.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, _, _, err := f.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		f.Close()
	})
}

func TestNoTap(t *testing.T) {
	var none *Tap
	if none.On() || none.Receives() {
		t.Error("there is none")
	}
}

// TestAtOnce has all of it done at the same time.
func TestAtOnce(t *testing.T) {
	tap := New()
	tap.KeepLatest()
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := range 500 {
				id := fmt.Sprint(n, i)
				tap.Receive(Message{EventID: id, DeviceID: fmt.Sprint(i % 10), Payload: []byte("x")})
				tap.Note(Step{Step: Batched}, id)
				tap.Envelope(id, []string{id})
				if tap.Knows(id) {
					tap.NoteEnvelope(id, Step{Step: Broadcast, Connections: 1})
				}
				tap.Note(Step{Step: Acknowledged}, id)
				tap.NoteEach(id, func(int) Step { return Step{Step: Written} })
				tap.Lost(Message{}, Step{})
				tap.Losses()
				tap.Latest("")
			}
		})
		all.Go(func() {
			for range 50 {
				f := tap.Follow(Filter{Text: "x"})
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				_, _, _, _ = f.Next(ctx)
				cancel()
				f.Close()
			}
		})
	}
	all.Wait()
	if tap.On() || len(tap.ways)+len(tap.envelopes)+tap.order.Len() > 0 {
		t.Error("something is kept")
	}
}

// The cost of a message in a batch of one, as the components have it.
func BenchmarkMessage(b *testing.B) {
	message := Message{DeviceID: "device", RegistryID: "registry", Topic: "$devices/device/events", Payload: make([]byte, 200)}
	for _, mode := range []string{"off", "latest", "followed", "other device followed", "other text followed by 16"} {
		b.Run(mode, func(b *testing.B) {
			tap := New()
			switch mode {
			case "off":
			case "latest":
				tap.KeepLatest()
			default:
				var filter Filter
				followers := 1
				switch mode {
				case "other device followed":
					filter.DeviceIDs = []string{"other"}
				case "other text followed by 16":
					filter.Text, followers = "other", 16
				}
				ctx, cancel := context.WithCancel(b.Context())
				var reading sync.WaitGroup
				for range followers {
					f := tap.Follow(filter)
					reading.Go(func() {
						defer f.Close()
						for {
							if _, _, _, err := f.Next(ctx); err != nil {
								return
							}
							time.Sleep(100 * time.Microsecond) // so that some gathers, as it does for whoever sends it on
						}
					})
				}
				b.Cleanup(func() { cancel(); reading.Wait() })
			}
			ids := make([]string, 1000)
			for i := range ids {
				ids[i] = fmt.Sprintf("0199b5a0-0000-7000-8000-%012d", i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !tap.Receives() {
					continue
				}
				id := ids[i%len(ids)]
				message.EventID = id
				tap.Receive(message)
				if !tap.On() {
					continue
				}
				tap.Note(Step{Step: Batched}, id)
				tap.Envelope(id, []string{id})
				tap.NoteEnvelope(id, Step{Step: Encoded})
				tap.NoteEnvelope(id, Step{Step: Broadcast, Connections: 1})
				tap.Note(Step{Step: Acknowledged}, id)
				tap.NoteEach(id, func(int) Step { return Step{Step: Written} })
			}
		})
	}
}
