package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
)

func addCommand(k *kind, flag, form string) *cli.Command {
	return changeMapCommand(k, cli.Command{
		Name:  "add-" + flag,
		Usage: fmt.Sprintf("Add %s to a %s; one with the same key takes another value", wordsOf(flag), k.noun),
		Flags: []cli.Flag{&cli.StringSliceFlag{Name: flag, Usage: "`" + form + "`"}},
	}, flag, func(c *call, all map[string]string) error {
		more, err := c.pairs(flag, formOf(flag))
		maps.Copy(all, more)
		return err
	})
}

func removeCommand(k *kind, flag, form string) *cli.Command {
	return changeMapCommand(k, cli.Command{
		Name:  "remove-" + flag,
		Usage: fmt.Sprintf("Take %s away from a %s", wordsOf(flag), k.noun),
		Flags: []cli.Flag{&cli.StringSliceFlag{Name: flag, Usage: "`" + form + "`"}},
	}, flag, func(c *call, all map[string]string) error {
		for _, key := range c.StringSlice(flag) {
			key, _, _ = strings.Cut(key, "=") // as add has it
			if _, ok := all[key]; !ok {
				return fmt.Errorf("--%s %q is not there: there are %s", flag, key, quoted(slices.Sorted(maps.Keys(all))))
			}
			delete(all, key)
		}
		return nil
	})
}

func wordsOf(flag string) string { return strings.ReplaceAll(flag, "-", " ") }

func quoted(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Trim(fmt.Sprintf("%q", words), "[]")
}

// changeMapCommand reads labels or topic aliases, changes them and writes them back, unless somebody else did so meanwhile.
func changeMapCommand(k *kind, cmd cli.Command, flag string, change func(*call, map[string]string) error) *cli.Command {
	cmd.ArgsUsage = operandUsage
	cmd.Flags = slices.Concat(cmd.Flags, selectFlags(k, ""), parentFlags(k), []cli.Flag{formatFlag()})
	return command(cmd, func(c *call) error {
		if err := c.needsSome(flag); err != nil {
			return err
		}
		old, err := c.one(k, "")
		if err != nil {
			return err
		}
		name, all := mapOf(old, flag)
		if err := change(c, all); err != nil {
			return err
		}
		return c.update(k, old, body{name: all}, []string{name}, old.etag)
	})
}

// mapOf is a copy of the labels or topic aliases of a resource, and their field.
func mapOf(m message, flag string) (name string, all map[string]string) {
	name, all = "labels", m.labels()
	if flag == flagTopicAliases {
		name, all = "topicAliases", m.Message.(*devices.Device).TopicAliases
	}
	if all = maps.Clone(all); all == nil {
		all = map[string]string{}
	}
	return name, all
}
