package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/internal/mqttclient"
)

const (
	flagURL      = "url"
	flagUser     = "username"
	flagTopics   = "topic"
	flagQoS      = "qos"
	flagMessage  = "message"
	flagLines    = "line"
	flagCA       = "ca"
	flagCert     = "cert"
	flagKey      = "key"
	flagClientID = "client-id"
	flagDetails  = "details"
	flagCount    = "count"

	mqttTimeout = 10 * time.Second
)

func mqttCommand() *cli.Command {
	return &cli.Command{
		Name:  "mqtt",
		Usage: "Publish and subscribe on an MQTT broker",
		Description: `
As a device, a registry or a broker: with the ID as user name and a password, or
with a certificate.

   iotcast mqtt subscribe -u my-registry -t '$devices/+/events' --details
   iotcast mqtt publish -u my-device -t '$devices/my-device/events' -m 21.5`[1:],
		Subcommands: []*cli.Command{publishCommand(), subscribeCommand()},
	}
}

// mqttFlags say where the MQTT broker is, and who comes.
func mqttFlags() []cli.Flag {
	const category = "MQTT broker"
	return []cli.Flag{
		&cli.IntFlag{Name: flagQoS, Aliases: []string{"q"}, Usage: "The `QoS`: 0, 1 or 2"},
		&cli.StringFlag{
			Name: flagURL, Value: "tcp://127.0.0.1:1883", EnvVars: []string{"IOTCAST_MQTT_URL"}, Category: category,
			Usage: "The `URL` of the broker, as tcp://host:1883, ssl://host:8883 or wss://host/mqtt",
		},
		&cli.StringFlag{Name: flagUser, Aliases: []string{"u"}, EnvVars: []string{"IOTCAST_MQTT_USER"}, Category: category, Usage: "The user `name`: the ID of a device, a registry or a broker"},
		&cli.StringFlag{
			Name: flagPassword, Aliases: []string{"P"}, EnvVars: []string{"IOTCAST_MQTT_PASSWORD"}, Category: category,
			Usage: "Its `password`. Other users of this machine see arguments: better set the environment variable",
		},
		&cli.StringFlag{Name: flagCert, Category: category, TakesFile: true, Usage: "A `file` with a certificate to log in with, in PEM"},
		&cli.StringFlag{Name: flagKey, Category: category, TakesFile: true, Usage: "A `file` with its private key"},
		&cli.StringFlag{Name: flagCA, Category: category, TakesFile: true, Usage: "A `file` with the authorities to trust, in PEM, instead of those of the system"},
		&cli.StringFlag{Name: flagClientID, Category: category, DefaultText: "a random one", Usage: "The MQTT client `ID`"},
	}
}

// mqttLink is a connection to an MQTT broker.
type mqttLink struct {
	mqtt.Client
	name string     // of the broker, in errors
	lost chan error // one, when the connection is
	qos  byte
}

// connectMQTT connects as flags say. What comes in goes to receive, in order.
func connectMQTT(c *cli.Context, receive mqtt.MessageHandler) (*mqttLink, error) {
	urls, err := mqttclient.ParseURLs(c.String(flagURL))
	if err == nil && len(urls) != 1 {
		err = errors.New("give one URL, like tcp://localhost:1883")
	}
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flagURL, err)
	}
	qos := c.Int(flagQoS)
	if qos < 0 || qos > 2 {
		return nil, fmt.Errorf("--%s %d must be 0, 1 or 2", flagQoS, qos)
	}
	config, err := mqttTLS(c)
	if err != nil {
		return nil, err
	}
	clientID := c.String(flagClientID)
	if clientID == "" {
		clientID = "iotcast-" + strings.ToLower(rand.Text()[:12])
	}
	link := &mqttLink{name: mqttclient.Redacted(urls[0]), lost: make(chan error, 1), qos: byte(qos)}
	options := mqtt.NewClientOptions()
	options.Servers = urls
	options.SetClientID(clientID).SetUsername(c.String(flagUser)).SetPassword(c.String(flagPassword)).SetTLSConfig(config).
		SetProtocolVersion(4).SetAutoReconnect(false).SetConnectTimeout(mqttTimeout).SetWriteTimeout(mqttTimeout).
		SetDefaultPublishHandler(receive).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { link.lost <- err })
	link.Client = mqtt.NewClient(options)
	token := link.Connect().(*mqtt.ConnectToken)
	if err := answered(token); err != nil {
		if code := token.ReturnCode(); code == packets.ErrRefusedBadUsernameOrPassword || code == packets.ErrRefusedNotAuthorised {
			err = fmt.Errorf("%w: check --%s, --%s or --%s", err, flagUser, flagPassword, flagCert)
		}
		return nil, fmt.Errorf("connecting to MQTT broker %s: %w", link.name, err)
	}
	return link, nil
}

func mqttTLS(c *cli.Context) (*tls.Config, error) {
	config := new(tls.Config)
	var err error
	if config.RootCAs, err = readAuthorities(c.String(flagCA)); err != nil {
		return nil, fmt.Errorf("--%s: %w", flagCA, err)
	}
	cert, key := c.String(flagCert), c.String(flagKey)
	if (cert == "") != (key == "") {
		return nil, fmt.Errorf("--%s and --%s belong together", flagCert, flagKey)
	}
	if cert == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("--%s, --%s: %w", flagCert, flagKey, err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// answered waits for what the broker says.
func answered(t mqtt.Token) error {
	if !t.WaitTimeout(mqttTimeout) {
		return fmt.Errorf("no answer within %v", mqttTimeout)
	}
	return t.Error()
}

// interrupted ends with a signal, so that a command can take leave of its broker.
func interrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}
