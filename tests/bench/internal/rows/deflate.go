package rows

import (
	"fmt"

	"iotcast/tests/bench/internal/lab"
	"iotcast/tests/bench/internal/report"
)

const fieldCompression = "compression" // of a gateway

// deflate: the batched flood with clients that offer permessage-deflate.
func deflate(b *Bench) error {
	if len(b.pick([]string{iotcast})) == 0 {
		return nil
	}
	n := b.connections(1000)
	b.title("deflate: the batched flood, compressed, N=%d", n)
	if !b.Lab.Accepts(lab.Options{Gateway: lab.Map{fieldCompression: true}}) {
		fmt.Fprintf(b.Out, "Not implemented: a gateway has no field `%s`.\n\n", fieldCompression)
		return nil
	}
	err := b.repeat(func(repetition int) error {
		for _, on := range []bool{false, true} {
			k := report.Key{Row: "deflate", Case: fmt.Sprintf("%s: %v", fieldCompression, on), Peer: iotcast}
			b.measure(k, repetition, func() (report.Values, error) {
				site, err := b.start(iotcast, lab.Options{
					Input:   lab.Map{"batching": lab.Map{"count": 10, "period": "100ms"}},
					Gateway: lab.Map{fieldCompression: on},
				})
				if err != nil {
					return nil, err
				}
				l := b.closedLoop(n, 10*window)
				l.deflate = on
				return b.fanOut(site, l)
			})
		}
		return nil
	})
	b.Report.Table(b.Out, "deflate", floodColumns)
	return err
}
