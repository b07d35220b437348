package mqttclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/version"
)

// ParseURLs takes the URLs of brokers, of which an entry may hold several with
// commas between them. Its errors hold nothing of a URL, since it may hold a
// password.
func ParseURLs(entry string) (urls []*url.URL, err error) {
	for raw := range strings.SplitSeq(entry, ",") {
		if raw = strings.TrimSpace(raw); raw == "" {
			continue
		}
		u, err := url.Parse(raw)
		switch {
		case err != nil:
			return nil, errors.New("not a URL: write it like tcp://localhost:1883, with a number for the port, and in a user or password %40 for @, %3A for :, %2F for /, %25 for % and %2C for a comma")
		case !slices.Contains(schemes, u.Scheme):
			return nil, fmt.Errorf("not the URL of an MQTT broker: write it like tcp://localhost:1883, with one of the schemes %s", strings.Join(schemes, ", "))
		case u.Scheme == "unix" && u.Host+u.Path == "":
			return nil, errors.New("a URL without a socket: write it like unix:///run/mqtt.sock")
		case u.Scheme != "unix" && u.Hostname() == "":
			return nil, fmt.Errorf("a URL without a host: write it like %s://localhost", u.Scheme)
		}
		urls = append(urls, u)
	}
	return urls, nil
}

// Redacted is a URL without what may be secret: user, password and query.
func Redacted(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

var schemes = []string{"tcp", "mqtt", "ssl", "tls", "mqtts", "mqtt+ssl", "tcps", "ws", "wss", "unix"}

// link is a connection, over TLS or WebSocket perhaps, and the socket below it.
// To close that ends the connection at once: TLS and WebSocket wait for the peer.
//
// It embeds neither: what the connection can do besides net.Conn, such as CloseWrite,
// would be hidden.
type link struct {
	conn   net.Conn
	socket net.Conn
}

// dial opens the connection that paho speaks MQTT on.
func dial(ctx context.Context, u *url.URL, config *tls.Config) (l link, err error) {
	switch u.Scheme {
	case "tcp", "mqtt":
		l.conn, err = l.dialTCP(ctx, "tcp", withPort(u, "1883"))
	case "ws", "wss":
		l.conn, err = l.dialWebSocket(ctx, u, config)
	case "unix":
		l.socket, err = new(net.Dialer).DialContext(ctx, "unix", u.Host+u.Path)
		l.conn = l.socket
	default:
		l.conn, err = l.dialTLS(ctx, withPort(u, "8883"), u.Hostname(), config)
	}
	return l, err
}

// dialTCP has the signature of net.Dialer's DialContext.
func (l *link) dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.socket = nc
	return gather(nc), nil
}

func (l *link) dialTLS(ctx context.Context, address, host string, config *tls.Config) (net.Conn, error) {
	nc, err := l.dialTCP(ctx, "tcp", address)
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

// dialWebSocket speaks MQTT over WebSocket (MQTT 3.1.1, section 6), and that over
// HTTP/1.1: net/http's own transport would offer HTTP/2 to a server, too, and write
// so into a TLS configuration that is not its own.
func (l *link) dialWebSocket(ctx context.Context, u *url.URL, config *tls.Config) (net.Conn, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: l.dialTCP, TLSClientConfig: config.Clone()}
	defer transport.CloseIdleConnections() // one that was refused
	bare := *u
	bare.User = nil
	ws, _, err := websocket.Dial(ctx, bare.String(), &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: transport},
		HTTPHeader:   http.Header{"User-Agent": {version.UserAgent()}},
		Subprotocols: []string{"mqtt"},
	})
	var named *url.Error
	if errors.As(err, &named) {
		return nil, named.Err // without the URL, whose query may be secret
	}
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
