// Package mqttbroker is the top-level field mqtt_broker: the embedded MQTT broker, for those who have none yet.
package mqttbroker

import (
	"fmt"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/devbroker"
	"github.com/iotcast/iotcast/internal/origin"
)

const (
	fieldBroker         = "mqtt_broker"
	fieldAddress        = "address"
	fieldTLS            = "tls"
	fieldCertFile       = "cert_file"
	fieldKeyFile        = "key_file"
	fieldWebSocket      = "websocket"
	fieldPath           = "path"
	fieldAllowedOrigins = "allowed_origins"
	fieldStorageFile    = "storage_file"
	fieldUsers          = "users"
	fieldUser           = "user"
	fieldPassword       = "password"

	defaultAddress = "127.0.0.1:1883"
	defaultPath    = "/mqtt"
)

const description = "An MQTT broker inside this process, from a quickstart's to a small IoT Core: MQTT 3.1.1 and 5, QoS 0 to 2, retained messages, persistent sessions. It starts when this field is present, `{}` for the defaults. " +
	"With `iot_registries` or `iot_brokers`, only those that they name may connect, by password or certificate, each to the topics that are its own; aliases, `$me` topics, permanent topics and monitoring work. See [registries](../registries.md). " +
	"Without them, all who may connect publish and subscribe to every topic. " +
	"A session holds up to 65,535 unacknowledged messages, and what comes on top is dropped, with a warning." +
	metricsDescription

// Field returns the field mqtt_broker, for the schema of the root config.
//
// Benthos fills in an object that is absent with the defaults of its fields, even where it is marked optional, so that
// `mqtt_broker: {}` and no mqtt_broker look the same. A default of the whole object tells them apart: it has an empty
// address, which means no broker, and `create` can print it.
func Field() *service.ConfigField {
	return service.NewObjectField(fieldBroker,
		addressField(fieldAddress, defaultAddress).
			Description("The host and port to listen on for MQTT over TCP. Only programs on this machine reach the default. Empty means no such listener, and no broker if there is no other."),
		service.NewObjectField(fieldTLS,
			addressField(fieldAddress, "").
				Description("The host and port to listen on for MQTT over TLS. Empty means no such listener.").
				Example(":8883"),
			service.NewStringField(fieldCertFile).
				Description("The file of the broker's certificate and those that lead to its authority, in PEM. It is read again when it changes.").
				Default("").
				Example("broker.pem"),
			service.NewStringField(fieldKeyFile).
				Description("The file of the key of the certificate, in PEM. It is read again when it changes.").
				Default("").
				Example("broker-key.pem"),
		).
			Description("MQTT over TLS. Clients may show a certificate of their own, which is known by its fingerprint; see `iot_registries`.").
			LintRule(`root = match {
  (this.cert_file.or("") == "") != (this.key_file.or("") == "") => [ "`+errHalfPair+`" ],
  this.address.or("") != "" && this.cert_file.or("") == "" => [ "`+errNoPair+`" ],
}`),
		service.NewObjectField(fieldWebSocket,
			addressField(fieldAddress, "").
				Description("The host and port to listen on for MQTT over WebSocket. Empty means no such listener.").
				Example("127.0.0.1:8083"),
			service.NewStringField(fieldPath).
				Description("The path of the URL that clients connect to.").
				Default(defaultPath).
				Example("/").
				LintRule(`root = if !this.has_prefix("/") || this.re_match("[{}?#\\s]") { [ "`+errPath+`" ] }`),
			service.NewBoolField(fieldTLS).
				Description("Whether it is WebSocket over TLS (`wss://`), with the certificate of `tls`.").
				Default(false).
				Example(true),
			service.NewStringListField(fieldAllowedOrigins).
				Description("Web pages of other origins that may connect: host patterns such as `*.example.com`, or with a scheme, `https://example.com`. Pages from the same host may always, and so may clients that are not browsers. `*` lets every page in.").
				Default([]any{}).
				Example([]string{"dashboard.example.com"}).
				LintRule(origin.LintRule),
		).
			Description("MQTT over WebSocket, for web pages that speak MQTT."),
		service.NewStringField(fieldStorageFile).
			Description("The file that keeps persistent sessions, what waits in them, and retained messages over a restart; it is made if it is not there. A message of QoS 1 or 2 that goes into a persistent session is acknowledged to its publisher when it is on disk. Empty means that all of it lives in memory, as long as the process.").
			Default("").
			Example("/var/lib/iotcast/broker.db"),
		service.NewObjectListField(fieldUsers,
			service.NewStringField(fieldUser).
				Description("The user name."),
			service.NewStringField(fieldPassword).
				Description("The password.").
				Secret(),
		).
			Description("Who may connect, where there are neither `iot_registries` nor `iot_brokers`. Each user may publish and subscribe to every topic. With none, anyone may connect.").
			Example([]any{map[string]any{fieldUser: "device-1", fieldPassword: "${DEVICE_1_PASSWORD}"}}).
			Default([]any{}),
		limitsField(),
	).
		Description(description).
		Example(map[string]any{}).
		Example(map[string]any{
			fieldAddress: ":1883",
			fieldUsers:   []any{map[string]any{fieldUser: "device-1", fieldPassword: "${DEVICE_1_PASSWORD}"}},
		}).
		Example(map[string]any{
			fieldTLS:         map[string]any{fieldAddress: ":8883", fieldCertFile: "broker.pem", fieldKeyFile: "broker-key.pem"},
			fieldStorageFile: "/var/lib/iotcast/broker.db",
		}).
		Example(map[string]any{
			fieldAddress: ":1883",
			fieldUsers:   []any{map[string]any{fieldUser: "device-1", fieldPassword: "${DEVICE_1_PASSWORD}"}},
			fieldLimits: map[string]any{
				fieldMaxConnections: 1000, fieldMaxSessions: 2000, fieldMaxRetainedBytes: 100 << 20, fieldMaxSessionBytes: 10 << 20,
				fieldMessageRate: 10,
			},
		}).
		Default(map[string]any{
			fieldAddress:     "",
			fieldTLS:         map[string]any{fieldAddress: "", fieldCertFile: "", fieldKeyFile: ""},
			fieldWebSocket:   map[string]any{fieldAddress: "", fieldPath: defaultPath, fieldTLS: false, fieldAllowedOrigins: []any{}},
			fieldStorageFile: "",
			fieldUsers:       []any{},
			fieldLimits:      limitDefaults(),
		}).
		// Here and not on users: a rule of a list sees one element at a time.
		LintRule(`let names = this.users.or([]).map_each(u -> u.user)
root = match {
  $names.unique().length() != $names.length() => [ "each user may appear once in users" ],
  this.websocket.tls.or(false) && this.tls.cert_file.or("") == "" => [ "` + errNoPair + `" ],
}`)
}

const (
	errHalfPair = "tls needs both cert_file and key_file"
	errNoPair   = "tls needs cert_file and key_file: a listener of TLS has no certificate otherwise"
	errPath     = "path must begin with / and hold neither white space nor any of { } ? #"
)

func addressField(name, byDefault string) *service.ConfigField {
	return service.NewStringField(name).
		Example("127.0.0.1:1883").
		Example(":1883").
		Default(byDefault).
		LintRule(`root = if this != "" && !this.re_match("^(\\[[0-9A-Fa-f:.]+(%[^\\]]+)?\\]|[^:\\[\\]/ ]*):[0-9]{1,5}$") { [ "address must be host:port, such as 127.0.0.1:1883, or :1883 for all interfaces" ] }`)
}

// FromConfig reads the field from the root config. It returns false when there is to be no broker: the field is absent, or
// no listener has an address.
func FromConfig(root *service.ParsedConfig) (cfg devbroker.Config, enabled bool, err error) {
	if !root.Contains(fieldBroker) { // the schema does not have the field
		return cfg, false, nil
	}
	conf := root.Namespace(fieldBroker)
	for to, path := range map[*string][]string{
		&cfg.Address:           {fieldAddress},
		&cfg.TLS.Address:       {fieldTLS, fieldAddress},
		&cfg.TLS.CertFile:      {fieldTLS, fieldCertFile},
		&cfg.TLS.KeyFile:       {fieldTLS, fieldKeyFile},
		&cfg.WebSocket.Address: {fieldWebSocket, fieldAddress},
		&cfg.WebSocket.Path:    {fieldWebSocket, fieldPath},
		&cfg.File:              {fieldStorageFile},
	} {
		if *to, err = conf.FieldString(path...); err != nil {
			return devbroker.Config{}, false, err
		}
	}
	if cfg.Address == "" && cfg.TLS.Address == "" && cfg.WebSocket.Address == "" {
		return devbroker.Config{}, false, nil
	}
	if cfg.WebSocket.TLS, err = conf.FieldBool(fieldWebSocket, fieldTLS); err != nil {
		return devbroker.Config{}, false, err
	}
	if cfg.WebSocket.AllowedOrigins, err = conf.FieldStringList(fieldWebSocket, fieldAllowedOrigins); err != nil {
		return devbroker.Config{}, false, err
	}
	if path := cfg.WebSocket.Path; !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "{}?# \t\r\n") {
		return devbroker.Config{}, false, fmt.Errorf("%s.%s.%s: %s", fieldBroker, fieldWebSocket, fieldPath, errPath)
	}
	if cfg.Users, err = usersFromConfig(conf); err != nil {
		return devbroker.Config{}, false, fmt.Errorf("reading %s.%s: %w", fieldBroker, fieldUsers, err)
	}
	if cfg.Limits, err = limitsFromConfig(conf); err != nil {
		return devbroker.Config{}, false, err
	}
	return cfg, true, nil
}

func usersFromConfig(conf *service.ParsedConfig) (map[string]string, error) {
	list, err := conf.FieldObjectList(fieldUsers)
	if err != nil {
		return nil, err
	}
	users := make(map[string]string, len(list))
	for _, c := range list {
		user, err := c.FieldString(fieldUser)
		if err != nil {
			return nil, err
		}
		password, err := c.FieldString(fieldPassword)
		if err != nil {
			return nil, err
		}
		// Both are empty when the environment variable that should hold them is not set: better no broker than an open one.
		if user == "" || password == "" {
			return nil, fmt.Errorf("user %q: neither user nor password may be empty", user)
		}
		if _, ok := users[user]; ok {
			return nil, fmt.Errorf("user %q appears twice", user)
		}
		users[user] = password
	}
	return users, nil
}
