package iotmqtt

import (
	"errors"
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/bloblang"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/plugins/internal/duration"
)

// filterProblem is a Bloblang method, since that is what lint rules are written in. It lets them say what the input would.
const filterProblem = "iot_topic_filter_problem"

// fieldProblem is one for other fields.
const fieldProblem = "iot_mqtt_field_problem"

func registerFieldProblem() {
	spec := bloblang.NewPluginSpec().
		Category("IoT").
		Description("Tells what is wrong with the value of a field of the input `iot_mqtt`. The result is empty if there is nothing wrong, and never holds the value, since a URL may hold a password.").
		Param(bloblang.NewStringParam("field").Description("Which field: `urls` (one entry of it), `keepalive`, `connect_timeout`, `session_expiry` or `leases.duration`.")).
		Example("", `root = this.url.iot_mqtt_field_problem("urls")`,
			[2]string{`{"url":"tcp://localhost:1883"}`, `""`},
			[2]string{`{"url":"ssl://"}`, `"a URL without a host: write it like ssl://localhost"`})
	bloblang.MustRegisterMethodV2(fieldProblem, spec, func(args *bloblang.ParsedParams) (bloblang.Method, error) {
		field, err := args.GetString("field")
		if err != nil {
			return nil, err
		}
		return bloblang.StringMethod(func(value string) (any, error) {
			if err := checkField(field, value); err != nil {
				return err.Error(), nil
			}
			return "", nil
		}), nil
	})
}

func checkField(field, value string) error {
	if field == fieldURLs {
		_, err := mqttclient.ParseURLs(value)
		return err
	}
	if field == fieldSessionExpiry && value == "" {
		return nil // it does not expire
	}
	d, err := duration.Parse(field, value)
	if err != nil {
		return err
	}
	return checkDuration(field, d)
}

func checkDuration(field string, d time.Duration) error {
	switch {
	case field == fieldKeepAlive && d < 2*time.Second:
		return fmt.Errorf("%s must be at least 2s, not %v", field, d)
	case field == fieldLeases+"."+fieldLeaseDuration && d < 3*time.Second:
		return fmt.Errorf("%s must be at least 3s, not %v", field, d)
	case field == fieldSessionExpiry && d <= 0:
		return errors.New(errNoExpiry)
	case field == fieldConnectTimeout && d <= 0:
		return fmt.Errorf("%s must be positive, not %v", field, d)
	}
	return nil
}

// fieldLint is the lint rule for a text, or each of a list.
func fieldLint(field string) string {
	return fmt.Sprintf(`root = if this.type() == "string" && this.%[1]s(%[2]q) != "" { this.%[1]s(%[2]q) }`, fieldProblem, field)
}

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
