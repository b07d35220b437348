// Command capacity writes docs/capacity.md: how many nodes a number of connections
// needs, from what was measured, and what a simulation makes of it when one dies.
//
//	go run ./docs/capacity          writes the page
//	go run ./docs/capacity -check   fails if it is not as it would write it
package main

import (
	"bytes"
	_ "embed" // for the page
	"errors"
	"flag"
	"fmt"
	"os"
	"text/template"
)

//go:embed page.md.tmpl
var page string

func main() {
	check := flag.Bool("check", false, "compare the page with what would be written, and write nothing")
	path := flag.String("page", "docs/capacity.md", "the `file` of the page")
	flag.Parse()
	if err := run(*path, *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path string, check bool) error {
	want, err := render()
	if err != nil {
		return err
	}
	if !check {
		return os.WriteFile(path, want, 0o644)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New(path + " is stale. Mend it with: go run ./docs/capacity")
	}
	return nil
}

// row is one line of the table.
type row struct {
	Load
	Plan
	Outage
}

// GroupConnections are those of one group.
func (r row) GroupConnections() int { return r.Connections / r.Groups }

// ReadPercent is Plan.ReadShare for readers.
func (r row) ReadPercent() float64 { return 100 * r.ReadShare }

// PeakPercent is Outage.Peak for readers.
func (r row) PeakPercent() float64 { return 100 * r.Peak }

// UsePercent is Use for readers.
func (m Machine) UsePercent() float64 { return 100 * m.Use }

// UseMemoryPercent is UseMemory for readers.
func (m Machine) UseMemoryPercent() float64 { return 100 * m.UseMemory }

func render() ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{"count": count, "bits": bits}).Parse(page)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, l := range loads {
		p := plan(l, machine, measured)
		rows = append(rows, row{l, p, simulate(l, p, machine, measured)})
	}
	var out bytes.Buffer
	err = t.Execute(&out, struct {
		Measured    Measured
		Machine     Machine
		Rows        []row
		RetryWithin float64
	}{measured, machine, rows, retryWithin})
	return out.Bytes(), err
}

// count writes a large number for readers.
func count(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%d million", n/1_000_000)
	case n >= 10_000:
		return fmt.Sprintf("%d thousand", (n+500)/1000)
	}
	return fmt.Sprint(n)
}

// bits writes bytes a second as a bandwidth.
func bits(bytes float64) string {
	b := 8 * bytes
	for _, unit := range []string{"bit/s", "kbit/s", "Mbit/s", "Gbit/s"} {
		if b < 1000 {
			return fmt.Sprintf("%.3g %s", b, unit)
		}
		b /= 1000
	}
	return fmt.Sprintf("%.3g Tbit/s", b)
}
