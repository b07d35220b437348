package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	devicesCommand = "internet-of-things"
	brokersCommand = "iot-broker"
	flagFile       = "file"
)

func createTriggerCommand() *cli.Command {
	cmd := command(cli.Command{
		Name:      "create",
		Usage:     "Create a trigger, from flags or from a file",
		ArgsUsage: "--file FILE",
		Description: `
With one of the commands below, from flags. With --file, from what the original
service prints: one trigger or a list, as YAML or JSON. Names, labels, rules and
the status are kept. In a list, triggers that are not about IoT topics and
WebSocket connections are skipped.

   yc serverless trigger list --format json | iotcast trigger create --file - --gateway-id main`[1:],
		Flags: []cli.Flag{
			&cli.StringFlag{Name: flagFile, Usage: "The `file` to read, - for standard input", TakesFile: true},
			&cli.StringFlag{Name: flagGateway, Usage: "The `label` of the gateway to send to, instead of the ID in the file", Category: "Trigger"},
			&cli.StringFlag{Name: flagServiceAccount, Usage: "The `ID` of the service account to send as, instead of that in the file; \"\" for none", Category: "Trigger"},
			formatFlag(),
		},
	}, createFromFile)
	run := cmd.Action
	cmd.Action = func(c *cli.Context) error {
		if kind := c.Args().First(); kind != "" && !strings.HasPrefix(kind, "-") { // with flags that this command does not have
			return usageError(c, fmt.Errorf("iotcast has no triggers of type %q: there is %s and %s", kind, devicesCommand, brokersCommand), true)
		}
		return run(c)
	}
	cmd.Subcommands = []*cli.Command{createFromFlagsCommand(false), createFromFlagsCommand(true)}
	return cmd
}

func createFromFlagsCommand(ofBroker bool) *cli.Command {
	cmd := cli.Command{
		Name:    devicesCommand,
		Aliases: []string{"iot-devices"},
		Usage:   "Create a trigger for the topics of a registry or a device",
		Description: `
   iotcast trigger create internet-of-things --name telemetry \
     --registry-id my-registry --mqtt-topic '$devices/+/events' \
     --batch-size 10 --batch-cutoff 1s \
     --gateway-id main --gateway-websocket-broadcast-path /telemetry`[1:],
	}
	if ofBroker {
		cmd.Name, cmd.Aliases = brokersCommand, nil
		cmd.Usage = "Create a trigger for the topics of a broker"
		cmd.Description = `
   iotcast trigger create iot-broker --name alarms \
     --broker-id my-broker --mqtt-topic 'factory/+/alarm' \
     --gateway-id main --gateway-websocket-broadcast-path /alarms`[1:]
	}
	cmd.Flags = slices.Concat(
		[]cli.Flag{&cli.StringFlag{Name: flagName, Usage: "The `name`, unique, of 3 to 63 lower-case letters, digits and hyphens", Category: "Trigger"}},
		describedFlags(triggerKind), sourceFlags(ofBroker, ""), ruleFlags(""), []cli.Flag{formatFlag()})
	return command(cmd, func(c *call) error {
		name, err := c.ownName()
		if err != nil {
			return err
		}
		in := body{"name": name}
		if _, err := c.described(in); err != nil {
			return err
		}
		t := &triggers.Trigger{Rule: newRule(ofBroker)}
		r, err := ruleOf(t)
		if err != nil {
			return err
		}
		if _, err := readRule(c.Context, "", r); err != nil {
			return err
		}
		created, err := c.createTrigger(in, t)
		if err != nil {
			return err
		}
		return c.print(created)
	})
}

// createTrigger creates a trigger with the rule of t, and as it is if t is paused.
func (c *call) createTrigger(in body, t *triggers.Trigger) (message, error) {
	var err error
	if in["rule"], err = restOf(t.Rule); err != nil {
		return message{}, err
	}
	created, err := c.request(triggerKind, "Create", in, "")
	if err == nil && t.Status == triggers.Trigger_PAUSED {
		id := created.id()
		if _, err = c.request(triggerKind, "Pause", body{triggerKind.idField(): id}, ""); err == nil {
			created, err = c.byID(triggerKind, "", id)
		}
	}
	if err != nil {
		return message{}, fmt.Errorf("creating trigger %s: %w", in["name"], err)
	}
	return created, nil
}

// restOf is a message as a field of a request has it.
func restOf(m proto.Message) (json.RawMessage, error) { return protojson.Marshal(m) }

func createFromFile(c *call) error {
	if err := c.noOperands(); err != nil {
		return err
	}
	if !c.IsSet(flagFile) {
		return c.misused("say what to create: %s, %s or --%s", devicesCommand, brokersCommand, flagFile)
	}
	all, isList, err := c.readTriggers()
	if err != nil {
		return err
	}
	var created []proto.Message
	for _, t := range all {
		made, err := c.createTrigger(body{"name": t.Name, "description": t.Description, "labels": t.Labels, "folderId": t.FolderId}, t)
		if err != nil {
			if len(created) == 0 {
				return err
			}
			return errors.Join(c.printList(triggerKind.columns, created), err)
		}
		created = append(created, made.Message)
	}
	if isList {
		return c.printList(triggerKind.columns, created)
	}
	return c.print(created[0])
}
