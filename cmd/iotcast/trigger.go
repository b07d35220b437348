package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/internal/triggers"
)

func triggerCommand() *cli.Command {
	return &cli.Command{
		Name:  "trigger",
		Usage: "Create and change triggers, by the commands of the cloud that iotcast replaces",
		Description: `
A trigger takes the messages of IoT topics and sends them to every WebSocket
connection on a path. It runs as a stream of a process in streams mode:

   iotcast streams -o root.yaml ./streams

   export IOTCAST_STREAMS_DIR=./streams IOTCAST_MQTT_URL=tcp://localhost:1883
   iotcast trigger create internet-of-things --name telemetry \
     --registry-id my-registry --mqtt-topic '$devices/+/events' \
     --gateway-id main --gateway-websocket-broadcast-path /telemetry

Commands change the running process by its HTTP API, and the streams directory,
from which it starts again. See docs/triggers.md.`[1:],
		Subcommands: []*cli.Command{
			createCommand(),
			updateCommand(),
			listCommand(),
			getCommand(),
			pauseCommand(),
			resumeCommand(),
			deleteCommand(),
		},
	}
}

const (
	flagStreamsDir = "streams-dir"
	flagFormat     = "format"
	flagDryRun     = "dry-run"
	flagFile       = "file"
	flagID         = "id"
	flagName       = "name"
)

// placeFlags say where triggers are.
func placeFlags() []cli.Flag {
	return append(apiFlags(), &cli.StringFlag{
		Name: flagStreamsDir, Value: "./streams", EnvVars: []string{"IOTCAST_STREAMS_DIR"},
		Usage: "The `directory` that iotcast streams was started with", Category: "iotcast",
	})
}

func formatFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagFormat, Value: string(triggers.Text),
		Usage: "Print as text (YAML; a list as a table), yaml, json, or json-rest (in the camelCase of the REST API)",
	}
}

func dryRunFlag() cli.Flag {
	return &cli.BoolFlag{Name: flagDryRun, Usage: "Print the Benthos stream, and change nothing"}
}

// selectFlags choose a trigger, as an operand does.
func selectFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagID, Usage: "The `ID` of the trigger, instead of an argument"},
		&cli.StringFlag{Name: flagName, Usage: "The `name` of the trigger, instead of an argument"},
	}
}

// call is one run of a trigger command.
type call struct {
	*cli.Context
	names  []string // the operands
	format triggers.Format
	unlock func()
}

// command is what all trigger commands begin and end with.
func command(do func(*call) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		names, err := operands(c)
		if err != nil {
			return err
		}
		f := triggers.Format(cmp.Or(c.String(flagFormat), string(triggers.Text)))
		if !slices.Contains(triggers.Formats, f) {
			return fmt.Errorf("--%s %q must be text, yaml, json or json-rest", flagFormat, f)
		}
		this := &call{Context: c, names: names, format: f, unlock: func() {}}
		defer func() { this.unlock() }()
		return do(this)
	}
}

// reader returns a manager to look at triggers with.
func (c *call) reader() (*triggers.Manager, error) {
	api, err := openAPI(c.Context)
	if err != nil {
		return nil, err
	}
	dir, err := triggers.OpenDir(c.String(flagStreamsDir))
	if err != nil {
		return nil, fmt.Errorf("%w: give the one that `iotcast streams` was started with, by --%s or IOTCAST_STREAMS_DIR", err, flagStreamsDir)
	}
	return &triggers.Manager{Dir: dir, Streams: api, Warn: func(err error) { warn(c.Context, err) }}, nil
}

// manager returns one to change triggers with, which no other command does until
// this one ends.
func (c *call) manager() (*triggers.Manager, error) {
	m, err := c.reader()
	if err != nil {
		return nil, err
	}
	if c.unlock, err = m.Dir.Lock(); err != nil {
		c.unlock = func() {}
	}
	return m, err
}

func warn(c *cli.Context, err error) { fmt.Fprintf(c.App.ErrWriter, "warning: %v\n", err) }

// selected returns the triggers that the operands, or --id or --name, choose.
func (c *call) selected(dir triggers.Dir) (all []triggers.Stored, err error) {
	names := c.names
	for _, flag := range []string{flagID, flagName} {
		if c.IsSet(flag) {
			names = append(names, c.String(flag))
		}
	}
	if len(names) == 0 {
		return nil, usageError(c.Context, errors.New("name a trigger"), true)
	}
	for _, name := range names {
		t, err := dir.Find(name)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

func (c *call) one(dir triggers.Dir) (triggers.Stored, error) {
	all, err := c.selected(dir)
	if err != nil {
		return triggers.Stored{}, err
	}
	if len(all) > 1 {
		return triggers.Stored{}, usageError(c.Context, errors.New("name one trigger only"), true)
	}
	return all[0], nil
}

func (c *call) none() error {
	if len(c.names) > 0 {
		return usageError(c.Context, fmt.Errorf("unexpected argument %q", strings.Join(c.names, " ")), true)
	}
	return nil
}
