package gateway

import (
	"fmt"

	"github.com/iotcast/iotcast/internal/fanout"
)

// gapMessage tells a client that it has missed messages: an envelope without
// messages, so that one that does not care of gaps needs no code for it.
func gapMessage(reason fanout.GapReason, dropped uint64) []byte {
	if reason == fanout.GapSlowConsumer {
		return fmt.Appendf(nil, `{"messages":[],"gap":{"reason":"%s","dropped":%d}}`, reason, dropped)
	}
	return fmt.Appendf(nil, `{"messages":[],"gap":{"reason":"%s"}}`, reason)
}
