package iotmqtt

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/plugins/internal/duration"
)

const (
	fieldProtocol       = "protocol"
	fieldSessionExpiry  = "session_expiry"
	fieldRetainHandling = "retain_handling"
	fieldNoLocal        = "no_local"

	protocol311 = "3.1.1"
	protocol5   = "5"
)

// retainHandling are the values of the subscription option, by their number (MQTT 5, section 3.8.3.1).
var retainHandling = []string{"send", "send_if_new", "do_not_send"}

// protocolFields choose the version of MQTT, and what only the later one has.
func protocolFields() []*service.ConfigField {
	return []*service.ConfigField{
		service.NewStringField(fieldProtocol). // an enumeration would take the dots of 3.1.1 for a path
							Description("The version of MQTT: `3.1.1` or `5`. With `5`, messages bring their properties as metadata (content type, user properties and more), those whose expiry has passed are left out, the broker sends no more than `max_unacked` messages ahead, and it says in words why it refuses something. Which brokers speak it: [which broker](../which-broker.md).").
							Default(protocol311).
							Example(protocol5).
							LintRule(`root = if !["` + protocol311 + `", "` + protocol5 + `"].contains(this.string()) { [ "` + errVersion + `" ] }`),
		duration.OptionalField(fieldSessionExpiry).
			Description("With `protocol: 5` and `clean_session: false`, how long the broker keeps the session, and the messages in it, while this client is away, in whole seconds. Empty means for ever, which many brokers shorten; the log says so then.").
			Default("").
			Example("24h").
			LintRule(fieldLint(fieldSessionExpiry)).
			Advanced(),
		service.NewStringAnnotatedEnumField(fieldRetainHandling, map[string]string{
			"send":        "with each SUBSCRIBE. Those that a resumed session had before are left out all the same",
			"send_if_new": "for topic filters that the session was not subscribed to",
			"do_not_send": "never",
		}).
			Description("With `protocol: 5`, when the broker sends the retained messages that a topic filter covers.").
			Default("send").
			Example("send_if_new").
			Advanced(),
		service.NewBoolField(fieldNoLocal).
			Description("With `protocol: 5`, whether the broker leaves out messages that were published under the `client_id` of this input.").
			Default(false).
			Example(true).
			Advanced(),
	}
}

const (
	errVersion  = "protocol must be 3.1.1 or 5"
	errProtocol = "session_expiry, retain_handling and no_local need protocol: 5"
	errExpiry   = "session_expiry needs clean_session: false: else the broker keeps no session"
	errNoExpiry = "session_expiry must be longer than 0s: leave it empty for a session that does not expire"
	errNoLocal  = "no_local cannot be set for a share_group or a topic that begins with $share/: MQTT 5 does not allow it"
)

// protocolLint is part of sourceLint.
const protocolLint = `
  this.protocol.or("3.1.1").string() != "5" && (this.session_expiry.or("") != "" || this.retain_handling.or("send") != "send" || this.no_local.or(false) == true) => [ "` + errProtocol + `" ],
  this.session_expiry.or("") != "" && this.clean_session.or(true) == true => [ "` + errExpiry + `" ],
  this.no_local.or(false) == true && (this.share_group.or("") != "" || $shared) => [ "` + errNoLocal + `" ],`

func parseProtocol(conf *service.ParsedConfig, m *mqttclient.Config) error {
	get := getter{conf: conf}
	protocol, retained := get.string(fieldProtocol), get.string(fieldRetainHandling)
	m.NoLocal = get.bool(fieldNoLocal)
	expiry := get.string(fieldSessionExpiry)
	if get.err != nil {
		return get.err
	}
	var err error
	if expiry != "" {
		if m.SessionExpiry, err = duration.Parse(fieldSessionExpiry, expiry); err != nil {
			return err
		}
		if err := checkDuration(fieldSessionExpiry, m.SessionExpiry); err != nil {
			return err
		}
	}
	i := slices.Index(retainHandling, retained)
	if i < 0 {
		return fmt.Errorf("%s must be one of %s, not %q", fieldRetainHandling, strings.Join(retainHandling, ", "), retained)
	}
	m.RetainHandling = byte(i)
	switch protocol {
	case protocol311:
		m.Version = mqttclient.MQTT311
		if expiry != "" || i > 0 || m.NoLocal {
			return errors.New(errProtocol)
		}
	case protocol5:
		m.Version = mqttclient.MQTT5
	default:
		return fmt.Errorf("%s, not %q", errVersion, protocol)
	}
	if expiry != "" && m.CleanSession {
		return errors.New(errExpiry)
	}
	return nil
}
