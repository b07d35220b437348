// Package mqttbroker is the top-level field mqtt_broker: the embedded MQTT broker, for those who have none yet.
package mqttbroker

import (
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"iotcast/internal/devbroker"
)

const (
	fieldBroker   = "mqtt_broker"
	fieldAddress  = "address"
	fieldUsers    = "users"
	fieldUser     = "user"
	fieldPassword = "password"

	defaultAddress = "127.0.0.1:1883"
)

// Field returns the field mqtt_broker, for the schema of the root config.
//
// Benthos fills in an object that is absent with the defaults of its fields, even where it is marked optional, so that
// `mqtt_broker: {}` and no mqtt_broker look the same. A default of the whole object tells them apart: it has an empty
// address, which means no broker, and `create` can print it.
func Field() *service.ConfigField {
	return service.NewObjectField(fieldBroker,
		service.NewStringField(fieldAddress).
			Description("The host and port to listen on. Only programs on this machine reach the default. An empty address means no broker.").
			Example("127.0.0.1:1883").
			Example(":1883").
			Default(defaultAddress).
			LintRule(`root = if this != "" && !this.re_match("^(\\[[0-9A-Fa-f:.]+(%[^\\]]+)?\\]|[^:\\[\\]/ ]*):[0-9]{1,5}$") { [ "address must be host:port, such as 127.0.0.1:1883, or :1883 for all interfaces" ] }`),
		service.NewObjectListField(fieldUsers,
			service.NewStringField(fieldUser).
				Description("The user name."),
			service.NewStringField(fieldPassword).
				Description("The password.").
				Secret(),
		).
			Description("Who may connect. Each user may publish and subscribe to every topic. With none, anyone may connect.").
			Example([]any{map[string]any{fieldUser: "device-1", fieldPassword: "${DEVICE_1_PASSWORD}"}}).
			Default([]any{}),
	).
		Description("An MQTT broker inside this process, for a quickstart or a test bench: MQTT 3.1.1 and 5, QoS 0 to 2, retained messages, persistent sessions. It starts when this field is present, `{}` for the defaults, and keeps everything in memory: a restart forgets sessions and messages. A session holds up to 65,535 unacknowledged messages, and what comes on top is dropped, with a warning.").
		Example(map[string]any{}).
		Example(map[string]any{
			fieldAddress: ":1883",
			fieldUsers:   []any{map[string]any{fieldUser: "device-1", fieldPassword: "${DEVICE_1_PASSWORD}"}},
		}).
		Default(map[string]any{fieldAddress: ""}).
		// Here and not on users: a rule of a list sees one element at a time.
		LintRule(`let names = this.users.or([]).map_each(u -> u.user)
root = if $names.unique().length() != $names.length() { [ "each user may appear once in users" ] }`)
}

// FromConfig reads the field from the root config. It returns false when there is to be no broker: the field is absent,
// or its address is empty.
func FromConfig(root *service.ParsedConfig) (devbroker.Config, bool, error) {
	var cfg devbroker.Config
	if !root.Contains(fieldBroker) { // the schema does not have the field
		return cfg, false, nil
	}
	conf := root.Namespace(fieldBroker)
	var err error
	if cfg.Address, err = conf.FieldString(fieldAddress); err != nil || cfg.Address == "" {
		return devbroker.Config{}, false, err
	}
	if cfg.Users, err = usersFromConfig(conf); err != nil {
		return devbroker.Config{}, false, fmt.Errorf("reading %s.%s: %w", fieldBroker, fieldUsers, err)
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
