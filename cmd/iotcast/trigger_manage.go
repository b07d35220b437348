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
		Action: func(c *cli.Context) error {
			names, err := operands(c)
			if err != nil {
				return err
			}
			if err := none(c, names); err != nil {
				return err
			}
			f, err := format(c)
			if err != nil {
				return err
			}
			m, err := newManager(c)
			if err != nil {
				return err
			}
			stored, bad, err := m.Dir.List()
			if err != nil {
				return err
			}
			for _, err := range bad {
				warn(c, err)
			}
			all := make([]triggers.Trigger, len(stored))
			for i, t := range stored {
				all[i] = t.Trigger
			}
			m.Warnings(c.Context, all)
			return triggers.WriteList(c.App.Writer, f, all)
		},
	}
}

func getCommand() *cli.Command {
	return &cli.Command{
		Name:         "get",
		Usage:        "Print a trigger",
		ArgsUsage:    "NAME|ID",
		Flags:        slices.Concat([]cli.Flag{formatFlag()}, selectFlags(), placeFlags()),
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			names, err := operands(c)
			if err != nil {
				return err
			}
			f, err := format(c)
			if err != nil {
				return err
			}
			m, err := newManager(c)
			if err != nil {
				return err
			}
			t, err := one(c, names, m.Dir)
			if err != nil {
				return err
			}
			m.Warnings(c.Context, []triggers.Trigger{t.Trigger})
			return triggers.Write(c.App.Writer, f, t.Trigger)
		},
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
		Action: func(c *cli.Context) error {
			return switchTriggers(c, func(m *triggers.Manager) switcher { return m.Pause })
		},
	}
}

func resumeCommand() *cli.Command {
	return &cli.Command{
		Name:         "resume",
		Usage:        "Start paused triggers again",
		ArgsUsage:    "NAME|ID...",
		Flags:        slices.Concat([]cli.Flag{formatFlag()}, selectFlags(), placeFlags()),
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			return switchTriggers(c, func(m *triggers.Manager) switcher { return m.Resume })
		},
	}
}

type switcher func(context.Context, triggers.Stored) (triggers.Trigger, error)

// switchTriggers pauses or resumes the triggers that the user names.
func switchTriggers(c *cli.Context, method func(*triggers.Manager) switcher) error {
	names, err := operands(c)
	if err != nil {
		return err
	}
	f, err := format(c)
	if err != nil {
		return err
	}
	m, err := newManager(c)
	if err != nil {
		return err
	}
	all, err := selected(c, names, m.Dir)
	if err != nil {
		return err
	}
	var done []triggers.Trigger
	for _, t := range all {
		switched, err := method(m)(c.Context, t)
		if err != nil {
			return fmt.Errorf("trigger %s: %w", t.Name, err)
		}
		done = append(done, switched)
	}
	if len(done) == 1 {
		return triggers.Write(c.App.Writer, f, done[0])
	}
	return triggers.WriteList(c.App.Writer, f, done)
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
		Action: func(c *cli.Context) error {
			names, err := operands(c)
			if err != nil {
				return err
			}
			m, err := newManager(c)
			if err != nil {
				return err
			}
			all, err := selected(c, names, m.Dir)
			if err != nil {
				return err
			}
			for _, t := range all {
				if err := m.Delete(c.Context, t); err != nil {
					return fmt.Errorf("deleting trigger %s: %w", t.Name, err)
				}
				fmt.Fprintf(c.App.ErrWriter, "Deleted trigger %s.\n", t.Name)
			}
			return nil
		},
	}
}
