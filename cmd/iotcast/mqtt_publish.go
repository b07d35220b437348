package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"
)

func publishCommand() *cli.Command {
	return &cli.Command{
		Name:  "publish",
		Usage: "Publish a message: --message, a file, each line of the standard input, or all of it",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: flagTopics, Aliases: []string{"t"}, Usage: "The `topic` to publish to"},
			&cli.StringFlag{Name: flagMessage, Aliases: []string{"m"}, Usage: "The `text` to publish"},
			&cli.StringFlag{Name: flagFile, Aliases: []string{"f"}, TakesFile: true, Usage: "A `file` to publish, - for standard input"},
			&cli.BoolFlag{Name: flagLines, Aliases: []string{"l"}, Usage: "Publish each line of the standard input"},
		}, mqttFlags()...),
		OnUsageError: usageError,
		Action:       publish,
	}
}

func publish(c *cli.Context) error {
	if words, err := operands(c); err != nil || len(words) > 0 {
		return errors.Join(err, unexpected(c, words))
	}
	if c.String(flagTopics) == "" {
		return usageError(c, fmt.Errorf("--%s is missing", flagTopics), true)
	}
	sources := 0
	for _, flag := range []string{flagMessage, flagFile, flagLines} {
		if c.IsSet(flag) {
			sources++
		}
	}
	if sources != 1 {
		return usageError(c, fmt.Errorf("give one of --%s, --%s and --%s", flagMessage, flagFile, flagLines), true)
	}
	payload := []byte(c.String(flagMessage))
	if path := c.String(flagFile); path != "" {
		var err error
		if payload, err = readFileOrStdin(c, path); err != nil {
			return fmt.Errorf("reading --%s: %w", flagFile, err)
		}
	}
	link, err := connectMQTT(c, nil)
	if err != nil {
		return err
	}
	defer link.Disconnect(250)
	if c.Bool(flagLines) {
		return link.publishLines(c.String(flagTopics), c.App.Reader)
	}
	return link.publish(c.String(flagTopics), payload)
}

// unexpected is the error about words that are none of the command's, nil if there are none.
func unexpected(c *cli.Context, words []string) error {
	if len(words) == 0 {
		return nil
	}
	return usageError(c, fmt.Errorf("unexpected argument %q", words[0]), true)
}

func readFileOrStdin(c *cli.Context, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(c.App.Reader)
	}
	return os.ReadFile(path)
}

// maxLine is above what any broker takes.
const maxLine = 16 << 20

func (l *mqttLink) publishLines(topic string, from io.Reader) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if err := l.publish(topic, append([]byte(nil), lines.Bytes()...)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// publish returns when the broker has the message, as far as the QoS tells. To end the connection is the only way in which
// MQTT 3.1.1 lets a broker refuse a topic (section 3.3.5).
func (l *mqttLink) publish(topic string, payload []byte) error {
	err := answered(l.Publish(topic, l.qos, false, payload))
	if err != nil && !l.IsConnected() {
		err = fmt.Errorf("the connection ended: may this user publish to %s? (%w)", topic, err)
	}
	if err != nil {
		return fmt.Errorf("publishing on MQTT broker %s: %w", l.name, err)
	}
	return nil
}
