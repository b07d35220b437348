package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"
)

const (
	flagID   = "id"
	flagName = "name"
)

// call is one run of a command of the management API.
type call struct {
	*cli.Context
	api    *client
	names  []string // the operands
	format format
}

// newCall reads what all commands have: operands, format and connection.
func newCall(c *cli.Context) (*call, error) {
	names, err := operands(c)
	if err != nil {
		return nil, err
	}
	f, err := readFormat(c)
	if err != nil {
		return nil, err
	}
	conn, address, err := connect(c)
	if err != nil {
		return nil, err
	}
	return &call{Context: c, api: &client{conn: conn, address: address}, names: names, format: f}, nil
}

func (c *call) close() { _ = c.api.conn.Close() }

// command makes a command of the management API. Below its own flags it has those that all of them have.
func command(cmd cli.Command, do func(*call) error) *cli.Command {
	cmd.Flags = append(cmd.Flags, connectionFlags()...)
	cmd.OnUsageError = usageError
	cmd.Action = func(c *cli.Context) error {
		this, err := newCall(c)
		if err != nil {
			return err
		}
		defer this.close()
		if err := do(this); err != nil {
			return explain(c, this.api.address, err)
		}
		return nil
	}
	return &cmd
}

// request calls a method of a kind.
func (c *call) request(k *kind, method string, in body, etag string) (message, error) {
	return c.api.call(c.Context.Context, k.service, method, in, etag)
}

func (c *call) all(k *kind, method string, in body) ([]proto.Message, error) {
	return c.api.list(c.Context.Context, k.service, method, in)
}

func (c *call) print(m proto.Message) error { return c.format.write(c.App.Writer, m) }

func (c *call) printList(columns []column, all []proto.Message) error {
	return c.format.writeList(c.App.Writer, columns, all)
}

// tell says what was done where there is nothing to print.
func (c *call) tell(format string, args ...any) { fmt.Fprintf(c.App.ErrWriter, format+"\n", args...) }

// misused is an error about how the command was typed.
func (c *call) misused(format string, args ...any) error {
	return usageError(c.Context, fmt.Errorf(format, args...), true)
}

func (c *call) noOperands() error {
	if len(c.names) > 0 {
		return c.misused("unexpected argument %q", strings.Join(c.names, " "))
	}
	return nil
}

// ownName is the name of what is to be created: --name, or the first operand.
func (c *call) ownName() (string, error) {
	name := c.String(flagName)
	if name == "" && len(c.names) > 0 {
		name, c.names = c.names[0], c.names[1:]
	}
	if err := c.noOperands(); err != nil {
		return "", err
	}
	if name == "" {
		return "", c.misused("--%s is missing: give 3 to 63 lower-case letters, digits and hyphens", flagName)
	}
	return name, nil
}

// pairs reads a flag of KEY=VALUE. What there may be of white space around belongs to nobody.
func (c *call) pairs(flag, form string) (map[string]string, error) {
	all := map[string]string{}
	for _, text := range c.StringSlice(flag) {
		if text == "" { // to say that there are to be none
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("--%s %q must be %s", flag, text, form)
		}
		all[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return all, nil
}

// needsSome is the error of a command without the flag by which it does anything.
func (c *call) needsSome(flag string) error {
	if !c.IsSet(flag) || strings.Join(c.StringSlice(flag), "") == "" {
		return c.misused("--%s is missing", flag)
	}
	return nil
}

// warn tells what does not keep the command from going on.
func (c *call) warn(err error) { fmt.Fprintf(c.App.ErrWriter, "warning: %v\n", err) }
