package envelope

import (
	"encoding/json"
	"strings"
	"testing"
)

func scan(text string) (parts []Part, err error) {
	err = Scan([]byte(text), func(p Part) { parts = append(parts, p) })
	return parts, err
}

func TestScan(t *testing.T) {
	first, second := deviceMessage([]byte("Test 4")), deviceMessage(nil)
	second.DeviceID, second.Topic, second.EventID = "", "a/\"b\"", "\u2028"
	msgs := []Message{first, second}
	text := string(AppendEnvelope(nil, DeviceFormat, msgs))
	indented := strings.NewReplacer("{", " {\n", "}", "\n} ", ",", " ,\t", ":\"", " : \"", "[", "[ ", "]", " ]").Replace(text)
	for _, text := range []string{text, indented} {
		parts, err := scan(text)
		if err != nil || len(parts) != 2 {
			t.Fatalf("%s: %d parts, %v", text, len(parts), err)
		}
		for i, p := range parts {
			m := &msgs[i]
			if p.EventID != m.EventID || p.DeviceID != m.DeviceID || p.Empty != (len(m.Payload) == 0) ||
				strings.ReplaceAll(p.Topic, " \" ", "\"") != m.Topic {
				t.Errorf("%+v of %+v", p, m)
			}
			if one := text[p.From:p.To]; !json.Valid([]byte(one)) || one[0] != '{' || one[len(one)-1] != '}' {
				t.Errorf("message %q", one)
			}
		}
	}
}

func TestScanRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"messages":[}`:                     "not JSON",
		``:                                   "not JSON",
		`[1]`:                                "object",
		`7`:                                  "object",
		`{"messages":{}}`:                    "array",
		`{"messages":[1]}`:                   "object",
		`{}`:                                 "no field",
		`{"messages":[],"mess\u0061ges":[]}`: "twice",
		`{"messages":[{"details":{"device_id":"a","device_id":"b"}}]}`:      "twice",
		`{"messages":[{"details":{"device_id":"a"},"details":{}}]}`:         "twice",
		`{"messages":[{"details":{"mqtt_topic":1,"mqtt_topic":"b"}}]}`:      "twice",
		`{"messages":[{"event_metadata":{"event_id":"a","event_id":"b"}}]}`: "twice",
	} {
		if _, err := scan(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// FuzzScan holds Scan against encoding/json.
func FuzzScan(f *testing.F) {
	f.Add(`{"a":[1,{"b":"\"]"}],"messages":[{"event_metadata":{"event_id":"1"},"details":{"payload":{"x":[1,2]},"device_id":"d","mqtt_topic":"t"}},{}]}`)
	f.Add(` { "messages" : [ { "details" : null , "event_metadata" : 1 } ] } `)
	f.Add(`{"messages":[{"details":{"payload":-1e5,"device_id":"\u0061"}}],"x":true}`)
	f.Fuzz(func(t *testing.T, text string) {
		parts, err := scan(text)
		if err != nil {
			return
		}
		var doc struct {
			Messages []json.RawMessage `json:"messages"`
		}
		_ = json.Unmarshal([]byte(text), &doc) // other fields may be of any kind
		var plain map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &plain) != nil || json.Unmarshal(plain["messages"], &doc.Messages) != nil ||
			len(doc.Messages) != len(parts) {
			t.Fatalf("%q: %d parts, encoding/json has %d", text, len(parts), len(doc.Messages))
		}
		field := func(raw json.RawMessage, path ...string) (value string) {
			for _, name := range path {
				var object map[string]json.RawMessage
				if json.Unmarshal(raw, &object) != nil {
					return ""
				}
				raw = object[name]
			}
			_ = json.Unmarshal(raw, &value)
			return value
		}
		for i, p := range parts {
			raw := doc.Messages[i]
			if text[p.From:p.To] != string(raw) {
				t.Errorf("message %q, want %q", text[p.From:p.To], raw)
			}
			for got, path := range map[*string][]string{
				&p.EventID: {"event_metadata", "event_id"}, &p.DeviceID: {"details", "device_id"}, &p.Topic: {"details", "mqtt_topic"},
			} {
				if want := field(raw, path...); toJSONText(*got) != want {
					t.Errorf("%s of %q is %q, want %q", path, raw, *got, want)
				}
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	text := AppendEnvelope(nil, DeviceFormat, []Message{deviceMessage(make([]byte, 64))})
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		_ = Scan(text, func(Part) {})
	}
}
