package mqttbroker

import (
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/devbroker"
)

const (
	fieldLimits             = "limits"
	fieldMaxConnections     = "max_connections"
	fieldMaxConnectionsIP   = "max_connections_per_ip"
	fieldMaxSessions        = "max_sessions"
	fieldMaxRetainedBytes   = "max_retained_bytes"
	fieldMaxSessionBytes    = "max_session_bytes"
	fieldMessageRate        = "message_rate"
	fieldLoginFailures      = "login_failures"
	fieldLoginFailuresPerIP = "login_failures_per_ip"

	defaultLoginFailures = 10
)

func limitsField() *service.ConfigField {
	return service.NewObjectField(fieldLimits,
		limitField(fieldMaxConnections, 0, 10_000,
			"How many clients may be connected. One more is refused after it has logged in: with CONNACK 3 (server unavailable), over MQTT 5 with 0x97 (quota exceeded). A client that is connected may always connect again, in place of its old connection. `0` means no limit."),
		limitField(fieldMaxConnectionsIP, 0, 50,
			"The same for the clients from one IP address; an IPv6 address counts with its /64 network. Behind a proxy or NAT, many clients have one address. `0` means no limit."),
		limitField(fieldMaxSessions, 0, 20_000,
			"How many sessions there may be, those of clients that are connected included. A client that would begin one more is refused, as by `max_connections`; one that has a session may always come back. `0` means no limit."),
		limitField(fieldMaxRetainedBytes, 0, 100<<20,
			"How many bytes all retained messages and permanent topics may have together: topics, payloads and what else their publishers have put in. A message for which there is no room is not kept, and the one before stays. Over MQTT 5 with QoS 1 or 2 its publisher is answered with 0x97 (quota exceeded) and it goes to nobody; else it goes to those who subscribe now, since its publisher cannot be told. A few hundred bytes of memory come on top for each message. `0` means no limit."),
		limitField(fieldMaxSessionBytes, 0, 10<<20,
			"How many bytes of messages of QoS 1 and 2 one session may have waiting or unacknowledged, counted as for `max_retained_bytes`. A message for which there is no room is dropped from this session, with a warning in the log, as one above 65,535 messages. About a kilobyte of memory comes on top for each message. `0` means no limit."),
		limitField(fieldMessageRate, 0, 1,
			"How many messages a second to take from one client; as many may come at once. With `iot_registries`, all connections of a device count together, and registries have no limit, since they speak to all their devices. From a client that sends more, the broker reads no faster: nothing is lost, and over TCP the client has to wait. Its pings wait behind its messages, so one that sends more for long, and does not wait for acknowledgements, may take the connection for dead. `0` means no limit; the original service takes 1."),
		limitField(fieldLoginFailures, defaultLoginFailures, 30,
			"How many wrong passwords of one user from one IP address (with IPv6, one /64 network) to look at in a minute; as many may come at once. Further logins of this user from there are refused without a look at the password, with CONNACK 3 (server unavailable), over MQTT 5 with 0x9F (connection rate exceeded), until the next may be tried. The same user is not kept out from elsewhere. `0` means no limit."),
		limitField(fieldLoginFailuresPerIP, 0, 100,
			"The same for all users from one IP address. It keeps out everybody who has this address, so leave it where clients are behind a proxy or NAT. `0` means no limit."),
	).
		Description("What clients may cost. What is beyond a limit is counted, see the metrics above.")
}

func limitDefaults() map[string]any {
	return map[string]any{
		fieldMaxConnections: 0, fieldMaxConnectionsIP: 0, fieldMaxSessions: 0, fieldMaxRetainedBytes: 0, fieldMaxSessionBytes: 0,
		fieldMessageRate: 0, fieldLoginFailures: defaultLoginFailures, fieldLoginFailuresPerIP: 0,
	}
}

func limitField(name string, byDefault, example int, description string) *service.ConfigField {
	return service.NewIntField(name).
		Description(description).
		Default(byDefault).
		Example(example).
		LintRule(`root = if this.type() == "number" && this < 0 { [ "` + name + errNegative + `" ] }`)
}

const errNegative = " must not be negative"

func limitsFromConfig(conf *service.ParsedConfig) (l devbroker.Limits, err error) {
	for _, f := range []struct {
		name string
		set  func(int)
	}{
		{fieldMaxConnections, func(n int) { l.Connections = n }},
		{fieldMaxConnectionsIP, func(n int) { l.ConnectionsPerIP = n }},
		{fieldMaxSessions, func(n int) { l.Sessions = n }},
		{fieldMaxRetainedBytes, func(n int) { l.RetainedBytes = int64(n) }},
		{fieldMaxSessionBytes, func(n int) { l.SessionBytes = int64(n) }},
		{fieldMessageRate, func(n int) { l.MessageRate = n }},
		{fieldLoginFailures, func(n int) { l.LoginFailures = n }},
		{fieldLoginFailuresPerIP, func(n int) { l.LoginFailuresPerIP = n }},
	} {
		n, err := conf.FieldInt(fieldLimits, f.name)
		if err != nil {
			return devbroker.Limits{}, err
		}
		if n < 0 {
			return devbroker.Limits{}, fmt.Errorf("%s.%s.%s%s", fieldBroker, fieldLimits, f.name, errNegative)
		}
		f.set(n)
	}
	return l, nil
}
