package mqttclient

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/coder/websocket"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// dial opens the connection that paho speaks MQTT on.
func dial(u *url.URL, o mqtt.ClientOptions) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), o.ConnectTimeout)
	defer cancel()
	var (
		nc  net.Conn
		err error
	)
	switch u.Scheme {
	case "tcp", "mqtt":
		nc, err = dialTCP(ctx, "tcp", withPort(u, "1883"))
	case "ssl", "tls", "mqtts", "mqtt+ssl", "tcps":
		nc, err = dialTLS(ctx, withPort(u, "8883"), u.Hostname(), o.TLSConfig)
	case "ws", "wss":
		nc, err = dialWebSocket(ctx, u, o.TLSConfig)
	case "unix":
		nc, err = new(net.Dialer).DialContext(ctx, "unix", u.Host+u.Path)
	default:
		return nil, fmt.Errorf("unknown scheme %q in %s: use tcp, ssl, ws, wss or unix", u.Scheme, u.Redacted())
	}
	return nc, err
}

// dialTCP has the signature of net.Dialer's DialContext.
func dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return gather(nc), nil
}

func dialTLS(ctx context.Context, address, host string, config *tls.Config) (net.Conn, error) {
	nc, err := dialTCP(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if config == nil {
		config = new(tls.Config)
	}
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = host
	}
	conn := tls.Client(nc, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return conn, nil
}

// dialWebSocket speaks MQTT over WebSocket (MQTT 3.1.1, section 6).
func dialWebSocket(ctx context.Context, u *url.URL, tlsConfig *tls.Config) (net.Conn, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = tlsConfig
	transport.DialContext = dialTCP
	bare := *u
	bare.User = nil
	ws, _, err := websocket.Dial(ctx, bare.String(), &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: transport},
		Subprotocols: []string{"mqtt"},
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1)
	return websocket.NetConn(context.Background(), ws, websocket.MessageBinary), nil
}

func withPort(u *url.URL, port string) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), port)
}
