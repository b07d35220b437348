package mqttclient

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// encode5 is the body of a PUBLISH as paho.golang writes it.
func encode5(t testing.TB, p *packets.Publish) (flags byte, body []byte) {
	t.Helper()
	var packet bytes.Buffer
	if _, err := p.WriteTo(&packet); err != nil {
		t.Fatal(err)
	}
	b := packet.Bytes()
	header := 2
	for b[header-1] >= 0x80 {
		header++
	}
	return b[0], b[header:]
}

func TestParseProperties(t *testing.T) {
	long := strings.Repeat("x", 300) // so that the length takes two bytes
	for name, tc := range map[string]struct {
		in   packets.Properties
		want *Properties
	}{
		"none": {packets.Properties{}, nil},
		"all": {packets.Properties{
			PayloadFormat: new(byte(1)), MessageExpiry: new(uint32(60)),
			ContentType: long, ResponseTopic: "r", CorrelationData: []byte{1, 0},
			SubscriptionIdentifier: new(70000), User: []packets.User{{Key: "k", Value: "v"}, {Key: "k", Value: ""}},
		}, &Properties{
			UTF8: true, Expiry: new(time.Minute), ContentType: long, ResponseTopic: "r", CorrelationData: []byte{1, 0},
			User: []UserProperty{{"k", "v"}, {"k", ""}},
		}},
		"bytes": {packets.Properties{PayloadFormat: new(byte(0))}, &Properties{}},
	} {
		for qos := range byte(3) {
			id := uint16(0)
			if qos > 0 {
				id = 7
			}
			flags, body := encode5(t, &packets.Publish{Topic: "a/b", QoS: qos, PacketID: id, Payload: []byte("payload"), Properties: &tc.in})
			m, err := parsePublish(flags, body, "", true)
			if err != nil || m.Topic != "a/b" || string(m.Payload) != "payload" || m.ID != id || !reflect.DeepEqual(m.Properties, tc.want) {
				t.Errorf("%s, QoS %d: %+v, %+v, %v", name, qos, m, m.Properties, err)
			}
			for n := range len(body) - len("payload") { // cut off anywhere before the payload
				if _, err := parsePublish(flags, body[:n], "", true); err == nil {
					t.Errorf("%s, QoS %d: %d bytes are taken for a packet", name, qos, n)
				}
			}
		}
	}
}

func TestMalformedProperties(t *testing.T) {
	for name, properties := range map[string]string{
		"alias":              "\x03\x23\x00\x01",
		"unknown":            "\x02\x7f\x00",
		"of CONNECT":         "\x05\x11\x00\x00\x00\x01",
		"cut off":            "\x02\x02\x00",
		"text cut off":       "\x04\x03\x00\x05x",
		"not UTF-8":          "\x04\x03\x00\x01\xff",
		"longer than all":    "\x7f\x01\x01",
		"length too long":    "\xff\xff\xff\xff\x01",
		"length unfinished":  "\xff",
		"user without value": "\x04\x26\x00\x01k",
	} {
		if m, err := parsePublish(typePublish, []byte("\x00\x01t"+properties), "", true); err == nil {
			t.Errorf("%s: %+v", name, m.Properties)
		}
	}
}

func TestExpired(t *testing.T) {
	at := time.Now()
	m := &Message{ReceivedAt: at}
	if m.Expired(at.Add(time.Hour)) {
		t.Error("a message of MQTT 3.1.1 expires")
	}
	m.Properties = &Properties{}
	if m.Expired(at.Add(time.Hour)) {
		t.Error("a message without expiry expires")
	}
	m.Properties.Expiry = new(time.Minute)
	if m.Expired(at.Add(time.Minute-1)) || !m.Expired(at.Add(time.Minute)) {
		t.Error("a message expires at another time than its own")
	}
}

// FuzzProperties: what comes is taken or refused, in memory that fits it, and what paho.golang takes for valid is.
func FuzzProperties(f *testing.F) {
	_, all := encode5(f, &packets.Publish{Topic: "t", Payload: []byte("p"), Properties: &packets.Properties{
		PayloadFormat: new(byte(1)), MessageExpiry: new(uint32(60)),
		ContentType: "c", ResponseTopic: "r", CorrelationData: []byte{1},
		SubscriptionIdentifier: new(7), User: []packets.User{{Key: "k", Value: "v"}},
	}})
	f.Add(all)
	f.Add([]byte("\x00\x01t\x00p"))
	f.Add([]byte("\x00\x01t\x04\x03\x00\x01\xffp"))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parsePublish(typePublish, body, "", true)
		if err != nil {
			return
		}
		theirs := &packets.Publish{Properties: &packets.Properties{}}
		if err := theirs.Unpack(bytes.NewBuffer(bytes.Clone(body))); err != nil {
			return // it refuses some that come twice
		}
		if theirs.Topic != m.Topic || !bytes.Equal(theirs.Payload, m.Payload) {
			t.Fatalf("%q and %q, paho has %q and %q", m.Topic, m.Payload, theirs.Topic, theirs.Payload)
		}
		if m.Properties != nil &&
			(m.Properties.ContentType != theirs.Properties.ContentType || len(m.Properties.User) != len(theirs.Properties.User)) {
			t.Fatalf("%+v, paho has %+v", m.Properties, theirs.Properties)
		}
	})
}
