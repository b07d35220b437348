package report

import (
	"fmt"
	"io"
	"strings"
)

// Column is one value of a table.
type Column struct {
	Title  string
	Value  string
	Format string  // of the figure, such as %.2f
	Scale  float64 // 0: as it is
	Spread bool    // with the least and the greatest of the repetitions
	Base   string  // a peer: print the ratio against it, within the same case
}

// Table prints the medians of a row, a line for each case and peer, in the
// order in which they were first measured.
func (r *Report) Table(w io.Writer, row string, columns []Column) {
	titles := []string{"case", "peer"}
	for _, c := range columns {
		titles = append(titles, c.Title)
	}
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(titles, " | "), strings.Repeat("---|", len(titles)))
	seen := map[Key]bool{}
	for _, s := range r.Samples {
		if s.Row != row || seen[s.Key] {
			continue
		}
		seen[s.Key] = true
		cells := []string{s.Case, s.Peer}
		for _, c := range columns {
			cells = append(cells, r.cell(s.Key, c))
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	fmt.Fprintln(w)
	for _, s := range r.Samples {
		if s.Row == row && s.Failure != "" {
			fmt.Fprintf(w, "- Failed: %s, %s, repetition %d: %s\n", s.Peer, s.Case, s.Repetition, s.Failure)
		}
	}
}

func (r *Report) cell(k Key, c Column) string {
	if c.Base != "" {
		base := k
		base.Peer = c.Base
		if ratio, ok := r.Ratio(k, base, c.Value); ok {
			return fmt.Sprintf("%.2f", ratio)
		}
		return "–"
	}
	median, ok := r.Median(k, c.Value)
	if !ok {
		return "–"
	}
	scale := c.Scale
	if scale == 0 {
		scale = 1
	}
	text := fmt.Sprintf(c.Format, median*scale)
	if all := r.series(k, c.Value); c.Spread && len(all) > 1 {
		text += fmt.Sprintf(" ("+c.Format+"–"+c.Format+")", all[0]*scale, all[len(all)-1]*scale)
	}
	return text
}
