// Command iotcast is Benthos with IoT topics at one end and WebSocket
// connections at the other.
package main

import (
	"context"
	"os"

	"github.com/redpanda-data/benthos/v4/public/service"

	// The components that belong to Benthos itself, and those that users of this
	// binary expect beside ours. Each is imported singly: all of them would make
	// the binary five times as large, and some, as kafka and otlp, have code under
	// the Redpanda Community License: internal/licences fails for it.
	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure/extended"
	_ "github.com/redpanda-data/connect/v4/public/components/mqtt"
	_ "github.com/redpanda-data/connect/v4/public/components/nats"
	_ "github.com/redpanda-data/connect/v4/public/components/prometheus"
	_ "github.com/redpanda-data/connect/v4/public/components/redis"

	"github.com/iotcast/iotcast/plugins"
	_ "github.com/iotcast/iotcast/plugins/opentelemetry" // registers the tracer
)

func main() {
	os.Exit(plugins.Run(context.Background(), append(branding(),
		service.CLIOptAddCommand(quickstartCommand()),
		service.CLIOptAddCommand(triggerCommand()),
		service.CLIOptAddCommand(registryCommand()),
		service.CLIOptAddCommand(deviceCommand()),
		service.CLIOptAddCommand(brokerCommand()),
		service.CLIOptAddCommand(stateCommand()),
		service.CLIOptAddCommand(mqttCommand()),
		service.CLIOptAddCommand(tapCommand()),
		service.CLIOptAddCommand(completionCommand()),
		service.CLIOptAddCommand(completeCommand()),
		service.CLIOptAddCommand(manCommand()),
		service.CLIOptAddCommand(streamCommand()),
		service.CLIOptAddCommand(passwordCommand()))...))
}

func branding() []service.CLIOptFunc {
	return []service.CLIOptFunc{
		service.CLIOptSetBinaryName("iotcast"),
	}
}
