package main

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/triggers"
)

const flagNewName = "new-name"

func updateCommand() *cli.Command {
	cmd := updateKindCommand("")
	cmd.Name = "update"
	cmd.Usage = "Change a trigger while it runs, and lose nothing"
	cmd.Description = `
   iotcast trigger update telemetry --new-mqtt-topic '$devices/+/state'

What no flag names stays as it is. What you have changed in the trigger's file by
hand stays as well, and takes effect. The new stream is checked before the old one ends; should it be
refused nevertheless, the old one is put back. What devices send meanwhile the
MQTT broker keeps, from --qos 1 on.

The commands below are those of the original service, and do the same.`[1:]
	cmd.Flags = append(cmd.Flags, &cli.StringFlag{Name: flagFile, Usage: "The `file` with the whole trigger as it is to be, in YAML or JSON, - for standard input"})
	cmd.Subcommands = []*cli.Command{updateKindCommand(iotcore.Device), updateKindCommand(iotcore.Broker)}
	return cmd
}

// updateKindCommand is for triggers on a source, or on any.
func updateKindCommand(source iotcore.Source) *cli.Command {
	cmd := &cli.Command{
		Name:         devicesCommand,
		Usage:        "Change a trigger for the topics of a registry or a device",
		ArgsUsage:    "NAME|ID",
		OnUsageError: usageError,
		Action:       command(func(c *call) error { return update(c, source) }),
	}
	sources := sourceFlags(iotcore.Device, newPrefix)
	switch source {
	case iotcore.Device:
		cmd.Aliases = []string{"iot-devices"}
	case iotcore.Broker:
		cmd.Name, cmd.Usage = brokersCommand, "Change a trigger for the topics of a broker"
		sources = sourceFlags(iotcore.Broker, newPrefix)
	default:
		sources = append(sourceFlags(iotcore.Broker, newPrefix)[:1], sources...)
	}
	cmd.Flags = slices.Concat(
		[]cli.Flag{&cli.StringFlag{Name: flagNewName, Usage: "Another `name`; the ID stays", Category: "Trigger"}},
		descriptionFlags(), sources, keepDefaults(ruleFlags(newPrefix)),
		keepDefaults(brokerFlags()), []cli.Flag{dryRunFlag(), formatFlag()}, selectFlags(), placeFlags())
	return cmd
}

// keepDefaults makes flags stand for a change: without one, nothing changes.
func keepDefaults(flags []cli.Flag) []cli.Flag {
	const unchanged = "unchanged"
	for _, f := range flags {
		switch f := f.(type) {
		case *cli.Int64Flag:
			f.DefaultText = unchanged
		case *cli.DurationFlag:
			f.DefaultText = unchanged
		case *cli.IntFlag:
			f.DefaultText = unchanged
		case *cli.StringSliceFlag:
			f.DefaultText, f.EnvVars = unchanged, nil
		}
	}
	return flags
}

func update(c *call, source iotcore.Source) error {
	conn, err := readConnection(c.Context)
	if err != nil {
		return err
	}
	m, err := c.manager()
	if err != nil {
		return err
	}
	old, err := c.one(m.Dir)
	if err != nil {
		return err
	}
	if source != "" && old.Rule.Source != source {
		return fmt.Errorf("trigger %s is for the topics of a %s: change it with `iotcast trigger update %s`", old.Name, old.Rule.Source, old.Name)
	}
	t, err := changed(c.Context, old.Trigger)
	if err != nil {
		return err
	}
	if c.Bool(flagDryRun) {
		text, err := old.Render(t, conn)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.App.Writer, "%s", text)
		return nil
	}
	if t, err = m.Update(c.Context.Context, old, t, conn); err != nil {
		return fmt.Errorf("updating trigger %s: %w", old.Name, err)
	}
	return triggers.Write(c.App.Writer, c.format, t)
}

// changed is the trigger after the change that file and flags ask for.
func changed(c *cli.Context, t triggers.Trigger) (triggers.Trigger, error) {
	called := func(f triggers.Field) string {
		if f == triggers.FieldDescription || f == triggers.FieldLabels {
			return "--" + flagNames[f]
		}
		return "--" + newPrefix + flagNames[f]
	}
	if c.IsSet(flagFile) {
		all, err := readFile(c)
		if err != nil {
			return t, err
		}
		if len(all) > 1 {
			return t, fmt.Errorf("--%s has %d triggers: give one", flagFile, len(all))
		}
		// What makes it the same trigger stays.
		all[0].ID, all[0].FolderID, all[0].CreatedAt, all[0].Status = t.ID, t.FolderID, t.CreatedAt, t.Status
		t = all[0]
		called = func(f triggers.Field) string { return f.Path(t.Rule.Source) }
	}
	readRule(c, newPrefix, &t.Rule)
	if c.IsSet(flagNewName) {
		t.Name = c.String(flagNewName)
	}
	if err := readDescription(c, &t); err != nil {
		return t, err
	}
	if c.IsSet(newPrefix+flagBrokerID) && t.Rule.Source == iotcore.Device ||
		(c.IsSet(newPrefix+flagRegistryID) || c.IsSet(newPrefix+flagDeviceID)) && t.Rule.Source == iotcore.Broker {
		return t, fmt.Errorf("trigger %s is for the topics of a %s and stays so: create another instead", t.Name, t.Rule.Source)
	}
	return t, t.Validate(called)
}
