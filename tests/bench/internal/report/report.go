// Package report keeps what was measured and prints it as Markdown.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Key names a series of samples: the same measurement in every repetition.
type Key struct {
	Row  string `json:"row"`
	Case string `json:"case"`
	Peer string `json:"peer"`
}

// Values are the figures of one measurement.
type Values map[string]float64

// Sample is one measurement.
type Sample struct {
	Key
	Repetition int    `json:"repetition"`
	Values     Values `json:"values,omitempty"`
	Failure    string `json:"failure,omitempty"`
}

// Goal is what a figure must not exceed.
type Goal struct {
	Row     string  `json:"row"`
	Text    string  `json:"text"`
	Limit   float64 `json:"limit"`
	Figure  float64 `json:"figure"`
	Unit    string  `json:"unit"`
	Verdict string  `json:"verdict"`
}

// Report is all of a run.
type Report struct {
	Samples []Sample `json:"samples"`
	Goals   []Goal   `json:"goals"`
	Judge   bool     `json:"-"` // false: the run was too short to say
}

// Add notes a measurement.
func (r *Report) Add(s Sample) { r.Samples = append(r.Samples, s) }

// Failures is how many measurements failed.
func (r *Report) Failures() (n int) {
	for _, s := range r.Samples {
		if s.Failure != "" {
			n++
		}
	}
	return n
}

// series is the value's figures in all repetitions, ascending.
func (r *Report) series(k Key, value string) (all []float64) {
	for _, s := range r.Samples {
		if v, ok := s.Values[value]; ok && s.Key == k {
			all = append(all, v)
		}
	}
	slices.Sort(all)
	return all
}

// Median of the repetitions; ok is false if there is none.
func (r *Report) Median(k Key, value string) (median float64, ok bool) {
	all := r.series(k, value)
	n := len(all)
	switch {
	case n == 0:
		return 0, false
	case n%2 == 0:
		return (all[n/2-1] + all[n/2]) / 2, true
	}
	return all[n/2], true
}

// Ratio of two medians.
func (r *Report) Ratio(k, base Key, value string) (ratio float64, ok bool) {
	a, ok := r.Median(k, value)
	b, okBase := r.Median(base, value)
	if !ok || !okBase || b == 0 {
		return 0, false
	}
	return a / b, true
}

// Judged notes a goal with its verdict. known is false when what it needs was
// not measured.
func (r *Report) Judged(row, text string, limit, figure float64, unit string, known bool) {
	g := Goal{Row: row, Text: text, Limit: limit, Figure: figure, Unit: unit}
	switch {
	case !known:
		g.Verdict = "not measured"
	case !r.Judge:
		g.Verdict = "not judged"
	case figure <= limit:
		g.Verdict = "met"
	default:
		g.Verdict = fmt.Sprintf("missed by %.0f %%", max(1, 100*(figure/limit-1)))
	}
	r.Goals = append(r.Goals, g)
}

// PrintGoals prints the verdicts on the goals of a row, of all rows if empty.
func (r *Report) PrintGoals(w io.Writer, row string) {
	var lines []string
	for _, g := range r.Goals {
		if row != "" && g.Row != row {
			continue
		}
		figure := "–"
		if g.Verdict != "not measured" {
			figure = fmt.Sprintf("%.2f%s", g.Figure, g.Unit)
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %.2f%s | %s | %s |", g.Row, g.Text, g.Limit, g.Unit, figure, g.Verdict))
	}
	if len(lines) > 0 {
		fmt.Fprintf(w, "| row | goal | at most | figure | verdict |\n|---|---|---|---|---|\n%s\n\n", strings.Join(lines, "\n"))
	}
}

// JSON writes the whole run.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
