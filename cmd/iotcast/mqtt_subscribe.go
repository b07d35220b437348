package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/urfave/cli/v2"
)

func subscribeCommand() *cli.Command {
	return &cli.Command{
		Name:  "subscribe",
		Usage: "Print what comes on topics, until it is interrupted",
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: flagTopics, Aliases: []string{"t"}, Usage: "The topic or `filter` to subscribe to; several by commas or a flag each"},
			&cli.BoolFlag{Name: flagDetails, Usage: "Print a line of JSON for each message, with its topic, QoS and time, instead of its payload"},
			&cli.IntFlag{Name: flagCount, Aliases: []string{"n"}, Usage: "End after this `number` of messages"},
		}, mqttFlags()...),
		OnUsageError: usageError,
		Action:       subscribe,
	}
}

func subscribe(c *cli.Context) error {
	if words, err := operands(c); err != nil || len(words) > 0 {
		return errors.Join(err, unexpected(c, words))
	}
	filters := map[string]byte{}
	for _, filter := range c.StringSlice(flagTopics) {
		filters[filter] = byte(c.Int(flagQoS))
	}
	if len(filters) == 0 {
		return usageError(c, fmt.Errorf("--%s is missing", flagTopics), true)
	}
	ctx, stop := interrupted(c.Context)
	defer stop()
	printed := make(chan error)
	out, details, obeyed := c.App.Writer, c.Bool(flagDetails), isTerminal(c.App.Writer)
	link, err := connectMQTT(c, func(_ mqtt.Client, m mqtt.Message) {
		select {
		case printed <- printMessage(out, m, details, obeyed):
		case <-ctx.Done():
		}
	})
	if err != nil {
		return err
	}
	defer link.Disconnect(250)
	defer stop() // first: a handler that waits would hold Disconnect up
	token := link.SubscribeMultiple(filters, nil).(*mqtt.SubscribeToken)
	subscribed := make(chan error, 1)
	go func() { subscribed <- granted(token) }() // messages may come before the answer, and that after them
	for left := c.Int(flagCount); ; {
		select {
		case err := <-subscribed:
			if err != nil {
				return fmt.Errorf("subscribing on MQTT broker %s: %w", link.name, err)
			}
			fmt.Fprintln(c.App.ErrWriter, "Subscribed.")
		case err := <-printed:
			if err != nil {
				return err
			}
			if left--; left == 0 {
				return nil
			}
		case err := <-link.lost:
			return fmt.Errorf("the connection to MQTT broker %s ended: %w", link.name, err)
		case <-ctx.Done():
			return nil
		}
	}
}

// granted fails if the broker refuses a filter, which is no error to paho (MQTT 3.1.1, section 3.9.3).
func granted(token *mqtt.SubscribeToken) error {
	if err := answered(token); err != nil {
		return err
	}
	for filter, qos := range token.Result() {
		if qos == 0x80 {
			return fmt.Errorf("the broker refused the topic filter %q: check that this user may subscribe to it", filter)
		}
	}
	return nil
}

// printMessage prints a payload as it is, or a line with it. Where a terminal would obey what a device sent, it is shown instead.
func printMessage(w io.Writer, m mqtt.Message, details, obeyed bool) error {
	text := string(m.Payload())
	if details {
		var err error
		if text, err = detailsOf(m); err != nil {
			return err
		}
	}
	if obeyed {
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			lines[i] = harmless(strings.TrimSuffix(line, "\r"))
		}
		text = strings.Join(lines, "\n")
	}
	_, err := io.WriteString(w, text+"\n")
	return err
}

// detailsOf is a message as a line of JSON.
func detailsOf(m mqtt.Message) (string, error) {
	line := struct {
		Topic    string `json:"topic"`
		QoS      byte   `json:"qos"`
		Retained bool   `json:"retained"`
		Time     string `json:"time"`
		Payload  string `json:"payload,omitempty"`
		Base64   string `json:"payload_base64,omitempty"` // instead, where the payload is no text
	}{Topic: m.Topic(), QoS: m.Qos(), Retained: m.Retained(), Time: time.Now().UTC().Format(time.RFC3339Nano)}
	if utf8.Valid(m.Payload()) {
		line.Payload = string(m.Payload())
	} else {
		line.Base64 = base64.StdEncoding.EncodeToString(m.Payload())
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(line)
	return strings.TrimSuffix(b.String(), "\n"), err
}
