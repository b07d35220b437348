// Command soak runs iotcast for a while under faults at random, and settles the
// accounts: what the broker has accepted, what each client has got, how often, and
// what it was told that it has missed.
//
//	go run ./tests/soak
//
// It ends with status 1 if a message was lost without a word, came out of order,
// or if memory or goroutines grow. It needs Linux, mosquitto and nats-server.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	duration := flag.Duration("duration", 10*time.Minute, "how long to make faults")
	seed := flag.Uint64("seed", rand.Uint64(), "of the faults; the same seed gives the same faults, though not at the same messages")
	rate := flag.Int("rate", 100, "messages a second")
	clients := flag.Int("clients", 4, "WebSocket clients of each of the two processes")
	keep := flag.Bool("keep", false, "keep the directory with the logs of all processes")
	flag.Parse()
	s := &soak{
		random:   rand.New(rand.NewPCG(*seed, 0)),
		duration: *duration, rate: *rate, clients: *clients,
	}
	fmt.Printf("soak: %v, seed %d\n", *duration, *seed)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := s.run(ctx)
	stop()
	if s.site != nil {
		s.site.close(*keep || err != nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}
