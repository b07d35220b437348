package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/triggers"
)

const (
	devicesCommand = "internet-of-things"
	brokersCommand = "iot-broker"
)

func createCommand() *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "Create a trigger, from flags or from a file",
		ArgsUsage: "--file FILE",
		Description: `
With one of the commands below, from flags. With --file, from what the original
service prints: one trigger or a list, as YAML or JSON. IDs, times of creation
and the status are kept. In a list, triggers that are not about IoT topics and
WebSocket connections are skipped.

   yc serverless trigger list --format json | iotcast trigger create --file - --gateway-id main`[1:],
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: flagFile, Usage: "The `file` to read, - for standard input"},
			&cli.StringFlag{Name: flagGateway, Usage: "The `label` of the gateway to send to, instead of the ID in the file", Category: "Trigger"},
			&cli.StringFlag{Name: flagServiceAccount, Usage: "The `ID` of the service account to send as, instead of that in the file; \"\" for none", Category: "Trigger"},
		}, brokerFlags(), []cli.Flag{templateFlag(), dryRunFlag(), formatFlag()}, placeFlags()),
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			if kind := c.Args().First(); kind != "" && !strings.HasPrefix(kind, "-") { // with flags that this command does not have
				return usageError(c, fmt.Errorf("iotcast has no triggers of type %q: there is %s and %s", kind, devicesCommand, brokersCommand), true)
			}
			return command(createFromFile)(c)
		},
		Subcommands: []*cli.Command{
			createFromFlagsCommand(iotcore.Device),
			createFromFlagsCommand(iotcore.Broker),
		},
	}
}

func createFromFlagsCommand(source iotcore.Source) *cli.Command {
	cmd := &cli.Command{
		Name:    devicesCommand,
		Aliases: []string{"iot-devices"},
		Usage:   "Create a trigger for the topics of a registry or a device",
		Description: `
   iotcast trigger create internet-of-things --name telemetry \
     --registry-id my-registry --mqtt-topic '$devices/+/events' \
     --batch-size 10 --batch-cutoff 1s \
     --gateway-id main --gateway-websocket-broadcast-path /telemetry

User name and password for the MQTT broker are read by the process that runs the
trigger, from its environment: IOTCAST_MQTT_USER and IOTCAST_MQTT_PASSWORD.`[1:],
	}
	if source == iotcore.Broker {
		cmd.Name, cmd.Aliases = brokersCommand, nil
		cmd.Usage = "Create a trigger for the topics of a broker"
		cmd.Description = `
   iotcast trigger create iot-broker --name alarms \
     --broker-id my-broker --mqtt-topic 'factory/+/alarm' \
     --gateway-id main --gateway-websocket-broadcast-path /alarms

User name and password for the MQTT broker are read by the process that runs the
trigger, from its environment: IOTCAST_MQTT_USER and IOTCAST_MQTT_PASSWORD.`[1:]
	}
	cmd.Flags = slices.Concat(
		[]cli.Flag{&cli.StringFlag{Name: flagName, Usage: "The `name`, unique, of 3 to 63 lower-case letters, digits and hyphens", Category: "Trigger"}},
		descriptionFlags(), sourceFlags(source, ""), ruleFlags(""), createBrokerFlags(),
		[]cli.Flag{dryRunFlag(), formatFlag()}, placeFlags())
	cmd.OnUsageError = usageError
	cmd.Action = command(func(c *call) error { return createFromFlags(c, source) })
	return cmd
}

func createFromFlags(c *call, source iotcore.Source) error {
	t := triggers.Trigger{
		Name:   c.String(flagName),
		Status: triggers.Active,
		Rule:   triggers.Rule{Source: source, BatchSize: triggers.DefaultBatchSize, BatchCutoff: triggers.DefaultBatchCutoff},
	}
	if t.Name == "" && len(c.names) > 0 {
		t.Name, c.names = c.names[0], c.names[1:]
	}
	if err := c.none(); err != nil {
		return err
	}
	readRule(c.Context, "", &t.Rule)
	if err := readDescription(c.Context, &t); err != nil {
		return err
	}
	if err := t.Validate(func(f triggers.Field) string { return "--" + flagNames[f] }); err != nil {
		return err
	}
	return create(c, false, t)
}

func createFromFile(c *call) error {
	if err := c.none(); err != nil {
		return err
	}
	if !c.IsSet(flagFile) {
		return usageError(c.Context, fmt.Errorf("say what to create: %s, %s or --%s", devicesCommand, brokersCommand, flagFile), true)
	}
	all, err := readFile(c.Context)
	if err != nil {
		return err
	}
	for i := range all {
		t := &all[i]
		readRule(c.Context, "", &t.Rule)
		if err := t.Validate(func(f triggers.Field) string { return f.Path(t.Rule.Source) }); err != nil {
			return fmt.Errorf("trigger %q: %w", t.Name, err)
		}
	}
	return create(c, len(all) > 1, all...)
}

// readFile reads the triggers of --file.
func readFile(c *cli.Context) ([]triggers.Trigger, error) {
	path := c.String(flagFile)
	text, err := os.ReadFile(path)
	if path == "-" {
		text, err = io.ReadAll(c.App.Reader)
	}
	if err != nil {
		return nil, fmt.Errorf("reading --%s: %w", flagFile, err)
	}
	all, skipped, err := triggers.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("--%s %s: %w", flagFile, path, err)
	}
	for _, s := range skipped {
		warn(c, fmt.Errorf("trigger %s is skipped: %s", s.Trigger, s.Reason))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("--%s %s has no trigger for iotcast", flagFile, path)
	}
	return all, nil
}

func create(c *call, asList bool, all ...triggers.Trigger) error {
	conn, err := readConnection(c.Context)
	if err != nil {
		return err
	}
	template, err := readTemplate(c.Context)
	if err != nil {
		return err
	}
	if c.Bool(flagDryRun) {
		return printStreams(c.Context, all, template, conn)
	}
	m, err := c.manager()
	if err != nil {
		return err
	}
	var created []triggers.Trigger
	for _, t := range all {
		made, err := m.Create(c.Context.Context, t, template, conn)
		if err != nil {
			failed := fmt.Errorf("creating trigger %s: %w", t.Name, err)
			if len(created) == 0 {
				return failed
			}
			return errors.Join(triggers.WriteList(c.App.Writer, c.format, created), failed)
		}
		created = append(created, made)
	}
	if asList {
		return triggers.WriteList(c.App.Writer, c.format, created)
	}
	return triggers.Write(c.App.Writer, c.format, created[0])
}

func printStreams(c *cli.Context, all []triggers.Trigger, template []byte, conn triggers.Connection) error {
	for i, t := range all {
		if t.ID == "" {
			t.ID = t.Name
		}
		if t.CreatedAt == "" {
			t.CreatedAt = triggers.Now()
		}
		text, err := triggers.Render(t, template, conn)
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(c.App.Writer, "---")
		}
		fmt.Fprintf(c.App.Writer, "%s", text)
	}
	return nil
}
