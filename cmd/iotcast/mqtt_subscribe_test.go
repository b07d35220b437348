package main

import (
	"strings"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

type published struct {
	mqtt.Message
	topic, payload string
}

func (p published) Topic() string   { return p.topic }
func (p published) Payload() []byte { return []byte(p.payload) }
func (published) Qos() byte         { return 1 }
func (published) Retained() bool    { return false }

// What a device sends moves no cursor and renames no window, and a file or a pipe gets it byte by byte.
func TestPrintMessage(t *testing.T) {
	t.Parallel()
	m := published{topic: "t/\u009b31m", payload: "21 °C\r\n\x1b]0;mine\a \u009b2J \u202egnp"}
	for _, tc := range []struct {
		name            string
		details, obeyed bool
		want            string
	}{
		{name: "a file", want: m.payload + "\n"},
		{name: "a terminal", obeyed: true, want: "21 °C\n" + `\x1b]0;mine\a \u009b2J \u202egnp` + "\n"},
		{name: "details on a terminal", details: true, obeyed: true, want: `"payload":"21 °C\r\n\u001b]0;mine\u0007 \u009b2J \u202egnp"}` + "\n"},
	} {
		var b strings.Builder
		if err := printMessage(&b, m, tc.details, tc.obeyed); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(b.String(), tc.want) || tc.obeyed && strings.ContainsAny(b.String(), "\x1b\a\u009b\u202e") {
			t.Errorf("%s: %q", tc.name, b.String())
		}
	}
}
