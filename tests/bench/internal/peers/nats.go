package peers

import (
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serveNATS is nats-server itself, which is a library with a small main.
// Its MQTT listener asks for JetStream, even if all is of QoS 0.
func serveNATS(c Config) error {
	host, mqttPort, err := hostPort(c.MQTT)
	if err != nil {
		return err
	}
	_, wsPort, err := hostPort(c.WebSocket)
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "bench",
		Host:       host,
		Port:       server.RANDOM_PORT,
		NoSigs:     true,
		NoLog:      true,
		JetStream:  true,
		StoreDir:   c.Dir,
		MQTT:       server.MQTTOpts{Host: host, Port: mqttPort},
		Websocket:  server.WebsocketOpts{Host: host, Port: wsPort, NoTLS: true},
	})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("nats-server did not start")
	}
	s.WaitForShutdown()
	return nil
}

func hostPort(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}
