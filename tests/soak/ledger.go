package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"text/tabwriter"
)

// settle prints the ledger, and returns what is wrong with it.
func (s *soak) settle() error {
	fmt.Println("\nFaults:")
	names := make([]string, 0, len(s.counts))
	for name := range s.counts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Printf("%6d  %s\n", s.counts[name], name)
	}
	accepted, inDoubt := s.publisher.Accepted(), s.publisher.InDoubt()
	fmt.Printf("\nPublished %d, accepted %d.\n\n", s.publisher.Sent(), accepted)

	var errs []error
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "client\tentitled\tdelivered\tduplicated\tmissed, told\tmissed, broker\tlost\tout of order\tgaps told\tconnections\t")
	for _, l := range s.listeners {
		books := l.Books()
		if books.First < 0 {
			continue // it came and went without a message
		}
		end := accepted
		if l.left {
			end = l.Top() + 1
		}
		told, broker, lost := 0, 0, []int{}
		for _, n := range books.Missing(end) {
			switch {
			case n < books.First: // before it came
			case books.Told(n):
				told++
			case slices.Contains(inDoubt, n):
				// mosquitto answers before it has saved: the last message that it
				// accepted before it was killed is its own loss.
				broker++
			default:
				lost = append(lost, n)
			}
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", l.name, end-books.First, books.Arrived-books.Twice-books.Earlier, books.Twice+books.Earlier,
			told, broker, len(lost), books.OutOfOrder, len(books.Gaps), books.Connections)
		if len(lost) > 0 {
			errs = append(errs, fmt.Errorf("client %s: %d messages were lost without a word: %v; gaps %v", l.name, len(lost), lost, books.Gaps))
		}
		if l.node == s.site.durable && len(books.Gaps) > 0 {
			errs = append(errs, fmt.Errorf("client %s: a gap, though the history is durable: %v", l.name, books.Gaps))
		}
		if books.OutOfOrder > 0 {
			errs = append(errs, fmt.Errorf("client %s: %d messages came after later ones of their topic", l.name, books.OutOfOrder))
		}
		if books.Failure != "" {
			errs = append(errs, fmt.Errorf("client %s: %s", l.name, books.Failure))
		}
	}
	_ = w.Flush()
	return errors.Join(errs...)
}

func (s *soak) sizes() (sizes []size, err error) {
	for _, n := range s.site.nodes() {
		z, err := n.size()
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, z)
	}
	return sizes, nil
}

// What may be more in the end than when the last third began: goroutines of
// connections that come or go just then, and memory for what the history gets, as
// often as the garbage collector lets it be there.
const (
	moreGoroutines = 20
	moreMemory     = 48 << 20
	historyCopies  = 3
)

func (s *soak) checkSizes(before, after []size) error {
	var errs []error
	fmt.Println()
	for i, n := range s.site.nodes() {
		b, a := before[i], after[i]
		fmt.Printf("%s: %.0f MB and %.0f goroutines when the last third began, %.0f MB and %.0f at the end\n",
			n.name, b.memory/1e6, b.goroutines, a.memory/1e6, a.goroutines)
		if a.goroutines > b.goroutines+moreGoroutines {
			errs = append(errs, fmt.Errorf("%s: goroutines have grown from %.0f to %.0f", n.name, b.goroutines, a.goroutines))
		}
		if a.memory > b.memory+moreMemory+float64(historyCopies*n.history) {
			errs = append(errs, fmt.Errorf("%s: memory has grown from %.0f to %.0f MB", n.name, b.memory/1e6, a.memory/1e6))
		}
	}
	return errors.Join(errs...)
}
