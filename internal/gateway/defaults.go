package gateway

import (
	"time"

	"github.com/iotcast/iotcast/internal/fanout"
)

// What holds on a route of which nothing else is said, in YAML or in Go.
const (
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultHistoryBytes     = 64 << 20 // of a history of which only a number or an age is known
	DefaultLatestKeys       = 100_000
	DefaultLatestBytes      = 64 << 20
)

// MinQueueBytes leaves room for a few messages, whatever the policy.
const MinQueueBytes = 16 << 10

// DefaultLimits are those of a connection.
func DefaultLimits() fanout.Limits {
	return fanout.Limits{
		QueueBytes:      8 << 20,
		MaxMessageBytes: 128 << 10,
		PingInterval:    30 * time.Second,
		IdleTimeout:     10 * time.Minute,
		MaxLifetime:     time.Hour,
	}
}
