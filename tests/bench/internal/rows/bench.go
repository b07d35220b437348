// Package rows is what is measured: one file a row, or two that are alike.
package rows

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
)

// Bench is a run.
type Bench struct {
	Lab         *lab.Lab
	Report      *report.Report
	Repetitions int
	Quick       bool
	Peers       []string // empty: those that belong to each row
	Out         io.Writer
}

// Row measures and prints one thing.
type Row struct {
	Name string
	Run  func(*Bench) error // an error ends the run; a measurement that fails does not
}

// All rows, in the order in which they run.
var All = []Row{
	{"flood", flood},
	{"trickle", trickle},
	{"sse", sse},
	{"batched", batched},
	{"idle", idle},
	{"stalled", stalled},
	{"slow", slow},
	{"storm", storm},
	{"deflate", deflate},
	{"secured", secured},
	{"watch", watch},
	{"latest", latest},
	{"cluster", cluster},
	{"input", input},
	{"broker", broker},
	{"encoder", encoder},
}

const iotcast = "iotcast"

// pick is those of the row's peers that were asked for; of the further ones,
// those that were asked for by name.
func (b *Bench) pick(peers []string, further ...string) (picked []string) {
	if len(b.Peers) == 0 {
		return peers
	}
	for _, p := range slices.Concat(peers, further) {
		if slices.Contains(b.Peers, p) {
			picked = append(picked, p)
		}
	}
	return picked
}

// connections and phase scale a row down for a smoke run.
func (b *Bench) connections(n int) int {
	if b.Quick {
		return 200
	}
	return n
}

// many is connections for a case that differs from another by their number.
func (b *Bench) many(n int) int {
	if b.Quick {
		return 300
	}
	return n
}

func (b *Bench) phase(d time.Duration) time.Duration {
	if b.Quick {
		return d / 20
	}
	return d
}

// start starts a server by its peer's name.
func (b *Bench) start(peer string, o lab.Options) (*lab.Site, error) {
	if peer == iotcast {
		return b.Lab.StartIotcast(o)
	}
	return b.Lab.StartPeer(peer)
}

// measure takes one sample and clears the bench after it.
func (b *Bench) measure(k report.Key, repetition int, do func() (report.Values, error)) {
	if b.Lab.Interrupted() != nil {
		return
	}
	begun := time.Now()
	values, err := do()
	b.Lab.KillAll()
	s := report.Sample{Key: k, Repetition: repetition + 1, Values: values}
	note := describe(values)
	if err != nil {
		s.Values, s.Failure = nil, err.Error()
		note = "FAILED: " + s.Failure
	}
	b.Report.Add(s)
	fmt.Fprintf(os.Stderr, "%s  %-8s %d/%d  %-28s %-10s %s (%.0f s)\n", begun.Format(time.TimeOnly),
		k.Row, repetition+1, b.Repetitions, k.Case, k.Peer, note, time.Since(begun).Seconds())
}

func describe(v report.Values) string {
	var parts []string
	for _, name := range []string{
		"cpu", "rate", "p50", "p99", "rss", "rss_pinged", "seconds", "closed", "dropped", "late_max", "growth", "few",
		"trigger", "nats", "gateway", "first", "again",
	} {
		if value, ok := v[name]; ok {
			parts = append(parts, fmt.Sprintf("%s=%.4g", name, value))
		}
	}
	return strings.Join(parts, " ")
}

// repeat runs once for each repetition, so that what drifts on the machine hits
// all peers alike. It ends early when the bench is interrupted.
func (b *Bench) repeat(do func(repetition int) error) error {
	for r := range b.Repetitions {
		if err := do(r); err != nil {
			return err
		}
		if err := b.Lab.Interrupted(); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bench) title(format string, args ...any) {
	fmt.Fprintf(b.Out, "## "+format+"\n\n", args...)
}

// judge notes a goal of the form: a peer's figure, at most so many times that
// of another.
func (b *Bench) judge(row, text string, k, base report.Key, value string, limit float64) {
	ratio, ok := b.Report.Ratio(k, base, value)
	b.Report.Judged(row, text, limit, ratio, " ×", ok)
}

func connectionsCase(n int) string { return fmt.Sprintf("N=%d", n) }
