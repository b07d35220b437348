// Package triggers makes the Benthos stream of a trigger: its rule, put into a template.
package triggers

import (
	"errors"
	"fmt"
	"slices"
	"time"

	api "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/iotcast/iotcast/internal/iotcore"
)

const (
	defaultSize   = 1
	defaultCutoff = time.Second
)

// Rule is what a trigger listens to, and where it sends, for all kinds of rules that there are here.
type Rule struct {
	Path       string // of the field that it stands in, such as rule.iot_message
	Source     iotcore.Source
	RegistryID string // of a device source
	DeviceID   string // of a device source; empty: all devices of the registry
	BrokerID   string // of a broker source
	Topic      string // empty: all topics
	Batch      *api.BatchSettings
	Action     *api.GatewayWebsocketBroadcast
}

// ErrUnknown is about a rule or an action that the original has and that there is not here.
var ErrUnknown = errors.New("is not offered")

// RuleOf reads a rule.
func RuleOf(r *api.Trigger_Rule) (rule Rule, err error) {
	var action string // another one, if there is one
	switch kind := r.GetRule().(type) {
	case *api.Trigger_Rule_IotMessage:
		m := kind.IotMessage
		rule = Rule{
			Source: iotcore.Device, RegistryID: m.RegistryId, DeviceID: m.DeviceId, Topic: m.MqttTopic,
			Batch: m.BatchSettings, Action: m.GetGatewayWebsocketBroadcast(),
		}
		action = chosen(m, "action")
	case *api.Trigger_Rule_IotBrokerMessage:
		m := kind.IotBrokerMessage
		rule = Rule{
			Source: iotcore.Broker, BrokerID: m.BrokerId, Topic: m.MqttTopic,
			Batch: m.BatchSettings, Action: m.GetGatewayWebsocketBroadcast(),
		}
		action = chosen(m, "action")
	case nil:
		return rule, errors.New("rule is missing: give rule.iot_message or rule.iot_broker_message")
	default:
		return rule, fmt.Errorf("rule.%s %w: the rules here are iot_message and iot_broker_message", chosen(r, "rule"), ErrUnknown)
	}
	rule.Path = "rule." + chosen(r, "rule")
	if rule.Action == nil {
		return rule, fmt.Errorf("%s.%s %w: the action here is gateway_websocket_broadcast", rule.Path, action, ErrUnknown)
	}
	return rule, nil
}

// chosen names the one field of several that is set.
func chosen(m interface{ ProtoReflect() protoreflect.Message }, oneof protoreflect.Name) string {
	r := m.ProtoReflect()
	if field := r.WhichOneof(r.Descriptor().Oneofs().ByName(oneof)); field != nil {
		return string(field.Name())
	}
	return string(oneof)
}

// Complete fills in what a rule leaves to its defaults.
func Complete(r *api.Trigger_Rule) {
	var batch **api.BatchSettings
	switch kind := r.GetRule().(type) {
	case *api.Trigger_Rule_IotMessage:
		batch = &kind.IotMessage.BatchSettings
	case *api.Trigger_Rule_IotBrokerMessage:
		batch = &kind.IotBrokerMessage.BatchSettings
	default:
		return
	}
	if *batch == nil {
		*batch = new(api.BatchSettings)
	}
	if (*batch).Size == 0 {
		(*batch).Size = defaultSize
	}
	if (*batch).Cutoff == nil {
		(*batch).Cutoff = durationpb.New(defaultCutoff)
	}
}

// User is whom a trigger logs in as where the MQTT broker goes by registries and brokers.
func (r Rule) User() string {
	if r.Source == iotcore.Broker {
		return r.BrokerID
	}
	return r.RegistryID
}

// Filters are those that a trigger subscribes to.
func (r Rule) Filters() []string {
	if r.Topic != "" {
		return []string{r.Topic}
	}
	return iotcore.DefaultFilters(r.Source, r.RegistryID, r.DeviceID)
}

// Gone are the filters to unsubscribe from when a rule changes. The MQTT broker keeps the subscriptions of a session, also those
// of the rules before, which are gone already.
func Gone(from, to Rule, before []string) (gone []string) {
	now := to.Filters()
	for _, f := range append(slices.Clone(before), from.Filters()...) {
		if !slices.Contains(now, f) && !slices.Contains(gone, f) {
			gone = append(gone, f)
		}
	}
	return gone
}
