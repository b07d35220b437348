package envelopelog

import (
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
)

// windowProblem is a Bloblang method, for a lint rule: Bloblang itself cannot compare
// durations unless more of Benthos is linked than lint needs.
const windowProblem = "envelope_log_window_problem"

func registerWindowProblem() {
	spec := bloblang.NewPluginSpec().
		Category("IoT").
		Description("Tells what is wrong with `duplicate_window` of the output `envelope_log`, beside `max_age`. The result is empty if there is nothing wrong.").
		Param(bloblang.NewStringParam("max_age").Description("The other field.")).
		Example("", `root = this.window.envelope_log_window_problem("5m")`,
			[2]string{`{"window":"2m"}`, `""`},
			[2]string{`{"window":"10m"}`, `"` + errWindow + `"`})
	bloblang.MustRegisterMethodV2(windowProblem, spec, func(args *bloblang.ParsedParams) (bloblang.Method, error) {
		text, err := args.GetString("max_age")
		if err != nil {
			return nil, err
		}
		age, _ := time.ParseDuration(text) // what is no duration is another rule's
		return bloblang.StringMethod(func(text string) (any, error) {
			if window, _ := time.ParseDuration(text); age > 0 && window > age {
				return errWindow, nil
			}
			return "", nil
		}), nil
	})
}
