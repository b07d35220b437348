package devbroker

import (
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// propertiesOf are those that a packet of a client may have, beside user properties, which all may have (MQTT 5.0, 2.2.2.2).
var propertiesOf = map[byte]string{
	packets.Connect: string([]byte{
		packets.PropSessionExpiryInterval, packets.PropReceiveMaximum, packets.PropMaximumPacketSize, packets.PropTopicAliasMaximum,
		packets.PropRequestResponseInfo, packets.PropRequestProblemInfo, packets.PropAuthenticationMethod, packets.PropAuthenticationData,
	}),
	packets.WillProperties: string([]byte{
		packets.PropWillDelayInterval, packets.PropPayloadFormat, packets.PropMessageExpiryInterval, packets.PropContentType,
		packets.PropResponseTopic, packets.PropCorrelationData,
	}),
	packets.Publish: string([]byte{
		packets.PropPayloadFormat, packets.PropMessageExpiryInterval, packets.PropContentType, packets.PropResponseTopic,
		packets.PropCorrelationData, packets.PropSubscriptionIdentifier, packets.PropTopicAlias,
	}),
	packets.Puback:      string(packets.PropReasonString),
	packets.Pubrec:      string(packets.PropReasonString),
	packets.Pubrel:      string(packets.PropReasonString),
	packets.Pubcomp:     string(packets.PropReasonString),
	packets.Subscribe:   string(packets.PropSubscriptionIdentifier),
	packets.Unsubscribe: "",
	packets.Disconnect:  string([]byte{packets.PropSessionExpiryInterval, packets.PropReasonString, packets.PropServerReference}),
}

// properties are what a packet has, as far as it matters here.
type properties struct {
	seen  [packets.PropSharedSubAvailable + 1]bool
	alias uint16 // of a topic
}

// properties reads the properties of a packet, which there are over MQTT 5.
func (k *checker) properties(packet byte, r *reader) (p properties, why *packets.Code) {
	if k.version < 5 {
		return p, nil
	}
	inside := &reader{rest: r.take(r.varint())}
	if r.short {
		return p, nil
	}
	for len(inside.rest) > 0 {
		id := inside.byte()
		switch {
		case id == packets.PropUser:
			inside.text()
			inside.text()
			if inside.short {
				return p, malformed("properties")
			}
			continue
		case strings.IndexByte(propertiesOf[packet], id) < 0:
			return p, malformed("a property that it may not have")
		case p.seen[id]:
			return p, protocolError("a property comes twice")
		}
		p.seen[id] = true
		if why := p.value(packet, id, inside); why != nil {
			return p, why
		}
		if inside.short {
			return p, malformed("properties")
		}
	}
	return p, nil
}

// value reads the value of a property.
func (p *properties) value(packet, id byte, r *reader) *packets.Code {
	valid := true
	switch id {
	case packets.PropPayloadFormat:
		r.byte()
	case packets.PropRequestProblemInfo, packets.PropRequestResponseInfo: // 3.1.2.11.6, 3.1.2.11.7
		valid = r.byte() < 2
	case packets.PropTopicAlias:
		p.alias = r.uint16()
		if p.alias == 0 { // [MQTT-3.3.2-8]
			return &packets.ErrTopicAliasInvalid
		}
	case packets.PropTopicAliasMaximum:
		r.uint16()
	case packets.PropReceiveMaximum: // 3.1.2.11.3
		valid = r.uint16() > 0
	case packets.PropMaximumPacketSize: // 3.1.2.11.4
		valid = r.uint32() > 0
	case packets.PropMessageExpiryInterval, packets.PropSessionExpiryInterval, packets.PropWillDelayInterval:
		r.uint32()
	case packets.PropSubscriptionIdentifier: // 3.8.2.1.2, [MQTT-3.3.4-6]
		valid = r.varint() > 0 && packet == packets.Subscribe
	case packets.PropCorrelationData, packets.PropAuthenticationData:
		r.binary()
	case packets.PropResponseTopic: // [MQTT-3.3.2-14]
		valid = !iotcore.HasWildcard(r.text())
	default:
		r.text()
	}
	if !valid && !r.short {
		return protocolError("value of a property")
	}
	return nil
}
