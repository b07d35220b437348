package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/iotcast/iotcast/internal/guard"
	"github.com/iotcast/iotcast/internal/version"
)

const (
	flagEndpoint  = "endpoint"
	flagToken     = "token"
	flagTokenFile = "token-file"
	flagCAFile    = "ca-file"
	flagInsecure  = "insecure"

	defaultPort = "4196"

	// maxAnswerBytes is above a page of resources with all that they may have.
	maxAnswerBytes = 64 << 20
)

// connectionFlags say where the management API is, and who calls it.
func connectionFlags() []cli.Flag {
	const category = "Management API"
	return []cli.Flag{
		&cli.StringFlag{
			Name: flagEndpoint, Value: "127.0.0.1:" + defaultPort, EnvVars: []string{"IOTCAST_ENDPOINT"}, Category: category,
			Usage: "The `ADDRESS` of the management API: host:port, which means TLS except on this machine, or https://host:port or http://host:port",
		},
		&cli.StringFlag{
			Name: flagToken, EnvVars: []string{"IOTCAST_TOKEN"}, Category: category,
			Usage: "The `token` to call it with. Other users of this machine see arguments: better set the environment variable, or name a file",
		},
		&cli.StringFlag{Name: flagTokenFile, EnvVars: []string{"IOTCAST_TOKEN_FILE"}, Category: category, TakesFile: true, Usage: "A `file` with the token, instead"},
		&cli.StringFlag{
			Name: flagCAFile, EnvVars: []string{"IOTCAST_CA_FILE"}, Category: category, TakesFile: true,
			Usage: "A `file` with the authorities to trust, in PEM, instead of those of the system",
		},
		&cli.BoolFlag{Name: flagInsecure, Category: category, Usage: "Send the token to other machines without TLS, too: whoever is on the way can read it"},
	}
}

// endpoint is where the management API is.
type endpoint struct {
	address string // host:port
	secure  bool   // by TLS
}

func parseEndpoint(text string) (e endpoint, err error) {
	port := defaultPort
	scheme, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		scheme, rest = "", text
	}
	u, err := url.Parse("//" + rest) // splits host and port, also of [::1]:4196
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return e, fmt.Errorf("%q must be host:port, http://host:port or https://host:port", text)
	case scheme == "https":
		e.secure, port = true, "443"
	case scheme == "http":
		port = "80"
	case isURL:
		return e, fmt.Errorf("%q begins with neither http:// nor https://", text)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	e.address = net.JoinHostPort(u.Hostname(), port)
	if !isURL {
		e.secure = !guard.Loopback(e.address)
	}
	return e, nil
}

// target is an endpoint, and how to call it.
type target struct {
	endpoint
	token string      // empty: none
	tls   *tls.Config // nil without TLS
}

// readTarget reads the flags.
func readTarget(c *cli.Context) (t target, err error) {
	if t.endpoint, err = parseEndpoint(c.String(flagEndpoint)); err != nil {
		return t, fmt.Errorf("--%s %w", flagEndpoint, err)
	}
	if t.token, err = readToken(c); err != nil {
		return t, err
	}
	if t.token != "" && !t.secure && !guard.Loopback(t.address) && !c.Bool(flagInsecure) {
		return t, fmt.Errorf("--%s %s has no TLS, and whoever is on the way could read the token: use https://, or --%s", flagEndpoint, c.String(flagEndpoint), flagInsecure)
	}
	if t.secure {
		authorities, err := readAuthorities(c.String(flagCAFile))
		if err != nil {
			return t, fmt.Errorf("--%s: %w", flagCAFile, err)
		}
		t.tls = &tls.Config{RootCAs: authorities}
	}
	return t, nil
}

// connect prepares a connection as the flags say. Nothing is sent before the first call.
func connect(c *cli.Context) (conn *grpc.ClientConn, address string, err error) {
	t, err := readTarget(c)
	if err != nil {
		return nil, "", err
	}
	transport := insecure.NewCredentials()
	if t.secure {
		transport = credentials.NewTLS(t.tls)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport), grpc.WithDisableServiceConfig(), grpc.WithUserAgent(version.UserAgent()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswerBytes)),
	}
	if t.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(t.token)))
	}
	conn, err = grpc.NewClient("dns:///"+t.address, options...)
	return conn, t.address, err
}

// readToken is empty where there is none to call with.
func readToken(c *cli.Context) (string, error) {
	token, path := c.String(flagToken), c.String(flagTokenFile)
	switch {
	case path != "" && token != "":
		return "", fmt.Errorf("give a token (--%s or IOTCAST_TOKEN) or a file with it (--%s or IOTCAST_TOKEN_FILE), not both", flagToken, flagTokenFile)
	case path != "":
		text, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("reading --%s: %w", flagTokenFile, err)
		}
		if token = strings.TrimSpace(string(text)); token == "" {
			return "", fmt.Errorf("--%s %s is empty", flagTokenFile, path)
		}
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("the token holds white space, or characters that no token has: give the token alone, without Bearer before it")
	}
	return token, nil
}

// readAuthorities is nil, for those of the system, without a path.
func readAuthorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM", path)
	}
	return pool, nil
}

// bearer is a token that goes with each call.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: connect has looked at that.
func (b bearer) RequireTransportSecurity() bool { return false }
