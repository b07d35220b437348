package iotmqtt

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/mqttclient"
)

// sieve keeps back what the broker sends and nobody has asked for. Benthos calls
// Connect and ReadBatch one at a time, so it needs no lock.
type sieve struct {
	session mqttclient.Config
	meta    *metadata
	repeats *service.MetricCounter
	log     *slog.Logger
	tapped  *tapped

	had      []string // topic filters of which the session has had the retained messages
	repeated bool     // told that those of this session came again
	foreign  bool     // told that messages came which no filter covers
}

// begin is for the messages of a new session.
func (v *sieve) begin(s *mqttclient.Session) { v.had, v.repeated = v.retainedBefore(s), false }

// retainedBefore are the topic filters of a resumed session whose retained messages
// it has had. SUBSCRIBE brings them once more [MQTT-3.8.4-3], and cannot be left out:
// a broker that has crashed may remember the session and not its last subscriptions.
// What they were, only the process knows that has subscribed; with another, a
// session is taken to have had them all.
func (v *sieve) retainedBefore(s *mqttclient.Session) []string {
	if v.session.CleanSession {
		return nil
	}
	switch had := subscribed.swap(v.session); {
	case !s.Resumed:
		return nil
	case had == nil:
		return v.session.Filters
	default:
		return had
	}
}

// wants reports whether a message goes on. What does not is acknowledged.
func (v *sieve) wants(m *mqttclient.Message) bool {
	reason := v.unwanted(m)
	if reason != "" && v.tapped.tap.On() {
		v.tapped.leftOut(m, reason)
	}
	return reason == ""
}

// unwanted is why a message does not go on, "" if it does.
func (v *sieve) unwanted(m *mqttclient.Message) string {
	v.meta.refresh()
	switch {
	case !v.meta.covers(m.Topic):
		if !v.foreign {
			v.foreign = true
			v.log.Warn("The MQTT broker sends messages that no topic filter covers: they are left out. "+v.whyForeign(m.Topic), "topic", m.Topic)
		}
		return "no topic filter covers it"
	case m.Retained && !m.Duplicate && match(v.had, m.Topic):
		if !v.repeated {
			v.repeated = true
			v.log.Info("The MQTT broker sends retained messages once more, since the session was resumed: they are left out")
		}
		v.repeats.Incr(1)
		return "it is retained, and the session had got it before"
	}
	return v.meta.foreign(m)
}

// whyForeign is why a broker may send what no filter covers. That a wildcard in the first level covers no topics that begin
// with $ [MQTT-4.7.2-1], NATS 2.9 and RabbitMQ 3.10 do not know.
func (v *sieve) whyForeign(topic string) string {
	begins := func(filter string) bool { return strings.IndexAny(unshared(filter), "#+") == 0 }
	if strings.HasPrefix(topic, "$") && slices.ContainsFunc(v.session.Filters, begins) {
		return "It takes a filter that begins with a wildcard for one of topics that begin with $, too: narrower filters save what that costs"
	}
	return "It may go on with a subscription from before: name its filter in the field unsubscribe, or take another client_id"
}
