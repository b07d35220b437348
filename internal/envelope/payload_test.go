package envelope

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func jsonMessage(payload string) Message {
	m := deviceMessage([]byte(payload))
	m.PayloadAs = JSONOrOther(m.Payload)
	return m
}

func TestGoldenJSON(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "json.golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	msgs := []Message{jsonMessage("{\r\n \"t\": 21.50}"), jsonMessage("Test 4"), jsonMessage("")}
	if got := AppendEnvelope(nil, DeviceFormat, msgs); !bytes.Equal(got, want) {
		t.Errorf("envelope:\n%s\nwant:\n%s", got, want)
	}
}

func TestJSONOrOther(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for payload, want := range map[string]PayloadAs{
		"null": AsJSON, " 1 ": AsJSON, `"a"`: AsJSON, "[]": AsJSON, nested(maxDepth): AsJSON,
		`["` + strings.Repeat(`[\"{`, 100) + `"]`: AsJSON, "[" + strings.Repeat("[],", 100) + "1]": AsJSON,
		"": AsOther, " ": AsOther, "{} {}": AsOther, "NaN": AsOther, "\ufeff1": AsOther, "\"\xff\"": AsOther, "\"\n\"": AsOther,
		nested(maxDepth + 1): AsOther, nested(10_000): AsOther, nested(10_001): AsOther,
	} {
		if got := JSONOrOther([]byte(payload)); got != want {
			t.Errorf("JSONOrOther(%.40q) = %d, want %d", payload, got, want)
		}
	}
}

func FuzzJSONPayload(f *testing.F) {
	for _, payload := range []string{"", "Test 4", "{\"t\":\r\n 21.5}", "\"\xff\"", `"\""`, strings.Repeat("[", 70) + strings.Repeat("]", 70)} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m := jsonMessage(string(payload))
		got := AppendEnvelope(nil, DeviceFormat, []Message{m, m})
		if size := fixedEnvelope + 1 + 2*Size(DeviceFormat, &m); size != len(got) {
			t.Fatalf("%d bytes, Size says %d", len(got), size)
		}
		if bytes.ContainsAny(got, "\r\n") || !utf8.Valid(got) {
			t.Fatalf("not one line of UTF-8: %q", got)
		}
		var doc struct {
			Messages []struct{ Details map[string]json.RawMessage }
		}
		if err := json.Unmarshal(got, &doc); err != nil {
			t.Fatal(err)
		}
		details := doc.Messages[1].Details
		if m.PayloadAs == AsOther {
			want := `"` + base64.StdEncoding.EncodeToString(payload) + `"`
			if text := details["payload_base64"]; string(text) != want || details["payload"] != nil {
				t.Fatalf("details %s, want payload_base64 %s alone", details, want)
			}
			return
		}
		var want, text bytes.Buffer
		if json.Compact(&want, payload) != nil || json.Compact(&text, details["payload"]) != nil || want.String() != text.String() || details["payload_base64"] != nil {
			t.Fatalf("payload %s, want %s", text.String(), want.String())
		}
	})
}
