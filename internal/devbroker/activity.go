package devbroker

import (
	"errors"
	"time"
)

// Activity is what the broker has seen of a device. A time is zero if it has not been.
type Activity struct {
	LastAuthIP                                                             string
	LastAuthTime, LastPubActivityTime, LastSubActivityTime, LastOnlineTime time.Time
}

// Publish publishes as a registry, a device or a broker would.
func (b *Broker) Publish(_, _ string, _ []byte) error { return errors.ErrUnsupported }

// Activity returns what the broker has seen of a device.
func (b *Broker) Activity(_ string) (Activity, bool) { return Activity{}, false }
