// Package peers are the servers that iotcast is compared with, each as its own
// documentation would have it: an MQTT subscription at one end, a broadcast to
// all WebSocket connections at the other.
package peers

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// Config is where a peer listens, and what it subscribes to.
type Config struct {
	Name      string `json:"name"`
	WebSocket string `json:"websocket"` // address to listen on
	Broker    string `json:"broker"`    // to subscribe at
	MQTT      string `json:"mqtt"`      // address to listen on, for peers that are brokers
	Topic     string `json:"topic"`
	Dir       string `json:"dir"` // for files
}

var byName = map[string]func(Config) error{
	"raw":        func(c Config) error { return serveRaw(c, false) },
	"raw-batch":  func(c Config) error { return serveRaw(c, true) },
	"gws":        serveGWS,
	"coder":      serveCoder,
	"gateway":    serveGateway,
	"centrifuge": serveCentrifuge,
	"nats":       serveNATS,
}

// Main runs a peer until it is killed. args is its Config in JSON.
func Main(args []string) error {
	var c Config
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		return err
	}
	serve, ok := byName[c.Name]
	if !ok {
		return fmt.Errorf("unknown peer %q", c.Name)
	}
	return serve(c)
}

// bridge subscribes and hands one envelope a message to send, in order.
func bridge(c Config, send func(envelope []byte)) error {
	count := 0
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + c.Broker).SetClientID("bridge"))
	if t := client.Connect(); t.Wait() && t.Error() != nil {
		return t.Error()
	}
	t := client.Subscribe(c.Topic, 0, func(_ paho.Client, m paho.Message) {
		count++
		send(envelope(count, m.Topic(), m.Payload()))
	})
	t.Wait()
	return t.Error()
}

// envelope is as long as iotcast's, and the constant parts are ready-made.
func envelope(count int, topic string, payload []byte) []byte {
	b := make([]byte, 0, 512)
	b = append(b, `{"messages":[{"event_metadata":{"event_id":"00000000-0000-7000-8000-`...)
	b = append(strconv.AppendInt(b, 100_000_000_000+int64(count), 10), `","event_type":"yandex.cloud.events.iot.IoTMessage","created_at":"`...)
	b = append(time.Now().UTC().AppendFormat(b, time.RFC3339Nano), `"},"details":{"registry_id":"bench","device_id":"device","mqtt_topic":"`...)
	b = append(append(b, topic...), `","payload":"`...)
	return append(base64.StdEncoding.AppendEncode(b, payload), `"}}]}`...)
}

// serveHTTP is the end of the peers that stand on net/http.
func serveHTTP(c Config, h http.HandlerFunc, send func([]byte)) error {
	if err := bridge(c, send); err != nil {
		return err
	}
	return http.ListenAndServe(c.WebSocket, h)
}
