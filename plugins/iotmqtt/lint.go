package iotmqtt

import (
	"github.com/redpanda-data/benthos/v4/public/bloblang"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// filterProblem is a Bloblang method, since that is what lint rules are written in. It lets them say what the input would.
const filterProblem = "iot_topic_filter_problem"

func registerFilterProblem() {
	spec := bloblang.NewPluginSpec().
		Category("IoT").
		Description("Tells why a trigger cannot subscribe to an MQTT topic filter, or that no topic can match it. The result is empty if there is nothing wrong.").
		Param(bloblang.NewStringParam("source").Description("Whose topics they are: `device` or `broker`.").Default(string(iotcore.Device))).
		Example("", `root = this.filter.iot_topic_filter_problem()`,
			[2]string{`{"filter":"$devices/+/events/#"}`, `""`},
			[2]string{`{"filter":"$devices/+"}`, `"topic filter \"$devices/+\": can match nothing, since a topic under $devices has at least three levels: add levels, or end it with /#"`})
	bloblang.MustRegisterMethodV2(filterProblem, spec, func(args *bloblang.ParsedParams) (bloblang.Method, error) {
		source, err := args.GetString("source")
		if err != nil {
			return nil, err
		}
		return bloblang.StringMethod(func(filter string) (any, error) {
			if err := iotcore.ValidateFilter(iotcore.Source(source), filter); err != nil {
				return err.Error(), nil
			}
			return "", nil
		}), nil
	})
}

// topicsLint is run on the list and on each topic filter, which is why it does not know the source: what is wrong with a
// filter of a device source is wrong with one of a broker source as well, see brokerTopicsLint.
const topicsLint = `root = if this.type() == "string" && this.` + filterProblem + `() != "" { this.` + filterProblem + `() }`

// brokerTopicsLint is the problems of the filters of a broker source that topicsLint does not find.
const brokerTopicsLint = `this.topics.or([]).
    filter(f -> f.type() == "string" && f.` + filterProblem + `() == "").
    map_each(f -> f.` + filterProblem + `("broker")).
    filter(problem -> problem != "")`
