package gateway

import (
	"fmt"

	"github.com/iotcast/iotcast/internal/fanout"
)

// gapMessage makes the message that tells a client that it has missed others. It is an
// envelope without messages, so a client that does not care about gaps needs no code for
// it.
func gapMessage(reason fanout.GapReason, dropped uint64) []byte {
	if reason == fanout.GapSlowConsumer {
		return fmt.Appendf(nil, `{"messages":[],"gap":{"reason":"%s","dropped":%d}}`, reason, dropped)
	}
	return fmt.Appendf(nil, `{"messages":[],"gap":{"reason":"%s"}}`, reason)
}
