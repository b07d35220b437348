package iotmqtt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/plugins/internal/duration"
)

const (
	fieldURLs           = "urls"
	fieldClientID       = "client_id"
	fieldUser           = "user"
	fieldPassword       = "password"
	fieldTLS            = "tls"
	fieldKeepAlive      = "keepalive"
	fieldConnectTimeout = "connect_timeout"
	fieldRegistryID     = "registry_id"
	fieldDeviceID       = "device_id"
	fieldBrokerID       = "broker_id"
	fieldTopics         = "topics"
	fieldUnsubscribe    = "unsubscribe"
	fieldQoS            = "qos"
	fieldCleanSession   = "clean_session"
	fieldMaxUnacked     = "max_unacked"
	fieldStrictOrder    = "strict_order"
	fieldBatching       = "batching"
)

// Spec describes the input's configuration.
func Spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Stable().
		Version("0.1.0").
		Categories("Services").
		Summary("Receives the messages of IoT topics from an MQTT broker, and loses none.").
		Description(description).
		Fields(
			service.NewStringListField(fieldURLs).
				Description("Where the MQTT broker is: `tcp://`, `ssl://`, `ws://`, `wss://` or `unix://`. With several, as a list or with commas between them, they are tried in order, each for `connect_timeout`, and the first that answers is used. A user and a password in a URL win over `user` and `password`.").
				Example([]string{"tcp://localhost:1883"}).
				Example([]string{"ssl://mqtt-1.example.com:8883", "ssl://mqtt-2.example.com:8883"}).
				LintRule(`root = if this == "" || this.type() == "array" && this.length() == 0 { [ "`+errNoURL+`" ] } else if this.type() == "string" && this.`+fieldProblem+`("`+fieldURLs+`") != "" { this.`+fieldProblem+`("`+fieldURLs+`") }`),
			service.NewStringField(fieldRegistryID).
				Description("The registry whose devices to listen to. It makes this a device source: clients get the device format. Set either this or `broker_id`.").
				Default("").
				Example("my-registry"),
			service.NewStringField(fieldDeviceID).
				Description("Only messages of this device, and not of the whole registry.").
				Default("").
				Example("my-device"),
			service.NewStringField(fieldBrokerID).
				Description("The broker to listen to. It makes this a broker source: clients get the broker format. Set either this or `registry_id`.").
				Default("").
				Example("my-broker"),
			service.NewStringListField(fieldTopics).
				Description("The topic filters to subscribe to, with the wildcards of MQTT. When empty: all topics of the registry (`$devices/+/#` and `$registries/<registry_id>/#`), of the device (`$devices/<device_id>/#`), or of the broker (`#`). Of a device source, a filter that begins with `$devices/` covers device topics, one with `$registries/` registry topics, and any other aliases, of which `#` covers all. Monitoring topics (`$monitoring/…`) are refused, and so is a filter that can match nothing, such as `$devices/+`.").
				Default([]any{}).
				Example([]string{"$devices/+/events/#"}).
				Example([]string{"factory/+/temperature"}).
				LintRule(topicsLint),
			service.NewStringListField(fieldUnsubscribe).
				Description("Topic filters that were once in `topics` and are no longer. With `clean_session: false` the broker keeps subscriptions as it keeps messages, and goes on sending what these cover until it is told to stop. A change of a [trigger](../triggers.md) fills this in.").
				Default([]any{}).
				Advanced().
				Example([]string{"$devices/+/state"}),
			service.NewStringField(fieldClientID).
				Description("The MQTT client ID, unique on the broker. When empty, a random one is made at each start; a session that outlives a restart (`clean_session: false`) needs one that stays.").
				Default("").
				Example("iotcast-telemetry"),
			service.NewStringField(fieldUser).
				Description("The user name to log in with.").
				Default("").
				Example("iotcast"),
			service.NewStringField(fieldPassword).
				Description("The password to log in with.").
				Default("").
				Secret().
				Example("${MQTT_PASSWORD}"),
			service.NewTLSToggledField(fieldTLS).
				Description("TLS settings for `ssl://` and `wss://` URLs: a private certificate authority, or a client certificate."),
			service.NewIntField(fieldQoS).
				Description("The quality of service to subscribe with: 0 at most once, 1 at least once, 2 exactly once as far as the broker. The broker delivers with the lower of this and the publisher's.").
				Default(1).
				Example(0).
				LintRule(`root = if this.type() == "number" && ![0, 1, 2].contains(this) { [ "`+errQoS+`" ] }`),
			service.NewBoolField(fieldCleanSession).
				Description("Whether the broker forgets this client when it disconnects. Then it keeps nothing for it, and sends the retained messages again with each connection. Set to `false`, with a `client_id`, to lose nothing of QoS 1 and 2 while this process is down or away, or slower than its messages.").
				Default(true).
				Example(false),
			service.NewIntField(fieldMaxUnacked).
				Description("How many messages may be received and not yet acknowledged, those of a lost connection that the output has yet to accept included. It bounds memory, and how many messages come twice after this process has crashed. When it is reached, the broker is made to wait, for half of `keepalive`. After that, with `clean_session: false`, the connection is dropped, for the broker to keep messages of QoS 1 and 2 and send them again. With `clean_session: true` it keeps none, so messages are dropped as they come until there is room again, as are those of QoS 0 with either, and counted in the metric `iot_mqtt_dropped`.").
				Default(10000).
				Example(1000).
				LintRule(`root = if this.type() == "number" && this < 1 { [ "`+errMaxUnacked+`" ] }`),
			service.NewBoolField(fieldStrictOrder).
				Description("Whether to hand out a batch only after the one before it was accepted, or given up. Else, one that the output rejects comes again behind those that were on their way meanwhile. It costs throughput: set it where the output can fail and be tried again, as one to another server can, and the order matters.").
				Default(false).
				Example(true).
				Advanced(),
			duration.Field(fieldKeepAlive).
				Description("How long the connection may be idle before it is probed. When nothing comes for one and a half times this, not even the answer to a probe, it counts as lost. At least 2s: MQTT counts it in seconds, and some brokers round one and a half of them down to one.").
				Default("30s").
				Example("5s").
				LintRule(fieldLint(fieldKeepAlive)),
			duration.Field(fieldConnectTimeout).
				Description("How long connecting to one of the `urls`, and subscribing there, may take.").
				Default("10s").
				Example("3s").
				LintRule(fieldLint(fieldConnectTimeout)),
			batchingField(),
		).
		Fields(protocolFields()...).
		Fields(sharingFields()...).
		Field(leasesField()).
		Fields(
			service.NewAutoRetryNacksToggleField(),
		).
		LintRule(sourceLint).
		Example("Devices of a registry", "Up to ten messages at a time, none of them lost while this process restarts.", `
input:
  iot_mqtt:
    urls: [ tcp://localhost:1883 ]
    registry_id: my-registry
    topics: [ $devices/+/events/# ]
    client_id: iotcast-telemetry
    clean_session: false
    batching: { count: 10, period: 1s }
`).
		Example("A broker", "All messages of a broker, each by itself.", `
input:
  iot_mqtt:
    urls: [ ssl://mqtt.example.com:8883 ]
    user: iotcast
    password: '${MQTT_PASSWORD:}'
    broker_id: my-broker
`).
		Example("Times of the devices", "Over MQTT 5, a device says in the user property `time` when it has measured, which is `created_at` then.", `
input:
  iot_mqtt:
    urls: [ tcp://localhost:1883 ]
    protocol: 5
    registry_id: my-registry
    client_id: iotcast-telemetry
    clean_session: false

pipeline:
  processors:
    - iot_trigger:
        created_at: '${! metadata("mqtt_user_property_time").or(metadata("iot_received_at")) }'
`)
}

// batchingField is Benthos' batch policy with the defaults of an IoT trigger.
func batchingField() *service.ConfigField {
	return service.NewObjectField(fieldBatching,
		service.NewIntField("count").
			Description("How many messages make a batch. 0 means that the number does not matter. A batch holds no more messages of QoS 1 and 2 than the broker sends before it waits for acknowledgements, which with Mosquitto is 20 and with RabbitMQ 10 unless set otherwise (see [which broker](../which-broker.md)): when it waits, the batch goes, and the log says so.").
			Default(1).
			Example(10),
		duration.OptionalField("period").
			Description("How long the first message of a batch may wait for others. Empty means until the batch is full.").
			Default("1s").
			Example("100ms"),
		service.NewIntField("byte_size").
			Description("How many bytes of payload make a batch. 0 means that the size does not matter.").
			Default(0).
			Advanced().
			Example(65536),
		service.NewBloblangField("check").
			Description("A Bloblang query that says for a message whether it ends a batch.").
			Default("").
			Advanced().
			Example(`metadata("mqtt_topic").has_suffix("/alarm")`),
		service.NewProcessorListField("processors").
			Description("Processors to run on a batch before it leaves the input.").
			Default([]any{}).
			Advanced(),
	).Description("How messages are gathered: what goes through the pipeline together comes out as one envelope.").
		LintRule(`root = if this.count.or(1) == 0 && this.period.or("1s") == "" && this.byte_size.or(0) == 0 && this.check.or("") == "" { [ "` + errBatching + `" ] }`)
}

const (
	errNoURL      = "urls needs at least one MQTT broker, such as tcp://localhost:1883"
	errQoS        = "qos must be 0, 1 or 2"
	errMaxUnacked = "max_unacked must be at least 1"
	errBatching   = "batching would never let a message go: set count, period, byte_size or check"
	errBothIDs    = "registry_id and broker_id are both set: keep registry_id for the messages of devices, or broker_id for those of a broker"
	errNoID       = "registry_id or broker_id is needed: set registry_id for the messages of devices, or broker_id for those of a broker"
	errDevice     = "device_id needs registry_id: a broker has no devices"
	errSession    = "clean_session: false needs a client_id, by which the broker knows the session again"
)

var sourceLint = fmt.Sprintf(sharedLet+`
let leases = this.leases.parts.or(0).number(0) > 0
root = match {
  this.registry_id.or("") != "" && this.broker_id.or("") != "" => [ %q ],
  this.registry_id.or("") == "" && this.broker_id.or("") == "" && this.device_id.or("") != "" => [ %q ],
  this.registry_id.or("") == "" && this.broker_id.or("") == "" => [ %q ],
  this.broker_id.or("") != "" && this.device_id.or("") != "" => [ %q ],
  this.clean_session.or(true) == false && this.client_id.or("") == "" => [ %q ],
  this.share_group.or("") != "" && $shared => [ %q ],
  (this.share_group.or("") != "" || $shared) && this.partition.count.or(1).number(1) > 1 => [ %q ],
%s
  $leases && (this.clean_session.or(true) == true || this.client_id.or("") == "") => [ %q ],
  $leases && this.qos.or(1) == 0 => [ %q ],
  $leases && (this.share_group.or("") != "" || $shared || this.partition.count.or(1).number(1) > 1) => [ %q ],
  this.broker_id.or("") != "" => %s,
}`, errBothIDs, errDevice, errNoID, errDevice, errSession, errShared, errBothShares, protocolLint, errLeaseSession, errLeaseQoS, errLeaseShares, brokerTopicsLint)

// config is the input's configuration, parsed and checked.
type config struct {
	session  mqttclient.Config
	source   iotcore.Source
	registry string
	device   string
	broker   string
	batching service.BatchPolicy // without its period: Benthos counts that from the batch before
	period   time.Duration       // counted from a batch's first message
	replay   bool

	strictOrder bool
	sharing     sharing
	leases      leases
}

func parse(conf *service.ParsedConfig) (c config, err error) {
	get := getter{conf: conf}
	m := &c.session
	urls := get.strings(fieldURLs)
	m.ClientID = get.string(fieldClientID)
	m.User = get.string(fieldUser)
	m.Password = get.string(fieldPassword)
	m.KeepAlive = get.duration(fieldKeepAlive)
	m.ConnectTimeout = get.duration(fieldConnectTimeout)
	m.CleanSession = get.bool(fieldCleanSession)
	m.MaxUnacked = get.int(fieldMaxUnacked)
	m.Filters = get.strings(fieldTopics)
	m.Unsubscribe = get.strings(fieldUnsubscribe)
	c.replay = get.bool(service.AutoRetryNacksToggleFieldName)
	c.strictOrder = get.bool(fieldStrictOrder)
	qos := get.int(fieldQoS)
	c.registry, c.device, c.broker = get.string(fieldRegistryID), get.string(fieldDeviceID), get.string(fieldBrokerID)
	if get.err != nil {
		return c, get.err
	}
	for i, entry := range urls {
		all, err := mqttclient.ParseURLs(entry)
		if err != nil {
			return c, fmt.Errorf("field %s: entry %d is %w", fieldURLs, i+1, err)
		}
		m.URLs = append(m.URLs, all...)
	}
	if m.TLS, err = parseTLS(conf); err != nil {
		return c, err
	}
	if c.batching, err = conf.FieldBatchPolicy(fieldBatching); err != nil {
		return c, err
	}
	if err := parseProtocol(conf, m); err != nil {
		return c, err
	}
	if c.sharing, err = parseSharing(conf); err != nil {
		return c, err
	}
	if c.leases, err = parseLeases(conf); err != nil {
		return c, err
	}
	m.QoS = byte(qos)
	if err = c.check(qos); err != nil || c.batching.Period == "" {
		return c, err
	}
	if c.period, err = duration.Parse(fieldBatching+".period", c.batching.Period); err != nil {
		return c, err
	}
	c.batching.Period = ""
	return c, nil
}

// check repeats the lint rules, which can be switched off, and completes what
// has no fixed default.
func (c *config) check(qos int) error {
	m := &c.session
	switch {
	case len(m.URLs) == 0:
		return errors.New(errNoURL)
	case c.registry != "" && c.broker != "":
		return errors.New(errBothIDs)
	case c.device != "" && c.registry == "":
		return errors.New(errDevice)
	case c.registry == "" && c.broker == "":
		return errors.New(errNoID)
	case qos < 0 || qos > 2:
		return fmt.Errorf("%s, not %d", errQoS, qos)
	case m.MaxUnacked < 1:
		return errors.New(errMaxUnacked)
	case c.batching.IsNoop():
		return errors.New(errBatching)
	case !m.CleanSession && m.ClientID == "":
		return errors.New(errSession)
	}
	if err := c.checkLeases(qos); err != nil {
		return err
	}
	if err := errors.Join(checkDuration(fieldKeepAlive, m.KeepAlive), checkDuration(fieldConnectTimeout, m.ConnectTimeout)); err != nil {
		return err
	}
	for name, id := range map[string]string{fieldRegistryID: c.registry, fieldDeviceID: c.device, fieldBrokerID: c.broker} {
		if id == "" {
			continue
		}
		if err := iotcore.ValidateID(name, id); err != nil {
			return err
		}
	}
	c.source = iotcore.Device
	if c.broker != "" {
		c.source = iotcore.Broker
	}
	if len(m.Filters) == 0 {
		m.Filters = iotcore.DefaultFilters(c.source, c.registry, c.device)
	}
	for _, f := range m.Filters {
		if err := iotcore.ValidateFilter(c.source, f); err != nil {
			return fmt.Errorf("field %s: %w", fieldTopics, err)
		}
	}
	filters, covered := needed(m.Filters)
	filters, err := c.sharing.apply(filters)
	if err != nil {
		return err
	}
	if m.NoLocal && slices.ContainsFunc(filters, func(f string) bool { return strings.HasPrefix(f, "$share/") }) {
		return errors.New(errNoLocal)
	}
	m.Filters = filters
	// A session may have what is covered from another version, or when it was not yet.
	m.Unsubscribe = c.sharing.both(slices.Concat(m.Unsubscribe, covered))
	if m.ClientID == "" {
		m.ClientID = "iotcast-" + uuid.NewString()[:8]
	}
	return nil
}

// getter reads fields and keeps the first error.
type getter struct {
	conf *service.ParsedConfig
	err  error
}

func get[T any](g *getter, field func(...string) (T, error), name string) T {
	v, err := field(name)
	if err != nil && g.err == nil {
		g.err = err
	}
	return v
}

func (g *getter) string(name string) string    { return get(g, g.conf.FieldString, name) }
func (g *getter) strings(name string) []string { return get(g, g.conf.FieldStringList, name) }
func (g *getter) int(name string) int          { return get(g, g.conf.FieldInt, name) }
func (g *getter) bool(name string) bool        { return get(g, g.conf.FieldBool, name) }
func (g *getter) duration(name string) time.Duration {
	return get(g, func(...string) (time.Duration, error) { return duration.Of(g.conf, name) }, name)
}
