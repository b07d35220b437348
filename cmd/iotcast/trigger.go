package main

import (
	"cmp"

	"github.com/urfave/cli/v2"
	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/protobuf/proto"
)

var triggerKind = &kind{
	noun: "trigger", plural: "triggers", service: "yandex.cloud.serverless.triggers.v1.TriggerService",
	columns: []column{
		field("ID", "id"), field("NAME", "name"), field("STATUS", "status"),
		ofRule("SOURCE", func(r rule) string { return r.source() }),
		ofRule("TOPIC", func(r rule) string { return cmp.Or(*r.topic, "(all)") }),
		ofRule("GATEWAY", func(r rule) string { return r.action.GatewayId }),
		ofRule("PATH", func(r rule) string { return r.action.Path }),
	},
}

// ofRule is a column about the rule, empty where iotcast does not know that kind.
func ofRule(title string, value func(rule) string) column {
	return column{title, func(m proto.Message) string {
		t, ok := m.(*triggers.Trigger)
		if !ok {
			return ""
		}
		r, err := ruleOf(t)
		if err != nil {
			return ""
		}
		return value(r)
	}}
}

func triggerCommand() *cli.Command {
	return &cli.Command{
		Name:  "trigger",
		Usage: "Make and change triggers, by the commands of the cloud that iotcast replaces",
		Description: `
A trigger takes the messages of IoT topics and sends them to every WebSocket
connection on a path. It runs in the process whose management API is called:

   iotcast trigger create internet-of-things --name telemetry \
     --registry-id my-registry --mqtt-topic '$devices/+/events' \
     --gateway-id main --gateway-websocket-broadcast-path /telemetry

See docs/triggers.md.`[1:],
		Subcommands: []*cli.Command{
			createTriggerCommand(),
			updateTriggerCommand(),
			listCommand(triggerKind),
			getCommand(triggerKind),
			switchCommand(triggerKind, "pause", "Pause", "Stop triggers until they are resumed"),
			switchCommand(triggerKind, "resume", "Resume", "Start paused triggers again"),
			deleteCommand(triggerKind),
			operationsCommand(triggerKind),
		},
	}
}
