package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"
)

const flagCheck = "check"

func streamCommand() *cli.Command {
	return &cli.Command{
		Name:  "stream",
		Usage: "Change a stream of a process in streams mode, safely",
		Subcommands: []*cli.Command{{
			Name:      "update",
			Usage:     "Replace the config of a running stream, or leave it as it is",
			ArgsUsage: "ID FILE",
			Description: `
   iotcast stream update telemetry streams/telemetry.yaml

The stream's own PUT ends the old stream before it makes the new one, so that a
config which cannot be made costs a gap. This command lets the process lint the
new config and build all of it, without starting it, while the old one runs.
Should the new one be refused after that, the process puts the old one back.

An iot_mqtt input loses nothing meanwhile, if it has a client_id, qos 1 or 2 and
clean_session: false, and keeps them: the broker holds its messages.`[1:],
			Flags: append(apiFlags(),
				&cli.BoolFlag{Name: flagCheck, Usage: "Only check the new config, and change nothing"}),
			OnUsageError: usageError,
			Action:       updateStream,
		}},
	}
}

func updateStream(c *cli.Context) error {
	args, err := operands(c)
	if err != nil {
		return err
	}
	if len(args) != 2 {
		return usageError(c, errors.New("name a stream, and the file with its new config (- for standard input)"), true)
	}
	id, path := args[0], args[1]
	config, err := os.ReadFile(path)
	if path == "-" {
		config, err = io.ReadAll(c.App.Reader)
	}
	if err != nil {
		return fmt.Errorf("reading the new config: %w", err)
	}
	api, err := openAPI(c)
	if err != nil {
		return err
	}
	if c.Bool(flagCheck) {
		if err := api.Try(c.Context, id, config); err != nil {
			return fmt.Errorf("checking %s for stream %s: %w", path, id, err)
		}
		fmt.Fprintf(c.App.ErrWriter, "Stream %s can be updated with %s.\n", id, path)
		return nil
	}
	if err := api.Update(c.Context, id, config); err != nil {
		return fmt.Errorf("updating stream %s: %w", id, err)
	}
	fmt.Fprintf(c.App.ErrWriter, "Updated stream %s.\n", id)
	return nil
}
