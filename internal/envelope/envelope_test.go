package envelope

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// published is the moment of the example in the original service's documentation.
var published = time.Date(2019, 9, 25, 15, 51, 17, 872320525, time.UTC)

func deviceMessage(payload []byte) Message {
	return Message{
		EventID:    "2153b5d2-c6af-4c69-a28d-74ce965b7613",
		EventType:  DefaultEventType,
		CreatedAt:  published,
		RegistryID: "arenou2oj4ct42eq8g3n",
		DeviceID:   "areqjd6un3afc3cefcvm",
		BrokerID:   "a broker, which the device format leaves out",
		Topic:      "$devices/areqjd6un3afc3cefcvm/events",
		Payload:    payload,
	}
}

func brokerMessage(payload []byte) Message {
	m := deviceMessage(payload)
	m.BrokerID = "arenou2oj4ct42eq8g3n"
	m.Topic = "kitchen/temperature"
	return m
}

func TestGolden(t *testing.T) {
	registry := deviceMessage(nil)
	registry.EventID = "0199a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"
	registry.CreatedAt = time.Date(2019, 9, 25, 18, 51, 18, 500_000_000, time.FixedZone("MSK", 3*60*60))
	registry.DeviceID = ""
	registry.Topic = `$registries/arenou2oj4ct42eq8g3n/state/"двор" <1>`

	for name, tt := range map[string]struct {
		format Format
		msgs   []Message
	}{
		"device": {DeviceFormat, []Message{deviceMessage([]byte("Test 4")), registry}},
		"broker": {BrokerFormat, []Message{brokerMessage([]byte("Test 4"))}},
	} {
		want, err := os.ReadFile(filepath.Join("testdata", name+".golden.json"))
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendEnvelope(nil, tt.format, tt.msgs); !bytes.Equal(got, want) {
			t.Errorf("%s format:\n%s\nwant:\n%s", name, got, want)
		}
	}
}

// document is an envelope in the words of encoding/json: fields in the order of the contract, IDs by format.
type document struct {
	Messages []entry `json:"messages"`
}

type entry struct {
	Metadata struct {
		EventID   string    `json:"event_id"`
		EventType string    `json:"event_type"`
		CreatedAt time.Time `json:"created_at"`
	} `json:"event_metadata"`
	Details struct {
		RegistryID *string `json:"registry_id,omitempty"`
		DeviceID   *string `json:"device_id,omitempty"`
		BrokerID   *string `json:"broker_id,omitempty"`
		Topic      string  `json:"mqtt_topic"`
		Payload    []byte  `json:"payload"`
	} `json:"details"`
}

// reference encodes an envelope with encoding/json.
func reference(t *testing.T, format Format, msgs []Message) []byte {
	t.Helper()
	doc := document{Messages: make([]entry, len(msgs))}
	for i, m := range msgs {
		e := &doc.Messages[i]
		e.Metadata.EventID, e.Metadata.EventType, e.Metadata.CreatedAt = m.EventID, m.EventType, m.CreatedAt.UTC()
		if format == BrokerFormat {
			e.Details.BrokerID = &m.BrokerID
		} else {
			e.Details.RegistryID, e.Details.DeviceID = &m.RegistryID, &m.DeviceID
		}
		e.Details.Topic, e.Details.Payload = m.Topic, append([]byte{}, m.Payload...)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// check holds an envelope against the reference and against its announced size.
func check(t *testing.T, format Format, msgs []Message) {
	t.Helper()
	got := AppendEnvelope(nil, format, msgs)
	if want := reference(t, format, msgs); !bytes.Equal(got, want) {
		t.Fatalf("envelope:\n%.2000s\nwant:\n%.2000s", got, want)
	}
	size := fixedEnvelope + len(msgs) - 1
	for i := range msgs {
		size += Size(format, &msgs[i])
	}
	if len(got) != size {
		t.Fatalf("envelope of %d bytes, Size says %d:\n%.2000s", len(got), size, got)
	}
}

func TestAgreesWithEncodingJSON(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{
		"a", "7", "/", "$", " ", `"`, `\`, "<", ">", "&", "'", "\x00", "\b", "\f", "\n", "\r", "\t", "\x1f", "\x7f", "é", "ж",
		"\u2027", "\u2028", "\u2029", "\ufffd", "\U0001f321", "\xff", "\xc3", "\xe2\x80", "\xed\xa0\x80", "\u0080",
	}
	text := func() string {
		var b strings.Builder
		for range random.IntN(30) {
			b.WriteString(alphabet[random.IntN(1+random.IntN(len(alphabet)))])
		}
		return b.String()
	}
	for range 5000 {
		msgs := make([]Message, 1+random.IntN(3))
		for i := range msgs {
			payload := make([]byte, random.IntN(50))
			for j := range payload {
				payload[j] = byte(random.Uint32())
			}
			nanoseconds := random.Int64N(1e9)
			for range random.IntN(10) {
				nanoseconds -= nanoseconds % 1000
			}
			msgs[i] = Message{
				EventID: text(), EventType: text(), RegistryID: text(), DeviceID: text(), BrokerID: text(), Topic: text(),
				CreatedAt: time.Unix(random.Int64N(1<<33), nanoseconds), Payload: payload,
			}
		}
		check(t, DeviceFormat, msgs)
		check(t, BrokerFormat, msgs)
	}
}

func TestEveryByteOfText(t *testing.T) {
	for c := range 256 {
		for offset := range 17 { // within the eight bytes that isPlain takes at once, and after them
			m := deviceMessage(nil)
			m.Topic = strings.Repeat("a", offset) + string([]byte{byte(c)}) + strings.Repeat("~ ", 8-offset/2)
			check(t, DeviceFormat, []Message{m})
		}
	}
}

func TestPayloads(t *testing.T) {
	large := make([]byte, 256<<10)
	for i := range large {
		large[i] = byte(i * 7)
	}
	for name, payload := range map[string][]byte{
		"nil": nil, "empty": {}, "one byte": {0}, "invalid UTF-8": []byte("\xff\xfe\xfd"), "JSON": []byte(`{"t":21.5}`), "256 KiB": large,
	} {
		t.Run(name, func(t *testing.T) { check(t, BrokerFormat, []Message{brokerMessage(payload)}) })
	}
}

func TestSizeOfAnyTime(t *testing.T) {
	for _, at := range []time.Time{
		{},
		published, time.Unix(firstSecond, 0), time.Unix(firstSecond-1, 1), time.Unix(pastSecond-1, 999_999_999),
		time.Unix(pastSecond, 0), time.Unix(0, 1), time.Unix(0, 100_000_000), time.Unix(1<<40, 5),
	} {
		text := appendTime(nil, at)
		if got := sizeTime(at); got != len(text) {
			t.Errorf("sizeTime(%s) = %d, want %d", text, got, len(text))
		}
	}
}

func TestAppendMessageDoesNotAllocate(t *testing.T) {
	m := deviceMessage([]byte("Test 4"))
	m.Topic = "$devices/é\n/events" // the slow path must not allocate either
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() {
		if cap(buf) < Size(DeviceFormat, &m) {
			t.Fatal("the buffer is too small")
		}
		AppendMessage(AppendOpen(buf), DeviceFormat, &m)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func FuzzAppendMessage(f *testing.F) {
	f.Add("2153b5d2", "type", "registry", "device", "$devices/d/events", []byte("Test 4"), int64(1569426677), int64(872320525))
	f.Add("\xff", "\u2028", `"\`, "\x00\n", "<&>", []byte{0xff, 0}, int64(0), int64(0))
	f.Fuzz(func(t *testing.T, id, typ, registry, device, topic string, payload []byte, sec, nsec int64) {
		m := Message{
			EventID: id, EventType: typ, CreatedAt: time.Unix(sec%(1<<33), nsec%1e9), RegistryID: registry,
			DeviceID: device, BrokerID: registry, Topic: topic, Payload: payload,
		}
		for _, format := range []Format{DeviceFormat, BrokerFormat} {
			check(t, format, []Message{m, m})
			var doc document
			if err := json.Unmarshal(AppendEnvelope(nil, format, []Message{m}), &doc); err != nil {
				t.Fatal(err)
			}
			got := doc.Messages[0]
			if want := toJSONText(topic); got.Details.Topic != want {
				t.Errorf("topic %q, want %q", got.Details.Topic, want)
			}
			if want := toJSONText(id); got.Metadata.EventID != want {
				t.Errorf("event ID %q, want %q", got.Metadata.EventID, want)
			}
			if !bytes.Equal(got.Details.Payload, payload) {
				t.Errorf("payload %q, want %q", got.Details.Payload, payload)
			}
			if !got.Metadata.CreatedAt.Equal(m.CreatedAt) {
				t.Errorf("created at %v, want %v", got.Metadata.CreatedAt, m.CreatedAt)
			}
		}
	})
}

// toJSONText replaces each byte that is not UTF-8 by U+FFFD; strings.ToValidUTF8 would replace a run of them by one.
func toJSONText(s string) string { return string([]rune(s)) }
