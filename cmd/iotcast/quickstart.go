package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/config"
	"github.com/iotcast/iotcast/plugins"
)

const gatewayAddressVariable = "GATEWAY_ADDRESS"

func quickstartCommand() *cli.Command {
	return &cli.Command{
		Name:  "quickstart",
		Usage: "Run simulated devices, an MQTT broker, a trigger and a gateway, and see their readings in a browser",
		Description: `
Runs the files of config/quickstart, which are part of this binary, in streams
mode. Nothing is needed beside it, and all of it listens on 127.0.0.1 only.

Change the addresses with the environment variables GATEWAY_ADDRESS (default
127.0.0.1:8080), MQTT_ADDRESS (127.0.0.1:1883) and HTTP_ADDRESS (127.0.0.1:4195),
and write the files to a directory, to change them, with --write.`[1:],
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "write", Usage: "Write the files to this `directory` instead of running them"},
		},
		Action: func(c *cli.Context) error {
			if dir := c.String("write"); dir != "" {
				return writeQuickstart(dir)
			}
			return runQuickstart(c.Context)
		},
	}
}

func writeQuickstart(dir string) error {
	if err := os.CopyFS(dir, config.Quickstart()); err != nil {
		return fmt.Errorf("writing the quickstart files: %w", err)
	}
	fmt.Printf("Run them with: iotcast streams -o %s %s\n", filepath.Join(dir, "root.yaml"), filepath.Join(dir, "streams"))
	return nil
}

func runQuickstart(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "iotcast-quickstart-")
	if err != nil {
		return fmt.Errorf("making a directory for the quickstart files: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, config.Quickstart()); err != nil {
		return fmt.Errorf("writing the quickstart files: %w", err)
	}
	code := plugins.Run(ctx, append(branding(),
		service.CLIOptSetArgs("iotcast", "streams", "-o", filepath.Join(dir, "root.yaml"), filepath.Join(dir, "streams")),
		service.CLIOptOnStreamStart(func(*service.RunningStreamSummary) error {
			address := os.Getenv(gatewayAddressVariable)
			if address == "" {
				address = "127.0.0.1:8080"
			}
			fmt.Printf("\n  Four simulated devices are sending. See their readings live:\n\n      http://%s/\n\n  CTRL+C ends it.\n\n", address)
			return nil
		}))...)
	if code != 0 {
		return cli.Exit("the quickstart did not start: see the error above", code)
	}
	return nil
}
