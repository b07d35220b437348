// Package iotregistries is the top-level fields iot_registries and iot_brokers: who takes part, and by what they are known.
package iotregistries

import (
	"encoding/json"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/registry"
)

const (
	fieldRegistries   = "iot_registries"
	fieldBrokers      = "iot_brokers"
	fieldID           = "id"
	fieldDevices      = "devices"
	fieldAliases      = "aliases"
	fieldHashes       = "password_hashes"
	fieldFingerprints = "certificate_fingerprints"
)

const (
	exampleHash        = "$2a$10$kkT5gBvl7XJh/DPzpPrU3u2187QcitBfXFU97ZuUNuEuZ6iivP6hm"
	exampleFingerprint = "ebd0e72a25dbd58fb94ed35aae38ef76ab15ce5d0c3ad0fbe1c4ff1d9e95d6ab"
)

// Fields are the top-level fields.
func Fields() []*service.ConfigField {
	registerProblem() // before the lint rules that use it
	return []*service.ConfigField{registriesField(), brokersField()}
}

func registriesField() *service.ConfigField {
	return service.NewObjectListField(fieldRegistries,
		idField("registry", "my-registry"),
		hashesField(),
		fingerprintsField(),
		service.NewObjectListField(fieldDevices,
			idField("device", "my-device"),
			service.NewStringMapField(fieldAliases).
				Description("Other names for what topics of this device begin with, up to five: with `kitchen/: $devices/my-device/`, the topic `kitchen/events` is `$devices/my-device/events`, to publish and to subscribe. An alias and what it stands for both end with a slash, or neither does. No alias of a registry may begin with another one of it.").
				Default(map[string]any{}).
				Example(map[string]any{"kitchen/": "$devices/my-device/"}),
			hashesField(),
			fingerprintsField(),
		).
			Description("The devices of the registry.").
			Default([]any{}).
			Example([]any{map[string]any{fieldID: "my-device", fieldFingerprints: []any{exampleFingerprint}}}),
	).
		Description("Registries and their devices, with their topic aliases and credentials. With any here, `mqtt_broker` lets in only those that are named, each to its own topics, and `iot_mqtt` inputs take the device of an alias topic from here. What belongs where is told in [registries](../registries.md).").
		Default([]any{}).
		Example([]any{map[string]any{
			fieldID:     "my-registry",
			fieldHashes: []any{exampleHash},
			fieldDevices: []any{map[string]any{
				fieldID:           "my-device",
				fieldAliases:      map[string]any{"kitchen/": "$devices/my-device/"},
				fieldFingerprints: []any{exampleFingerprint},
			}},
		}}).
		LintRule(`root = if this.type() == "array" { this.` + problem + `("` + fieldRegistries + `") }`)
}

func brokersField() *service.ConfigField {
	return service.NewObjectListField(fieldBrokers,
		idField("broker", "my-broker"),
		hashesField(),
		fingerprintsField(),
	).
		Description("Brokers, with their credentials. Clients of a broker publish and subscribe to all topics that do not begin with `$`, and see those of their broker only. With any here, `mqtt_broker` lets in only those that are named.").
		Default([]any{}).
		Example([]any{map[string]any{fieldID: "my-broker", fieldHashes: []any{exampleHash}}}).
		LintRule(`root = if this.type() == "array" { this.` + problem + `("` + fieldBrokers + `") }`)
}

func idField(what, example string) *service.ConfigField {
	return service.NewStringField(fieldID).
		Description("The ID of the " + what + ", which is its user name as well. IDs are unique among all registries, devices and brokers.").
		Example(example)
}

func hashesField() *service.ConfigField {
	return service.NewStringListField(fieldHashes).
		Description("The bcrypt hashes of the passwords to log in with; `iotcast password` makes one of a password. With two, a password can be changed without a gap.").
		Default([]any{}).
		Example([]string{exampleHash})
}

func fingerprintsField() *service.ConfigField {
	return service.NewStringListField(fieldFingerprints).
		Description("The SHA-256 fingerprints of the X.509 certificates to log in with, in hexadecimal, with colons or without, as `openssl x509 -noout -fingerprint -sha256 -in certificate.pem` prints them. The certificate may be self-signed; it must not have expired. If a client gives a password as well, the password decides.").
		Default([]any{}).
		Example([]string{exampleFingerprint})
}

// problem is a Bloblang method, since that is what lint rules are written in. It lets them say what the start would.
const problem = "iot_registries_problem"

func registerProblem() {
	spec := bloblang.NewPluginSpec().
		Category("IoT").
		Description("Tells what is wrong with a list of registries or brokers. The result is an empty list if there is nothing wrong.").
		Param(bloblang.NewStringParam("field").Description("Which list it is: `iot_registries` or `iot_brokers`.").Default(fieldRegistries))
	// An error means that it is registered already: the schema is made more than once.
	_ = bloblang.RegisterMethodV2(problem, spec, func(args *bloblang.ParsedParams) (bloblang.Method, error) {
		name, err := args.GetString("field")
		if err != nil {
			return nil, err
		}
		return bloblang.ArrayMethod(func(list []any) (any, error) {
			var cfg registry.Config
			var err error
			if name == fieldBrokers {
				err = decode(list, &cfg.Brokers)
			} else {
				err = decode(list, &cfg.Registries)
			}
			if err != nil {
				return []any{}, nil // of the wrong type, which another rule says
			}
			if _, err = registry.New(cfg); err != nil {
				return []any{err.Error()}, nil
			}
			return []any{}, nil
		}), nil
	})
}

func decode(list, into any) error {
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// FromConfig reads the fields from the root config. It returns nil if they name nobody: where somebody may come later, an
// empty Directory is for the caller to make.
func FromConfig(root *service.ParsedConfig) (*registry.Directory, error) {
	var cfg registry.Config
	for name, into := range map[string]any{fieldRegistries: &cfg.Registries, fieldBrokers: &cfg.Brokers} {
		if !root.Contains(name) { // the schema does not have the field
			continue
		}
		list, err := root.FieldAny(name)
		if err != nil {
			return nil, err
		}
		if err := decode(list, into); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	if len(cfg.Registries)+len(cfg.Brokers) == 0 {
		return nil, nil
	}
	d, err := registry.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", fieldRegistries, fieldBrokers, err)
	}
	return d, nil
}
