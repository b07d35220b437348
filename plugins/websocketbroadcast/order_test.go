package websocketbroadcast

import (
	"testing"
	"testing/synctest"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/plugins/internal/order"
)

// TestBatchesKeepTheirOrderBeforeTheFirstConnect: an input that resumes a session
// has batches on their way before the output has connected, and none may overtake
// another then.
func TestBatchesKeepTheirOrderBeforeTheFirstConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res := service.MockResources()
		conf, err := Spec().ParseYAML("{ gateway: main, path: /telemetry }", nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := newOutput(conf, res)
		if err != nil {
			t.Fatal(err)
		}
		first := order.NewLine(order.StreamOf(res)).First()
		second, waited := first.Next(), make(chan struct{})
		go func() {
			second.Wait(t.Context())
			close(waited)
		}()
		synctest.Wait()
		select {
		case <-waited:
			t.Error("the second batch did not wait for the first")
		default:
		}
		first.Taken()
		<-waited
		if err := out.Close(t.Context()); err != nil {
			t.Error(err)
		}
		first = second.Next()
		first.Next().Wait(t.Context()) // not for an output that has gone
	})
}
