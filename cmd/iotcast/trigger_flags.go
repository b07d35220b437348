package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/internal/triggers"
)

const (
	flagDescription    = "description"
	flagLabels         = "labels"
	flagRegistryID     = "registry-id"
	flagDeviceID       = "device-id"
	flagBrokerID       = "broker-id"
	flagTopic          = "mqtt-topic"
	flagBatchSize      = "batch-size"
	flagBatchCutoff    = "batch-cutoff"
	flagGateway        = "gateway-id"
	flagPath           = "gateway-websocket-broadcast-path"
	flagServiceAccount = "gateway-websocket-broadcast-service-account-id"

	flagURL      = "mqtt-url"
	flagQoS      = "qos"
	flagClientID = "client-id"
	flagTemplate = "template"
)

// flagNames are the flags by which users know the fields of a trigger.
var flagNames = map[triggers.Field]string{
	triggers.FieldName:           flagName,
	triggers.FieldDescription:    flagDescription,
	triggers.FieldLabels:         flagLabels,
	triggers.FieldRegistryID:     flagRegistryID,
	triggers.FieldDeviceID:       flagDeviceID,
	triggers.FieldBrokerID:       flagBrokerID,
	triggers.FieldTopic:          flagTopic,
	triggers.FieldBatchSize:      flagBatchSize,
	triggers.FieldBatchCutoff:    flagBatchCutoff,
	triggers.FieldGateway:        flagGateway,
	triggers.FieldPath:           flagPath,
	triggers.FieldServiceAccount: flagServiceAccount,
}

// newPrefix stands before the flags that change a rule: --new-mqtt-topic.
const newPrefix = "new-"

// descriptionFlags are flags that create and update share.
func descriptionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagDescription, Usage: "A `text` of up to 256 characters for people to read", Category: "Trigger"},
		&cli.StringSliceFlag{Name: flagLabels, Usage: "`KEY=VALUE`, up to 64, separated by commas or each with a flag of its own", Category: "Trigger"},
	}
}

func sourceFlags(source iotcore.Source, prefix string) []cli.Flag {
	topic := &cli.StringFlag{Name: prefix + flagTopic, Usage: "The MQTT topic or `filter` to listen to; without: all topics of the broker", Category: "Trigger"}
	if source == iotcore.Broker {
		return []cli.Flag{
			&cli.StringFlag{Name: prefix + flagBrokerID, Usage: "The `ID` of the broker, which clients find in each message", Category: "Trigger"},
			topic,
		}
	}
	topic.Usage = "The MQTT topic or `filter` to listen to; without: all topics of the device or registry"
	return []cli.Flag{
		&cli.StringFlag{Name: prefix + flagRegistryID, Usage: "The `ID` of the registry, which clients find in each message", Category: "Trigger"},
		&cli.StringFlag{Name: prefix + flagDeviceID, Usage: "The `ID` of a device; without: all devices of the registry", Category: "Trigger"},
		topic,
	}
}

func ruleFlags(prefix string) []cli.Flag {
	return []cli.Flag{
		&cli.Int64Flag{Name: prefix + flagBatchSize, Value: triggers.DefaultBatchSize, Usage: "The largest `number` of messages in one WebSocket message, 1 to 1000", Category: "Trigger"},
		&cli.DurationFlag{Name: prefix + flagBatchCutoff, Value: triggers.DefaultBatchCutoff, Usage: "The longest `time` that a message waits for others, 0s to 60s", Category: "Trigger"},
		&cli.StringFlag{Name: prefix + flagGateway, Usage: "The `label` of one of the websocket_gateways", Category: "Trigger"},
		&cli.StringFlag{Name: prefix + flagPath, Usage: "The `path` of one of the gateway's routes", Category: "Trigger"},
		&cli.StringFlag{Name: prefix + flagServiceAccount, Usage: "The `ID` of the service account to send as", Category: "Trigger"},
	}
}

// readRule puts into r what flags say.
func readRule(c *cli.Context, prefix string, r *triggers.Rule) {
	for name, to := range map[string]*string{
		flagRegistryID: &r.RegistryID, flagDeviceID: &r.DeviceID, flagBrokerID: &r.BrokerID, flagTopic: &r.Topic,
		flagGateway: &r.Gateway, flagPath: &r.Path, flagServiceAccount: &r.ServiceAccountID,
	} {
		if c.IsSet(prefix + name) {
			*to = c.String(prefix + name)
		}
	}
	if c.IsSet(prefix + flagBatchSize) {
		r.BatchSize = c.Int64(prefix + flagBatchSize)
	}
	if c.IsSet(prefix + flagBatchCutoff) {
		r.BatchCutoff = c.Duration(prefix + flagBatchCutoff)
	}
}

// readDescription puts into t what flags say.
func readDescription(c *cli.Context, t *triggers.Trigger) error {
	if c.IsSet(flagDescription) {
		t.Description = c.String(flagDescription)
	}
	if !c.IsSet(flagLabels) {
		return nil
	}
	t.Labels = map[string]string{}
	for _, label := range c.StringSlice(flagLabels) {
		key, value, ok := strings.Cut(label, "=")
		if !ok && label != "" {
			return fmt.Errorf("--%s %q must be KEY=VALUE", flagLabels, label)
		}
		if ok {
			t.Labels[key] = value
		}
	}
	return nil
}

func brokerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{
			Name: flagURL, EnvVars: []string{"IOTCAST_MQTT_URL"}, Category: "MQTT broker",
			Usage: "The `URL` of the MQTT broker, as tcp://host:1883 or ssl://host:8883; with several, the first that answers", DefaultText: "as in the template",
		},
		qosFlag(),
	}
}

func qosFlag() cli.Flag {
	return &cli.IntFlag{
		Name: flagQoS, Category: "MQTT broker", DefaultText: "as in the template",
		Usage: "The `QoS` to subscribe with: 0, 1 or 2. From 1 on the broker keeps messages while iotcast is away",
	}
}

func createBrokerFlags() []cli.Flag {
	return append(brokerFlags(),
		&cli.StringFlag{
			Name: flagClientID, Category: "MQTT broker", DefaultText: "iotcast-<ID of the trigger>",
			Usage: "The MQTT client `ID`, by which the broker knows the trigger again",
		},
		templateFlag(),
	)
}

func templateFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagTemplate, EnvVars: []string{"IOTCAST_TRIGGER_TEMPLATE"}, Category: "MQTT broker", DefaultText: "the one in docs/triggers.md",
		Usage: "A `file` with the stream that a trigger becomes: for TLS, or for processors or outputs of your own",
	}
}

// readConnection reads the flags about the MQTT broker.
func readConnection(c *cli.Context) (triggers.Connection, error) {
	conn := triggers.Connection{ClientID: c.String(flagClientID)}
	if c.IsSet(flagURL) {
		conn.URLs = c.StringSlice(flagURL)
	}
	for _, address := range conn.URLs {
		if err := checkURL(address); err != nil {
			return conn, fmt.Errorf("--%s: %w", flagURL, err)
		}
	}
	if c.IsSet(flagQoS) {
		qos := c.Int(flagQoS)
		if qos < 0 || qos > 2 {
			return conn, fmt.Errorf("--%s %d must be 0, 1 or 2", flagQoS, qos)
		}
		conn.QoS = &qos
	}
	return conn, nil
}

// checkURL tells what keeps a trigger from ever connecting. It does not repeat the
// URL, which may hold a password.
func checkURL(address string) error {
	if strings.Contains(address, "${") {
		return nil // known to the process that runs the trigger
	}
	urls, err := mqttclient.ParseURLs(address)
	if err == nil && len(urls) == 0 {
		err = errors.New("empty: write it like tcp://localhost:1883")
	}
	return err
}

func readTemplate(c *cli.Context) ([]byte, error) {
	path := c.String(flagTemplate)
	if path == "" {
		return triggers.Template, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading --%s: %w", flagTemplate, err)
	}
	return text, nil
}
