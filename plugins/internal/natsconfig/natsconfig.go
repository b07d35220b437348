// Package natsconfig is the fields by which a component reaches NATS, named as those of
// Benthos' nats_* components.
package natsconfig

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/redpanda-data/benthos/v4/public/service"
)

const (
	fieldURLs           = "urls"
	fieldTLS            = "tls"
	fieldHandshakeFirst = "tls_handshake_first"
	fieldInboxPrefix    = "inbox_prefix"

	fieldAuth            = "auth"
	fieldNkeyFile        = "nkey_file"
	fieldNkey            = "nkey"
	fieldCredentialsFile = "user_credentials_file"
	fieldUserJWT         = "user_jwt"
	fieldUserNkeySeed    = "user_nkey_seed"
	fieldUser            = "user"
	fieldPassword        = "password"
	fieldToken           = "token"
)

const (
	errNoURL = "urls needs at least one NATS server, such as nats://localhost:4222"
	errAuth  = "auth takes one way to log in: nkey_file, nkey, user_credentials_file, user_jwt with user_nkey_seed, user with password, or token"
	errPairs = "auth: user_jwt and user_nkey_seed belong together, and password needs user"
)

// RequestTimeout is for a request to NATS.
const RequestTimeout = 5 * time.Second

// Servers is the field that says where NATS is. It has no default.
func Servers() *service.ConfigField {
	return service.NewStringListField(fieldURLs).
		Description("Where the NATS servers are, as a list or with commas between them: `nats://`, `tls://`, `ws://` or `wss://`. One that answers is used, and another when it goes away.").
		Example([]string{"nats://localhost:4222"}).
		Example([]string{"tls://nats-1.example.com:4222", "tls://nats-2.example.com:4222"}).
		LintRule(`root = if this == "" || this.type() == "array" && this.length() == 0 { [ "` + errNoURL + `" ] }`)
}

// Security is the fields that say how to log in, and by which TLS.
func Security() []*service.ConfigField {
	text := func(name, description, example string) *service.ConfigField {
		return service.NewStringField(name).Description(description).Default("").Example(example)
	}
	return []*service.ConfigField{
		service.NewTLSToggledField(fieldTLS).
			Description("TLS settings: a private certificate authority, or a client certificate. Certificates are read again for each connection that Benthos makes."),
		service.NewBoolField(fieldHandshakeFirst).
			Description("Whether TLS begins before the server has said anything, as `handshake_first` of the server asks.").
			Default(false).
			Example(true).
			Advanced(),
		text(fieldInboxPrefix, "Where NATS sends answers. Give each user one of its own, and the permission to subscribe to it only: with that to `_INBOX.>` users can read the answers to others.", "_INBOX_gateway").
			LintRule(`root = if this.re_match("[*>\\s]") || this.has_suffix(".") { [ "inbox_prefix must be a subject without wildcards, and must not end with a dot" ] }`).
			Advanced(),
		service.NewObjectField(fieldAuth,
			text(fieldNkeyFile, "A file with an NKey seed.", "/etc/iotcast/gateway.nk"),
			text(fieldNkey, "An NKey seed.", "${NATS_NKEY}").Secret(),
			text(fieldCredentialsFile, "A file with the JWT of a user and its NKey seed, as `nsc` writes it. It is read again for each connection.", "/etc/iotcast/gateway.creds"),
			text(fieldUserJWT, "The JWT of a user; with `user_nkey_seed`.", "${NATS_USER_JWT}").Secret(),
			text(fieldUserNkeySeed, "The NKey seed of the user; with `user_jwt`.", "${NATS_USER_SEED}").Secret(),
			text(fieldUser, "A user name; with `password`.", "gateway"),
			text(fieldPassword, "The password of the user.", "${NATS_PASSWORD}").Secret(),
			text(fieldToken, "A token.", "${NATS_TOKEN}").Secret(),
		).
			Description("How to log in to NATS: by one of these, or none.").
			LintRule(fmt.Sprintf(`
let ways = [
	this.nkey_file, this.nkey, this.user_credentials_file, this.user_jwt, this.user, this.token,
].filter(way -> way.or("") != "").length()
root = if (this.user_jwt.or("") == "") != (this.user_nkey_seed.or("") == "") || this.user.or("") == "" && this.password.or("") != "" {
  [ %q ]
} else if $ways > 1 {
  [ %q ]
}`, errPairs, errAuth)),
	}
}

// Connection is how to reach NATS.
type Connection struct {
	name    string
	urls    []string
	tls     func() (*tls.Config, error) // reads its files; nil: as the URLs say
	options []nats.Option
}

// Parse reads the fields of the object that conf is. NATS shows the name to those who ask
// for its connections.
func Parse(conf *service.ParsedConfig, name string) (c Connection, err error) {
	c.name = name
	entries, err := conf.FieldStringList(fieldURLs)
	if err != nil {
		return c, err
	}
	for i, entry := range entries {
		for one := range strings.SplitSeq(entry, ",") {
			if one = strings.TrimSpace(one); one == "" {
				continue
			}
			if err := checkURL(one); err != nil {
				return c, fmt.Errorf("field %s: entry %d is %w", fieldURLs, i+1, err)
			}
			c.urls = append(c.urls, one)
		}
	}
	if len(c.urls) == 0 {
		return c, errors.New(errNoURL)
	}
	if c.tls, err = parseTLS(conf); err != nil {
		return c, err
	}
	first, err := conf.FieldBool(fieldHandshakeFirst)
	if err != nil {
		return c, err
	}
	if first {
		c.options = append(c.options, nats.TLSHandshakeFirst())
	}
	prefix, err := conf.FieldString(fieldInboxPrefix)
	if err != nil {
		return c, err
	}
	if prefix != "" {
		c.options = append(c.options, nats.CustomInboxPrefix(prefix))
	}
	login, err := parseAuth(conf.Namespace(fieldAuth))
	if err != nil {
		return c, err
	}
	c.options = append(c.options, login...)
	return c, nil
}

// checkURL quotes nothing of a URL: it may hold a password.
func checkURL(text string) error {
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
		return errors.New("not the URL of a NATS server, such as nats://localhost:4222 or tls://nats.example.com:4222")
	}
	return nil
}

func parseTLS(conf *service.ParsedConfig) (func() (*tls.Config, error), error) {
	read := func() (*tls.Config, error) {
		config, enabled, err := conf.FieldTLSToggled(fieldTLS)
		if err != nil {
			return nil, fmt.Errorf("reading field %s: %w", fieldTLS, err)
		}
		if !enabled {
			return nil, nil
		}
		return config, nil
	}
	switch first, err := read(); {
	case err != nil:
		return nil, err
	case first == nil:
		return nil, nil
	}
	return read, nil
}

func parseAuth(conf *service.ParsedConfig) (options []nats.Option, err error) {
	values := map[string]string{}
	for _, name := range []string{
		fieldNkeyFile, fieldNkey, fieldCredentialsFile, fieldUserJWT, fieldUserNkeySeed, fieldUser, fieldPassword, fieldToken,
	} {
		if values[name], err = conf.FieldString(name); err != nil {
			return nil, err
		}
	}
	if (values[fieldUserJWT] == "") != (values[fieldUserNkeySeed] == "") || values[fieldUser] == "" && values[fieldPassword] != "" {
		return nil, errors.New(errPairs)
	}
	if file := values[fieldNkeyFile]; file != "" {
		option, err := nats.NkeyOptionFromSeed(file)
		if err != nil {
			return nil, fmt.Errorf("field %s.%s: %w", fieldAuth, fieldNkeyFile, err)
		}
		options = append(options, option)
	}
	if seed := values[fieldNkey]; seed != "" {
		option, err := nkey(seed)
		if err != nil {
			return nil, fmt.Errorf("field %s.%s: %w", fieldAuth, fieldNkey, err)
		}
		options = append(options, option)
	}
	if file := values[fieldCredentialsFile]; file != "" {
		options = append(options, nats.UserCredentials(file))
	}
	if jwt := values[fieldUserJWT]; jwt != "" {
		options = append(options, nats.UserJWTAndSeed(jwt, values[fieldUserNkeySeed]))
	}
	if user := values[fieldUser]; user != "" {
		options = append(options, nats.UserInfo(user, values[fieldPassword]))
	}
	if token := values[fieldToken]; token != "" {
		options = append(options, nats.Token(token))
	}
	if len(options) > 1 {
		return nil, errors.New(errAuth)
	}
	return options, nil
}

func nkey(seed string) (nats.Option, error) {
	keys, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return nil, err
	}
	public, err := keys.PublicKey()
	if err != nil {
		return nil, err
	}
	return nats.Nkey(public, keys.Sign), nil
}

// Open connects. Once it has, the connection comes back by itself for as long as it
// is not closed.
func (c Connection) Open(options ...nats.Option) (*nats.Conn, error) {
	options = append(append([]nats.Option{
		nats.Name(c.name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.IgnoreAuthErrorAbort(), // a password may be changed on one side first
		// What is published while there is no connection fails at once: it is
		// published again when there is one.
		nats.ReconnectBufSize(-1),
		nats.Timeout(RequestTimeout),
	}, c.options...), options...)
	if c.tls != nil {
		config, err := c.tls()
		if err != nil {
			return nil, err
		}
		options = append(options, nats.Secure(config))
	}
	nc, err := nats.Connect(strings.Join(c.urls, ","), options...)
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS: %w", err)
	}
	return nc, nil
}

// Test connects, and asks for the stream if it may.
func (c Connection) Test(ctx context.Context, check func(context.Context, jetstream.JetStream) error) service.ConnectionTestResults {
	nc, err := c.Open()
	if err == nil {
		defer nc.Close()
		var js jetstream.JetStream
		if js, err = jetstream.New(nc); err == nil {
			err = check(ctx, js)
		}
	}
	if err != nil {
		return service.ConnectionTestFailed(err).AsList()
	}
	return service.ConnectionTestSucceeded().AsList()
}
