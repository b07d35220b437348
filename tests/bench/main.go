// Command bench measures what iotcast costs, next to bare sockets and other
// servers, on the loopback of this machine. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/fleet"
	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/peers"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
	"github.com/iotcast/iotcast/tests/bench/internal/rows"
	"github.com/iotcast/iotcast/tests/bench/internal/swarm"
)

// parts are what this program is when it starts itself.
var parts = map[string]func(args []string) error{
	lab.PartSwarm:     swarm.Main,
	lab.PartPublisher: publisher.Main,
	lab.PartPeer:      peers.Main,
	lab.PartFleet:     fleet.Main,
}

func main() {
	do := run
	args := os.Args[1:]
	if len(args) == 2 && parts[args[0]] != nil {
		do, args = parts[args[0]], args[1:]
	}
	if err := do(args); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	var names []string
	for _, r := range rows.All {
		names = append(names, r.Name)
	}
	repetitions := flags.Int("reps", 3, "repetitions, of which the medians are printed")
	only := flags.String("only", "", "comma-separated rows instead of all: "+strings.Join(names, ","))
	chosen := flags.String("peers", "", "comma-separated peers instead of those of each row: raw,raw-batch,gws,coder,centrifuge,gateway,mosquitto,nats,iotcast")
	quick := flags.Bool("quick", false, "one short repetition with few connections: shows that all works, its figures mean nothing")
	file := flags.String("json", "", "write every measurement to this file, too")
	_ = flags.Parse(args)
	if *quick {
		*repetitions = 1
	}
	todo := split(*only)
	for _, name := range todo {
		if !slices.Contains(names, name) {
			return fmt.Errorf("unknown row %q: there are %s", name, strings.Join(names, ", "))
		}
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Fprintln(os.Stderr, "building iotcast")
	files := uint64(16_000) // for 15,000 connections
	if *quick {
		files = 1000
	}
	l, err := lab.New(ctx, files)
	if err != nil {
		return err
	}
	defer l.Close()
	b := &rows.Bench{
		Lab: l, Report: &report.Report{Judge: !*quick}, Repetitions: max(1, *repetitions),
		Quick: *quick, Peers: split(*chosen), Out: os.Stdout,
	}
	begun := time.Now()
	fmt.Printf("# iotcast bench, %s, %d cores, %s\n\n", begun.Format(time.DateOnly), runtime.NumCPU(), runtime.Version())
	for _, r := range rows.All {
		if len(todo) > 0 && !slices.Contains(todo, r.Name) {
			continue
		}
		if err := r.Run(b); err != nil {
			return err
		}
	}
	fmt.Printf("## All goals\n\n")
	b.Report.PrintGoals(os.Stdout, "")
	fmt.Fprintf(os.Stderr, "took %.0f s\n", time.Since(begun).Seconds())
	if *file != "" {
		if err := save(b.Report, *file); err != nil {
			return err
		}
	}
	if n := b.Report.Failures(); n > 0 {
		return fmt.Errorf("%d measurements failed", n)
	}
	return nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func save(r *report.Report, file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return r.JSON(f)
}
