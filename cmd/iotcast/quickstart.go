package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/config"
	"github.com/iotcast/iotcast/plugins"
)

// address is one on which the quickstart listens.
type address struct{ variable, byDefault string }

var (
	gatewayAddress = address{"GATEWAY_ADDRESS", "127.0.0.1:8080"}
	// mqttAddress is not MQTT's port 1883: where a broker runs, it is taken.
	mqttAddress = address{"MQTT_ADDRESS", "127.0.0.1:11883"}
	httpAddress = address{"HTTP_ADDRESS", "127.0.0.1:4195"}
)

func (a address) String() string {
	if value := os.Getenv(a.variable); value != "" {
		return value
	}
	return a.byDefault
}

// here is the address as a browser on this machine takes it: one that stands for all
// interfaces, as in a container, is none to go to.
func (a address) here() string {
	host, port, err := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return a.String()
}

// check says which variable to set where the address cannot be had: the errors of
// those who listen name fields of files that a user of the quickstart never saw.
func (a address) check() error {
	l, err := net.Listen("tcp", a.String())
	if err != nil {
		return fmt.Errorf("%w: choose another address with the environment variable %s, as in %s=127.0.0.1:12345 iotcast quickstart",
			err, a.variable, a.variable)
	}
	return l.Close()
}

func quickstartCommand() *cli.Command {
	return &cli.Command{
		Name:  "quickstart",
		Usage: "Run simulated devices, an MQTT broker, a trigger and a gateway, and see their readings in a browser",
		Description: `
Runs the files of config/quickstart, which are part of this binary, in streams
mode. Nothing is needed beside it, and all of it listens on 127.0.0.1 only.

Change the addresses with the environment variables GATEWAY_ADDRESS (default
127.0.0.1:8080), MQTT_ADDRESS (127.0.0.1:11883) and HTTP_ADDRESS (127.0.0.1:4195),
and write the files to a directory, to change them, with --write. The devices and
the trigger connect to the broker at MQTT_ADDRESS, and to no other.

With an HTTP_ADDRESS that other machines reach, such as 0.0.0.0:4195, it starts
only with IOTCAST_API_USER and IOTCAST_API_PASSWORD, the user name and the
password that callers need: whoever reaches that address could run streams.`[1:],
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
	for _, a := range []address{gatewayAddress, mqttAddress, httpAddress} {
		if err := a.check(); err != nil {
			return err
		}
	}
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
			fmt.Printf("\n  Four simulated devices are sending. See their readings live:\n\n      http://%s/\n\n  CTRL+C ends it.\n\n", gatewayAddress.here())
			return nil
		}))...)
	if code != 0 {
		return cli.Exit("the quickstart did not start: see the error above", code)
	}
	return nil
}
