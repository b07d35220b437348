package rows

import (
	"fmt"
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
)

const fieldCompression = "compression" // of a gateway

// deflate: a trickle of large envelopes to clients that offer permessage-deflate.
func deflate(b *Bench) error {
	if len(b.pick([]string{iotcast})) == 0 {
		return nil
	}
	n := b.connections(1000)
	b.title("deflate: 20 envelopes of 5 KiB a second, compressed, N=%d", n)
	if !b.Lab.Accepts(lab.Options{Gateway: lab.Map{fieldCompression: true}}) {
		fmt.Fprintf(b.Out, "Not implemented: a gateway has no field `%s`.\n\n", fieldCompression)
		return nil
	}
	key := func(on bool) report.Key {
		return report.Key{Row: "deflate", Case: fmt.Sprintf("%s: %v", fieldCompression, on), Peer: iotcast}
	}
	err := b.repeat(func(repetition int) error {
		for _, on := range []bool{false, true} {
			b.measure(key(on), repetition, func() (report.Values, error) {
				site, err := b.start(iotcast, lab.Options{Gateway: lab.Map{fieldCompression: on}})
				if err != nil {
					return nil, err
				}
				return b.fanOut(site, load{
					readers:  n,
					payload:  3600, // 4,800 bytes in base64, and 300 around them
					warm:     publisher.Order{Rate: 20, For: b.phase(time.Second)},
					measured: publisher.Order{Rate: 20, For: b.phase(5 * time.Second)},
					deflate:  on,
				})
			})
		}
		return nil
	})
	b.Report.Table(b.Out, "deflate", []report.Column{
		{Title: "CPU s a million", Value: "cpu", Format: "%.2f", Spread: true},
		{Title: "bytes a delivery", Value: "bytes", Format: "%.0f"},
	})
	b.judge("deflate", "CPU to that uncompressed", key(true), key(false), "cpu", 1.3)
	b.judge("deflate", "bytes to those uncompressed", key(true), key(false), "bytes", 1./3)
	b.Report.PrintGoals(b.Out, "deflate")
	return err
}
