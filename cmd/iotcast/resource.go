package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

const (
	flagNewName      = "new-name"
	flagDescription  = "description"
	flagLabels       = "labels"
	flagTopicAliases = "topic-aliases"
)

func registryCommand() *cli.Command {
	k := registryKind
	cmd := resourceCommand(k, "Make and change registries, which devices belong to")
	cmd.Subcommands = append(cmd.Subcommands,
		switchCommand(k, "enable", "Enable", "Let in again a disabled registry and its devices"),
		switchCommand(k, "disable", "Disable", "Keep out a registry and its devices until it is enabled: those that are connected are disconnected"),
		aliasesCommand(),
	)
	return cmd
}

func deviceCommand() *cli.Command {
	k := deviceKind
	cmd := resourceCommand(k, "Make and change devices of registries")
	cmd.Subcommands = append(cmd.Subcommands,
		addCommand(k, flagTopicAliases, "alias=topic,…"),
		removeCommand(k, flagTopicAliases, "alias,…"),
	)
	return cmd
}

func brokerCommand() *cli.Command {
	return resourceCommand(brokerKind, "Make and change brokers, whose clients share their topics")
}

// resourceCommand has what registries, devices and brokers have in common.
func resourceCommand(k *kind, usage string) *cli.Command {
	return &cli.Command{
		Name:  k.noun,
		Usage: usage,
		Description: fmt.Sprintf(`
Over the management API of a process, here or on another host: see --%[1]s.

   iotcast %[2]s create my-%[2]s%[3]s --generate-password
   iotcast %[2]s list`[1:], flagEndpoint, k.noun, exampleOfParent(k)),
		Subcommands: []*cli.Command{
			createCommand(k),
			listCommand(k),
			getCommand(k),
			updateCommand(k),
			deleteCommand(k),
			addCommand(k, flagLabels, "KEY=VALUE,…"),
			removeCommand(k, flagLabels, "KEY,…"),
			operationsCommand(k),
			certificateCommand(k),
			passwordsCommand(k),
		},
	}
}

func exampleOfParent(k *kind) string {
	if k.parent == nil {
		return ""
	}
	return fmt.Sprintf(" --%s-%s my-%[1]s", k.parent.noun, flagName)
}

// describedFlags are of what all resources have.
func describedFlags(k *kind) []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: flagDescription, Usage: "A `text` of up to 256 characters for people to read"},
		&cli.StringSliceFlag{Name: flagLabels, Usage: "`KEY=VALUE`, up to 64, separated by commas or each with a flag of its own"},
	}
	if k == deviceKind {
		flags = append(flags, &cli.StringSliceFlag{
			Name: flagTopicAliases, Usage: "`alias=topic`, up to five, of a topic of the device, where {id} stands for its ID, such as hall/='$devices/{id}/events/'",
		})
	}
	return flags
}

// described puts into a request, and into its mask, what those flags say.
func (c *call) described(in body) (mask []string, err error) {
	if c.IsSet(flagDescription) {
		in["description"] = c.String(flagDescription)
		mask = append(mask, "description")
	}
	for flag, name := range map[string]string{flagLabels: "labels", flagTopicAliases: "topicAliases"} {
		if !c.IsSet(flag) {
			continue
		}
		if in[name], err = c.pairs(flag, formOf(flag)); err != nil {
			return nil, err
		}
		mask = append(mask, name)
	}
	return mask, nil
}

func formOf(flag string) string {
	if flag == flagTopicAliases {
		return "alias=topic"
	}
	return "KEY=VALUE"
}

func createCommand(k *kind) *cli.Command {
	return command(cli.Command{
		Name:      "create",
		Usage:     fmt.Sprintf("Create a %s, with credentials or without", k.noun),
		ArgsUsage: "NAME",
		Flags: slices.Concat(
			[]cli.Flag{&cli.StringFlag{Name: flagName, Usage: "The `name`, instead of an argument: 3 to 63 lower-case letters, digits and hyphens. It is the ID as well, if that is free"}},
			parentFlags(k), describedFlags(k), certificateFlags(), passwordFlags(), []cli.Flag{formatFlag()}),
	}, func(c *call) error {
		name, err := c.ownName()
		if err != nil {
			return err
		}
		in := body{"name": name}
		if _, err := c.described(in); err != nil {
			return err
		}
		if in["certificates"], err = c.certificates(); err != nil {
			return err
		}
		password, generated, err := c.password()
		if err != nil {
			return err
		}
		if password != "" {
			in["password"] = password
		}
		if k.parent != nil {
			parent, err := c.ofParent(k)
			if err != nil {
				return err
			}
			if parent == "" {
				return c.misused("--%[1]s-%[2]s or --%[1]s-%[3]s is missing", k.parent.noun, flagName, flagID)
			}
			in[k.parent.idField()] = parent
		}
		created, err := c.request(k, "Create", in, "")
		if err != nil {
			return fmt.Errorf("creating %s %s: %w", k.noun, name, err)
		}
		return c.printWithPassword(created, password, generated)
	})
}

func listCommand(k *kind) *cli.Command {
	usage := "List all " + k.plural
	if k.parent != nil {
		usage += ", or those of a " + k.parent.noun
	}
	return command(cli.Command{Name: "list", Usage: usage, Flags: append(parentFlags(k), formatFlag())}, func(c *call) error {
		if err := c.noOperands(); err != nil {
			return err
		}
		parent, err := c.ofParent(k)
		if err != nil {
			return err
		}
		all, err := c.all(k, "List", listOf(k, parent))
		if err != nil {
			return err
		}
		return c.printList(k.columns, all)
	})
}

func getCommand(k *kind) *cli.Command {
	usage := "Print a " + k.noun
	if k == deviceKind {
		usage += ", with what the MQTT broker has seen of it"
	}
	return command(cli.Command{
		Name: "get", Usage: usage, ArgsUsage: operandUsage, Flags: slices.Concat(selectFlags(k, ""), parentFlags(k), []cli.Flag{formatFlag()}),
	}, func(c *call) error {
		m, err := c.one(k, "")
		if err != nil {
			return err
		}
		return c.print(m)
	})
}

func updateCommand(k *kind) *cli.Command {
	return command(cli.Command{
		Name:      "update",
		Usage:     fmt.Sprintf("Change a %s; what no flag names stays as it is", k.noun),
		ArgsUsage: operandUsage,
		Flags: slices.Concat(
			[]cli.Flag{&cli.StringFlag{Name: flagNewName, Usage: "Another `name`; the ID stays"}},
			describedFlags(k), selectFlags(k, ""), parentFlags(k), []cli.Flag{formatFlag()}),
	}, func(c *call) error {
		in := body{}
		mask, err := c.described(in)
		if err != nil {
			return err
		}
		if c.IsSet(flagNewName) {
			in["name"] = c.String(flagNewName)
			mask = append(mask, "name")
		}
		if len(mask) == 0 {
			return c.misused("nothing to change: give one of the flags that say what")
		}
		old, err := c.one(k, "")
		if err != nil {
			return err
		}
		return c.update(k, old, in, mask, "")
	})
}

// update changes those fields of a resource that the mask names, and prints it. With an etag, it must still have that version.
func (c *call) update(k *kind, old message, in body, mask []string, etag string) error {
	in[k.idField()] = old.id()
	in["updateMask"] = strings.Join(mask, ",")
	updated, err := c.request(k, "Update", in, etag)
	if err != nil {
		return fmt.Errorf("updating %s %s: %w", k.noun, old.name(), err)
	}
	return c.print(updated)
}

func deleteCommand(k *kind) *cli.Command {
	return command(cli.Command{
		Name: "delete", Usage: "Delete " + k.plural + " for good", ArgsUsage: operandsUsage, Flags: append(selectFlags(k, ""), parentFlags(k)...),
	}, func(c *call) error {
		_, err := c.each(k, "deleting", func(m message) (message, error) {
			gone, err := c.request(k, "Delete", body{k.idField(): m.id()}, "")
			if err == nil {
				c.tell("Deleted %s %s.", k.noun, m.name())
			}
			return gone, err
		})
		return err
	})
}

// switchCommand calls a method about nothing but the resource.
func switchCommand(k *kind, name, method, usage string) *cli.Command {
	return command(cli.Command{
		Name: name, Usage: usage, ArgsUsage: operandsUsage,
		Flags: slices.Concat(selectFlags(k, ""), parentFlags(k), []cli.Flag{formatFlag()}),
	}, func(c *call) error {
		done, err := c.each(k, name[:len(name)-1]+"ing", func(m message) (message, error) {
			if _, err := c.request(k, method, body{k.idField(): m.id()}, ""); err != nil {
				return message{}, err
			}
			return c.byID(k, "", m.id()) // the response may be empty
		})
		if err != nil {
			return err
		}
		if len(done) == 1 {
			return c.print(done[0])
		}
		return c.printList(k.columns, done)
	})
}

func operationsCommand(k *kind) *cli.Command {
	return command(cli.Command{
		Name:      "list-operations",
		Usage:     fmt.Sprintf("List what was done to a %s, as far as it is kept", k.noun),
		ArgsUsage: operandUsage,
		Flags:     slices.Concat(selectFlags(k, ""), parentFlags(k), []cli.Flag{formatFlag()}),
	}, func(c *call) error { return c.listOf(k, "ListOperations", operationColumns) })
}

func aliasesCommand() *cli.Command {
	columns := []column{field("ALIAS", "alias"), field("TOPIC PREFIX", "topic_prefix"), field("DEVICE", "device_id")}
	return command(cli.Command{
		Name: "list-device-topic-aliases", Usage: "List the aliases of all devices of a registry", ArgsUsage: operandUsage,
		Flags: append(selectFlags(registryKind, ""), formatFlag()),
	}, func(c *call) error { return c.listOf(registryKind, "ListDeviceTopicAliases", columns) })
}

// listOf prints what a method lists of one resource.
func (c *call) listOf(k *kind, method string, columns []column) error {
	m, err := c.one(k, "")
	if err != nil {
		return err
	}
	all, err := c.all(k, method, body{k.idField(): m.id()})
	if err != nil {
		return err
	}
	return c.printList(columns, all)
}

const (
	operandUsage  = "NAME|ID"
	operandsUsage = "NAME|ID..."
)
