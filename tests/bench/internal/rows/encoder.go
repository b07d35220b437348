package rows

import (
	"bufio"
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/iotcast/iotcast/tests/bench/internal/report"
)

// encoder: the project's own benchmarks of the envelope, against the Bloblang
// mapping that gives the same.
func encoder(b *Bench) error {
	if len(b.pick([]string{iotcast})) == 0 {
		return nil
	}
	duration := "500ms"
	if b.Quick {
		duration = "20ms"
	}
	out, err := b.Lab.Run("go", "test", "-C", b.Lab.Root, "-run", "^$", "-bench", ".", "-benchmem",
		"-benchtime", duration, "-count", strconv.Itoa(b.Repetitions), "./internal/envelope", "./plugins/iottrigger")
	b.title("encoder: the envelope, by `go test -bench`")
	if err != nil {
		b.Report.Add(report.Sample{Key: report.Key{Row: "encoder", Case: "all", Peer: "go test"}, Failure: fmt.Sprintf("%v: %.300s", err, out)})
	}
	b.parse(out)
	b.Report.Table(b.Out, "encoder", []report.Column{
		{Title: "ns a message", Value: "ns", Format: "%.0f", Spread: true},
		{Title: "allocations a message", Value: "allocs", Format: "%.2f"},
		{Title: "to the mapping", Value: "ns", Base: "BloblangMapping"},
	})
	return nil
}

var benchmarkLine = regexp.MustCompile(`^Benchmark(\w+?)(?:/([\w.]+?))?(?:-\d+)?\s+\d+\s+(.*)$`)

// parse takes in the lines of go test: a name, the number of iterations, and
// pairs of a figure and its unit.
func (b *Bench) parse(out []byte) {
	runs := map[report.Key]int{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		match := benchmarkLine.FindStringSubmatch(lines.Text())
		if match == nil {
			continue
		}
		units := report.Values{}
		fields := strings.Fields(match[3])
		for i := 0; i+1 < len(fields); i += 2 {
			units[fields[i+1]], _ = strconv.ParseFloat(fields[i], 64)
		}
		values := report.Values{"ns": units["ns/op"], "allocs": units["allocs/op"]}
		if perMessage := units["ns/msg"]; perMessage > 0 {
			// The benchmark is of a batch.
			values["ns"], values["allocs"] = perMessage, units["allocs/op"]*perMessage/units["ns/op"]
		}
		k := report.Key{Row: "encoder", Case: caseOf(match[1], match[2], units["ns/msg"] > 0), Peer: match[1]}
		runs[k]++
		b.Report.Add(report.Sample{Key: k, Repetition: runs[k], Values: values})
	}
}

// caseOf says what the part of a benchmark's name behind the slash is: the size
// of a batch, or that of a payload.
func caseOf(benchmark, part string, batch bool) string {
	switch {
	case part == "" && batch:
		return "batch of 100"
	case part == "":
		return "one message"
	case benchmark == "AppendMessage":
		return "payload of " + part
	}
	return "batch of " + part
}
