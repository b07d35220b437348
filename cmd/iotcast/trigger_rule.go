package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"
	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	flagRegistryID     = "registry-id"
	flagDeviceID       = "device-id"
	flagBrokerID       = "broker-id"
	flagTopic          = "mqtt-topic"
	flagBatchSize      = "batch-size"
	flagBatchCutoff    = "batch-cutoff"
	flagGateway        = "gateway-id"
	flagPath           = "gateway-websocket-broadcast-path"
	flagServiceAccount = "gateway-websocket-broadcast-service-account-id"

	// newPrefix stands before the flags that change a rule: --new-mqtt-topic.
	newPrefix = "new-"
)

// rule is what a trigger listens to and where it sends, of either kind. To change it changes the trigger.
type rule struct {
	registry, device *string // of a rule about devices
	broker           *string // of a rule about a broker
	topic            *string
	batch            *triggers.BatchSettings
	action           *triggers.GatewayWebsocketBroadcast
}

// ruleOf is the rule of a trigger.
func ruleOf(t *triggers.Trigger) (r rule, err error) {
	var batch **triggers.BatchSettings
	path := ""
	switch of := t.GetRule().GetRule().(type) {
	case *triggers.Trigger_Rule_IotMessage:
		m := of.IotMessage
		r = rule{registry: &m.RegistryId, device: &m.DeviceId, topic: &m.MqttTopic, action: m.GetGatewayWebsocketBroadcast()}
		batch, path = &m.BatchSettings, "rule.iot_message"
	case *triggers.Trigger_Rule_IotBrokerMessage:
		m := of.IotBrokerMessage
		r = rule{broker: &m.BrokerId, topic: &m.MqttTopic, action: m.GetGatewayWebsocketBroadcast()}
		batch, path = &m.BatchSettings, "rule.iot_broker_message"
	default:
		return r, errors.New("rule is missing: give rule.iot_message or rule.iot_broker_message")
	}
	if r.action == nil {
		return r, fmt.Errorf("%s.gateway_websocket_broadcast is missing: it says where to send", path)
	}
	if *batch == nil {
		*batch = new(triggers.BatchSettings)
	}
	r.batch = *batch
	return r, nil
}

func (r rule) source() string {
	switch {
	case r.broker != nil:
		return "broker " + *r.broker
	case *r.device != "":
		return "device " + *r.device
	}
	return "registry " + *r.registry
}

// newRule is one for the topics of devices, or of a broker.
func newRule(ofBroker bool) *triggers.Trigger_Rule {
	action := new(triggers.GatewayWebsocketBroadcast)
	if ofBroker {
		return &triggers.Trigger_Rule{Rule: &triggers.Trigger_Rule_IotBrokerMessage{IotBrokerMessage: &triggers.Trigger_IoTBrokerMessage{
			Action: &triggers.Trigger_IoTBrokerMessage_GatewayWebsocketBroadcast{GatewayWebsocketBroadcast: action},
		}}}
	}
	return &triggers.Trigger_Rule{Rule: &triggers.Trigger_Rule_IotMessage{IotMessage: &triggers.Trigger_IoTMessage{
		Action: &triggers.Trigger_IoTMessage_GatewayWebsocketBroadcast{GatewayWebsocketBroadcast: action},
	}}}
}

// sourceFlags say what a trigger listens to.
func sourceFlags(ofBroker bool, prefix string) []cli.Flag {
	topic := &cli.StringFlag{Name: prefix + flagTopic, Usage: "The MQTT topic or `filter` to listen to; without: all topics of the broker", Category: "Trigger"}
	if ofBroker {
		return []cli.Flag{
			&cli.StringFlag{Name: prefix + flagBrokerID, Usage: "The `ID` of the broker, which clients find in each message", Category: "Trigger"},
			topic,
		}
	}
	topic.Usage = "The MQTT topic or `filter` to listen to; without: all topics of the device or registry"
	return []cli.Flag{
		&cli.StringFlag{Name: prefix + flagRegistryID, Usage: "The `ID` of the registry, which clients find in each message", Category: "Trigger"},
		&cli.StringFlag{Name: prefix + flagDeviceID, Usage: "The `ID` of a device; without: all devices of the registry", Category: "Trigger"},
		topic,
	}
}

// ruleFlags are the other flags of a rule. Without them a rule has the defaults, or stays as it is.
func ruleFlags(prefix string) []cli.Flag {
	size := &cli.Int64Flag{Name: prefix + flagBatchSize, DefaultText: "1", Usage: "The largest `number` of messages in one WebSocket message, 1 to 1000", Category: "Trigger"}
	cutoff := &cli.DurationFlag{Name: prefix + flagBatchCutoff, DefaultText: "1s", Usage: "The longest `time` that a message waits for others, 0s to 60s", Category: "Trigger"}
	if prefix != "" {
		size.DefaultText, cutoff.DefaultText = "unchanged", "unchanged"
	}
	return append([]cli.Flag{size, cutoff}, actionFlags(prefix)...)
}

func actionFlags(prefix string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: prefix + flagGateway, Usage: "The `label` of one of the websocket_gateways", Category: "Trigger"},
		&cli.StringFlag{Name: prefix + flagPath, Usage: "The `path` of one of the gateway's routes", Category: "Trigger"},
		&cli.StringFlag{Name: prefix + flagServiceAccount, Usage: "The `ID` of the service account to send as", Category: "Trigger"},
	}
}

// readRule puts into the rule of a trigger what flags say, and tells whether they say anything.
func readRule(c *cli.Context, prefix string, r rule) (changed bool, err error) {
	for _, f := range []struct {
		flag string
		to   *string
	}{
		{flagRegistryID, r.registry},
		{flagDeviceID, r.device},
		{flagBrokerID, r.broker},
		{flagTopic, r.topic},
		{flagGateway, &r.action.GatewayId},
		{flagPath, &r.action.Path},
		{flagServiceAccount, &r.action.ServiceAccountId},
	} {
		if !c.IsSet(prefix + f.flag) {
			continue
		}
		if f.to == nil {
			return false, fmt.Errorf("--%s%s is of another kind of trigger, and a trigger stays of its kind: this one is for the topics of %s", prefix, f.flag, r.source())
		}
		*f.to = c.String(prefix + f.flag)
		changed = true
	}
	if c.IsSet(prefix + flagBatchSize) {
		if r.batch.Size = c.Int64(prefix + flagBatchSize); r.batch.Size < 1 { // 0 stands for the default
			return false, fmt.Errorf("--%s%s %d must be at least 1", prefix, flagBatchSize, r.batch.Size)
		}
		changed = true
	}
	if c.IsSet(prefix + flagBatchCutoff) {
		r.batch.Cutoff = durationpb.New(c.Duration(prefix + flagBatchCutoff))
		changed = true
	}
	return changed, nil
}
