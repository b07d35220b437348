package gateway

import (
	"time"

	"github.com/iotcast/iotcast/internal/fanout"
)

// The defaults of a gateway and its routes, in YAML and in Go.
const (
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultHistoryBytes     = 64 << 20 // of a history that is bounded by a number of messages or an age alone
	DefaultLatestKeys       = 100_000
	DefaultLatestBytes      = 64 << 20
)

// MinQueueBytes is the least that fanout.Limits.QueueBytes may be. It leaves room for a
// few messages, whatever the policy.
const MinQueueBytes = 16 << 10

// DefaultLimits returns the limits of a connection.
func DefaultLimits() fanout.Limits {
	return fanout.Limits{
		QueueBytes:      8 << 20,
		MaxMessageBytes: 128 << 10,
		PingInterval:    30 * time.Second,
		IdleTimeout:     10 * time.Minute,
		MaxLifetime:     time.Hour,
	}
}
