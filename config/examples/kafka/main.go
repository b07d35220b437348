// iotcast with Kafka: the components of iotcast's own binary that this pipeline needs, and Connect's Kafka.
package main

import (
	"context"
	"os"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	_ "github.com/redpanda-data/connect/v4/public/components/kafka"

	"github.com/iotcast/iotcast/plugins"
)

func main() { os.Exit(plugins.Run(context.Background())) }
