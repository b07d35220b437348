package devbroker

import (
	"fmt"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The return codes of a CONNACK of MQTT 3.1 and 3.1.1 that are given before anyone has logged in.
const (
	refusedLevel    = 1
	refusedClientID = 2
)

// bridgeFlag is in the protocol level by which Mosquitto says that its client is a bridge, unless it speaks MQTT 5. A bridge takes
// its subscriptions with the options of MQTT 5 that bridges need: No Local, or what it brings comes back to it, and Retain
// As Published.
const bridgeFlag = 0x80

// admit looks at a CONNECT before mochi does, which v2.7.9 answers to a client of MQTT 3.1.1 with reason codes of MQTT 5, where
// it is to have a return code, or no answer at all if its packet is malformed [MQTT-3.1.4-1].
func (c *conn) admit(pk packets.Packet) (packets.Packet, error) {
	if c.connect != nil {
		return pk, nil // a second one, for which mochi ends the connection
	}
	if level := pk.ProtocolVersion &^ bridgeFlag; level == 3 || level == 4 {
		c.bridge = pk.ProtocolVersion != level
		pk.ProtocolVersion = level
	}
	came := pk.Connect
	c.connect = &came
	// mochi v2.7.9 takes both of these for malformed, so OnConnectAuthenticate puts them back.
	if pk.Connect.WillFlag && len(pk.Connect.WillPayload) == 0 {
		pk.Connect.WillPayload = []byte("empty")
	}
	if len(pk.Connect.Password) == 0 {
		pk.Connect.PasswordFlag = false
	}
	if pk.ProtocolVersion == 5 {
		return pk, nil // mochi's answers are for this one
	}
	switch code := pk.ConnectValidate(); {
	case code == packets.ErrProtocolViolationProtocolVersion:
		return pk, c.refuse(refusedLevel, code)
	case code != packets.CodeSuccess:
		return pk, c.abandon(code)
	case pk.Connect.ClientIdentifier == "" && (pk.ProtocolVersion == 3 || !pk.Connect.Clean): // [MQTT-3.1.3-8]
		return pk, c.refuse(refusedClientID, packets.ErrClientIdentifierNotValid)
	}
	return pk, nil
}

// refuse answers a CONNECT of MQTT 3.1 or 3.1.1.
func (c *conn) refuse(code byte, why error) error {
	_, _ = c.Write([]byte{packets.Connack << 4, 2, 0, code})
	return c.abandon(fmt.Errorf("CONNACK %d: %w", code, why))
}

// reject tells a client of MQTT 5 what is wrong with its packet (MQTT 5.0, 4.13.1); others are told nothing.
func (c *conn) reject(why packets.Code) error {
	switch {
	case c.checker.version < 5:
	case c.connect == nil:
		_, _ = c.Write([]byte{packets.Connack << 4, 3, 0, why.Code, 0})
	default:
		_, _ = c.Write([]byte{packets.Disconnect << 4, 2, why.Code, 0})
	}
	c.why = why
	return why
}

// sayGoodbye tells a client why its connection ends, if it speaks MQTT 5: others know no DISCONNECT from a server.
func sayGoodbye(cl *mqtt.Client, why packets.Code) {
	if cl.Properties.ProtocolVersion < 5 {
		return
	}
	_ = cl.WritePacket(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: why.Code,
		Properties: packets.Properties{ReasonString: why.Reason},
	})
}

// abandon has mochi end the connection, and the log tell why. Only the goroutine that reads may call it.
func (c *conn) abandon(why error) error {
	c.why = why
	return packets.ErrRejectPacket // the only error that mochi takes from OnPacketRead
}
