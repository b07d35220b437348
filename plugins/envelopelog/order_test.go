package envelopelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redpanda-data/benthos/v4/public/service"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a model of a stream. What is published is stored a little later, mostly in
// its order; some of it is lost, or overtaken, or stored when nobody waits for it any more,
// and some acknowledgements are lost. What is stored stays where it is.
type server struct {
	random *rand.Rand
	faults int // in a hundred, of each kind

	mu     sync.Mutex
	coming []*future
	late   []copied
	log    []copied
}

type copied struct {
	at   position
	data string
}

type future struct {
	copied
	stored chan *jetstream.PubAck
	failed chan error
}

func (f *future) Ok() <-chan *jetstream.PubAck { return f.stored }
func (f *future) Err() <-chan error            { return f.failed }
func (f *future) Msg() *nats.Msg               { return nil }

func newFuture(m *nats.Msg) *future {
	at, err := parsePosition(m.Header.Get(positionHeader))
	if err != nil {
		panic(err)
	}
	return &future{copied{at, string(m.Data)}, make(chan *jetstream.PubAck, 1), make(chan error, 1)}
}

func (s *server) strikes() bool { return s.random.IntN(100) < s.faults }

func (s *server) publish(m *nats.Msg) (jetstream.PubAckFuture, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.strikes() {
		return nil, errors.New("not connected")
	}
	f := newFuture(m)
	s.coming = append(s.coming, f)
	return f, nil
}

// run stores a few of what has come, again and again.
func (s *server) run(ctx context.Context) {
	for sleep(ctx, time.Millisecond) {
		s.mu.Lock()
		for n := s.random.IntN(5); n > 0 && len(s.coming) > 0; n-- {
			next := 0
			if s.strikes() {
				next = s.random.IntN(len(s.coming))
			}
			f := s.coming[next]
			s.coming = slices.Delete(s.coming, next, next+1)
			lost, late, unheard := s.strikes(), s.strikes(), s.strikes()
			switch {
			case lost:
				f.failed <- errors.New("no responders")
			case late:
				s.late = append(s.late, f.copied)
				f.failed <- errors.New("timeout")
			case unheard:
				s.log = append(s.log, f.copied)
				f.failed <- errors.New("timeout")
			default:
				s.log = append(s.log, f.copied)
				f.stored <- &jetstream.PubAck{Stream: "s", Sequence: uint64(len(s.log))}
			}
		}
		if s.strikes() {
			s.log = append(s.log, s.late...)
			s.late = nil
		}
		s.mu.Unlock()
	}
}

// read is what a reader takes that begins at a place in the log.
func (s *server) read(from int) (taken []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return takenOf(s.log, from)
}

func takenOf(log []copied, from int) (taken []string) {
	r := newReader()
	for i, c := range log[from:] {
		if r.takes(c.at, uint64(from+i)+1) {
			taken = append(taken, c.data)
		}
	}
	return taken
}

// readReplica is what a follower hands out whose server has other copies than the
// log at some places, though not at the last: such as were published when the log was
// as long as up to there.
func (s *server) readReplica(t *testing.T, random *rand.Rand) (taken []string) {
	replica := slices.Clone(s.log)
	for range s.faults {
		place, other := random.IntN(len(replica)), s.log[random.IntN(len(s.log))]
		if place < len(replica)-1 && other.at.confirmed <= uint64(len(takenOf(s.log[:place], 0))) {
			replica[place] = other
		}
	}
	f := &follower{
		leader:  func(_ context.Context, sequence uint64) (entry, error) { return asEntry(s.log, sequence), nil },
		log:     slog.New(slog.DiscardHandler),
		metrics: newInputMetrics(service.MockResources().Metrics()),
		out:     make(chan entry, len(s.log)),
		reader:  newReader(),
	}
	for i := range replica {
		if err := f.handle(t.Context(), asEntry(replica, uint64(i)+1)); err != nil {
			t.Fatal(err)
		}
	}
	close(f.out)
	for e := range f.out {
		taken = append(taken, string(e.data))
	}
	return taken
}

func asEntry(log []copied, sequence uint64) entry {
	c := log[sequence-1]
	return entry{header: nats.Header{positionHeader: {c.at.String()}}, data: []byte(c.data), sequence: sequence}
}

// FuzzOrder stores messages with all sorts of faults. A reader of the whole log gets
// all of them, in order, once. One that begins anywhere gets them in order, too, up to
// the last; without faults, all from where it begins. One whose server has another
// log here and there gets all, too.
func FuzzOrder(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed, uint8(seed%12), uint8(4*seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, faults, count uint8) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			s := &server{random: rand.New(rand.NewPCG(seed, 1)), faults: int(faults) % 15}
			w := newWriter("s", s.publish, slog.New(slog.DiscardHandler))
			ctx, end := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { w.run(ctx) })
			running.Go(func() { s.run(ctx) })
			total := 0
			var last *writing
			for total < int(count)+1 {
				var batch []*nats.Msg
				for range 1 + random.IntN(4) {
					batch = append(batch, &nats.Msg{Data: strconv.AppendInt(nil, int64(total), 10), Header: nats.Header{}})
					total++
				}
				var err error
				if last, err = w.queue(ctx, batch); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
			}
			if err := w.wait(ctx, last); err != nil {
				t.Fatal(err)
			}
			end()
			running.Wait()
			s.log = append(s.log, s.late...)
			whole := s.read(0)
			if len(whole) != total {
				t.Fatalf("%d messages of %d were read", len(whole), total)
			}
			for i, data := range whole {
				if data != strconv.Itoa(i) {
					t.Fatalf("message %d is %s", i, data)
				}
			}
			// The last copy tells of all others.
			s.log = append(s.log, copied{position{w.id, w.confirmed + 1, w.confirmed}, "end"})
			if taken := s.readReplica(t, random); !slices.Equal(taken, append(whole, "end")) {
				t.Fatalf("from a replica that differs, %v were read", taken)
			}
			s.log = s.log[:len(s.log)-1]
			before := -1
			from := random.IntN(len(s.log) + 1)
			for _, data := range s.read(from) {
				n, _ := strconv.Atoi(data)
				if n <= before || s.faults == 0 && n != max(before+1, from) {
					t.Fatalf("from sequence %d on: %d comes behind %d", from+1, n, before)
				}
				before = n
			}
		})
	})
}

func TestRefusedMessageHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{random: rand.New(rand.NewPCG(1, 1))}
		w := newWriter("s", func(m *nats.Msg) (jetstream.PubAckFuture, error) {
			if string(m.Data) == "1" {
				f := newFuture(m)
				f.failed <- &jetstream.APIError{ErrorCode: tooLarge, Description: "message size exceeds maximum allowed"}
				return f, nil
			}
			return s.publish(m)
		}, slog.New(slog.DiscardHandler))
		go s.run(t.Context())
		go w.run(t.Context())
		var batch []*nats.Msg
		for n := range 3 {
			batch = append(batch, &nats.Msg{Data: strconv.AppendInt(nil, int64(n), 10), Header: nats.Header{}})
		}
		b, err := w.queue(t.Context(), batch)
		if err == nil {
			err = w.wait(t.Context(), b)
		}
		if err != nil || len(b.refused) != 1 || b.refused[1] == nil {
			t.Fatalf("refused %v, error %v", b.refused, err)
		}
		if taken := fmt.Sprint(s.read(0)); taken != "[0 2]" {
			t.Errorf("read %s, want [0 2]", taken)
		}
	})
}

func TestLeaderThatMayNotBeAskedHoldsUpNothing(t *testing.T) {
	f := &follower{
		leader: func(context.Context, uint64) (entry, error) {
			return entry{}, fmt.Errorf("%w: publish", nats.ErrPermissionViolation)
		},
		log:     slog.New(slog.DiscardHandler),
		metrics: newInputMetrics(service.MockResources().Metrics()),
		out:     make(chan entry, 4),
		reader:  newReader(),
	}
	log := []copied{{position{"w", 1, 0}, "1"}, {position{"w", 1, 0}, "1"}, {position{"w", 3, 2}, "3"}}
	for i := range log {
		if err := f.handle(t.Context(), asEntry(log, uint64(i)+1)); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.out) != 2 {
		t.Errorf("%d messages were handed out, want 1 and 3", len(f.out))
	}
}

func TestReaderForgetsOldWriters(t *testing.T) {
	r := newReader()
	for i := range 3 * maxWriters {
		if !r.takes(position{writer: "busy", number: uint64(i) + 1, confirmed: 0}, uint64(2*i)+1) {
			t.Fatalf("number %d of the busy writer was left out", i+1)
		}
		if !r.takes(position{writer: strconv.Itoa(i), number: 7, confirmed: 6}, uint64(2*i)+2) {
			t.Fatalf("writer %d was left out", i)
		}
	}
	if len(r.last) > maxWriters {
		t.Errorf("%d writers are remembered", len(r.last))
	}
}

func FuzzPosition(f *testing.F) {
	f.Add("w 2 1")
	f.Add("w 1 1")
	f.Add(" 1 0")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePosition(text)
		if err != nil {
			return
		}
		if again, err := parsePosition(p.String()); err != nil || again != p {
			t.Errorf("%q is read as %v, and written as %q", text, p, p)
		}
	})
}
