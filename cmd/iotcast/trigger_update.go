package main

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
)

func updateTriggerCommand() *cli.Command {
	flags := slices.Concat(sourceFlags(true, newPrefix)[:1], sourceFlags(false, newPrefix), []cli.Flag{&cli.StringFlag{
		Name: flagFile, Usage: "The `file` with the whole trigger as it is to be, in YAML or JSON, - for standard input", TakesFile: true,
	}})
	cmd := updateKindCommand("update", "Change a trigger while it runs, and lose nothing", flags, "")
	cmd.Description = `
   iotcast trigger update telemetry --new-mqtt-topic '$devices/+/state'

What no flag names stays as it is. The commands below are those of the original
service, and do the same.`[1:]
	cmd.Subcommands = []*cli.Command{
		updateKindCommand(devicesCommand, "Change a trigger for the topics of a registry or a device", sourceFlags(false, newPrefix), "registry or a device"),
		updateKindCommand(brokersCommand, "Change a trigger for the topics of a broker", sourceFlags(true, newPrefix), "broker"),
	}
	cmd.Subcommands[0].Aliases = []string{"iot-devices"}
	return cmd
}

// updateKindCommand is for triggers on a source, or, where that is empty, on any.
func updateKindCommand(name, usage string, sources []cli.Flag, source string) *cli.Command {
	return command(cli.Command{
		Name: name, Usage: usage, ArgsUsage: operandUsage,
		Flags: slices.Concat(
			[]cli.Flag{&cli.StringFlag{Name: flagNewName, Usage: "Another `name`; the ID stays", Category: "Trigger"}},
			describedFlags(triggerKind), sources, ruleFlags(newPrefix), selectFlags(triggerKind, ""), []cli.Flag{formatFlag()}),
	}, func(c *call) error {
		old, err := c.one(triggerKind, "")
		if err != nil {
			return err
		}
		t := old.Message.(*triggers.Trigger)
		r, err := ruleOf(t)
		if err != nil {
			return fmt.Errorf("trigger %s: %w", t.Name, err)
		}
		if source != "" && (source == "broker") != (r.broker != nil) {
			return fmt.Errorf("trigger %s is for the topics of %s: change it with `iotcast trigger update %[1]s`", t.Name, r.source())
		}
		in, mask, err := c.changes(t)
		if err != nil {
			return err
		}
		if len(mask) == 0 {
			return c.misused("nothing to change: give one of the flags that say what")
		}
		return c.update(triggerKind, old, in, mask, old.etag)
	})
}

// changes are what file and flags ask for.
func (c *call) changes(t *triggers.Trigger) (in body, mask []string, err error) {
	in = body{}
	if c.IsSet(flagFile) {
		all, _, err := c.readTriggers()
		if err != nil {
			return nil, nil, err
		}
		if len(all) > 1 {
			return nil, nil, fmt.Errorf("--%s has %d triggers: give one", flagFile, len(all))
		}
		t = all[0]
		in = body{"name": t.Name, "description": t.Description, "labels": t.Labels}
		mask = []string{"name", "description", "labels", "rule"}
	}
	more, err := c.described(in)
	if err != nil {
		return nil, nil, err
	}
	mask = append(mask, more...)
	if c.IsSet(flagNewName) {
		in["name"] = c.String(flagNewName)
		mask = append(mask, "name")
	}
	r, err := ruleOf(t)
	if err != nil {
		return nil, nil, err
	}
	changed, err := readRule(c.Context, newPrefix, r)
	if err != nil {
		return nil, nil, err
	}
	if changed {
		mask = append(mask, "rule")
	}
	if slices.Contains(mask, "rule") {
		if in["rule"], err = restOf(t.Rule); err != nil {
			return nil, nil, err
		}
	}
	slices.Sort(mask)
	return in, slices.Compact(mask), nil
}
