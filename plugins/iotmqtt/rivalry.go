package iotmqtt

import (
	"context"
	"log/slog"
	"time"
)

// rivalry keeps two clients with the same client ID from throwing each other off
// the broker as fast as they can connect: it must disconnect the one that it knows
// when the other comes [MQTT-3.1.4-2], and in MQTT 3.1.1 it cannot say why. What
// tells is that the broker ends one connection after the other soon after it has
// accepted it, and accepts the next at once.
type rivalry struct {
	row int // connections that were cut short, one after the other
}

const (
	shortLife    = 5 * time.Second
	sureAfter    = 3 // connections: fewer may be chance, as in a network that breaks
	firstRespite = time.Second
	lastRespite  = 30 * time.Second
)

// wait holds the next connection up if the last ones make a rivalry. It warns once
// for each.
func (r *rivalry) wait(ctx context.Context, cutShort bool, log *slog.Logger) error {
	if !cutShort {
		r.row = 0
		return nil
	}
	r.row++
	if r.row < sureAfter {
		return nil
	}
	if r.row == sureAfter {
		log.Warn("The MQTT broker ends each connection soon after it has accepted it, as it does when another client connects with the same client_id: give each client its own. Some brokers do so, too, when the user may not subscribe to a topic filter. Until this one stays connected, it connects less and less often",
			"longest_wait", lastRespite)
	}
	return respite(ctx, r.row-sureAfter, lastRespite)
}

// respite waits before a connection: a second before the first, and before each that follows twice as long, up to most.
func respite(ctx context.Context, before int, most time.Duration) error {
	select {
	case <-time.After(min(firstRespite<<min(before, 8), most)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
