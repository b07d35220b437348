package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/internal/triggers"
)

func listCommand() *cli.Command {
	return &cli.Command{
		Name:         "list",
		Usage:        "List all triggers",
		Flags:        append([]cli.Flag{formatFlag()}, placeFlags()...),
		OnUsageError: usageError,
		Action: command(func(c *call) error {
			if err := c.none(); err != nil {
				return err
			}
			m, err := c.reader()
			if err != nil {
				return err
			}
			stored, bad, err := m.Dir.List()
			if err != nil {
				return err
			}
			for _, err := range bad {
				warn(c.Context, err)
			}
			all := make([]triggers.Trigger, len(stored))
			for i, t := range stored {
				all[i] = t.Trigger
			}
			m.Warnings(c.Context.Context, all)
			return triggers.WriteList(c.App.Writer, c.format, all)
		}),
	}
}

func getCommand() *cli.Command {
	return &cli.Command{
		Name:         "get",
		Usage:        "Print a trigger",
		ArgsUsage:    "NAME|ID",
		Flags:        slices.Concat([]cli.Flag{formatFlag()}, selectFlags(), placeFlags()),
		OnUsageError: usageError,
		Action: command(func(c *call) error {
			m, err := c.reader()
			if err != nil {
				return err
			}
			t, err := c.one(m.Dir)
			if err != nil {
				return err
			}
			m.Warnings(c.Context.Context, []triggers.Trigger{t.Trigger})
			return triggers.Write(c.App.Writer, c.format, t.Trigger)
		}),
	}
}

func pauseCommand() *cli.Command {
	return &cli.Command{
		Name:      "pause",
		Usage:     "Stop triggers until they are resumed",
		ArgsUsage: "NAME|ID...",
		Description: `
What devices send meanwhile waits at the MQTT broker, from --qos 1 on, as far as
the broker keeps it, and is sent when the trigger is resumed.`[1:],
		Flags:        slices.Concat([]cli.Flag{formatFlag()}, selectFlags(), placeFlags()),
		OnUsageError: usageError,
		Action:       switchTriggers((*triggers.Manager).Pause),
	}
}

func resumeCommand() *cli.Command {
	return &cli.Command{
		Name:         "resume",
		Usage:        "Start paused triggers again",
		ArgsUsage:    "NAME|ID...",
		Flags:        slices.Concat([]cli.Flag{formatFlag()}, selectFlags(), placeFlags()),
		OnUsageError: usageError,
		Action:       switchTriggers((*triggers.Manager).Resume),
	}
}

// switchTriggers pauses or resumes the triggers that the user names.
func switchTriggers(method func(*triggers.Manager, context.Context, triggers.Stored) (triggers.Trigger, error)) cli.ActionFunc {
	return command(func(c *call) error {
		m, err := c.manager()
		if err != nil {
			return err
		}
		all, err := c.selected(m.Dir)
		if err != nil {
			return err
		}
		var done []triggers.Trigger
		for _, t := range all {
			switched, err := method(m, c.Context.Context, t)
			if err != nil {
				return fmt.Errorf("trigger %s: %w", t.Name, err)
			}
			done = append(done, switched)
		}
		if len(done) == 1 {
			return triggers.Write(c.App.Writer, c.format, done[0])
		}
		return triggers.WriteList(c.App.Writer, c.format, done)
	})
}

func deleteCommand() *cli.Command {
	return &cli.Command{
		Name:      "delete",
		Usage:     "Delete triggers for good",
		ArgsUsage: "NAME|ID...",
		Description: `
The MQTT broker is told to forget the trigger's session as well: otherwise it
would go on keeping messages for it.`[1:],
		Flags:        append(selectFlags(), placeFlags()...),
		OnUsageError: usageError,
		Action: command(func(c *call) error {
			m, err := c.manager()
			if err != nil {
				return err
			}
			all, err := c.selected(m.Dir)
			if err != nil {
				return err
			}
			for _, t := range all {
				if err := m.Delete(c.Context.Context, t); err != nil {
					return fmt.Errorf("deleting trigger %s: %w", t.Name, err)
				}
				fmt.Fprintf(c.App.ErrWriter, "Deleted trigger %s.\n", t.Name)
			}
			return nil
		}),
	}
}
