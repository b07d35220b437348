package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/iotcast/iotcast/internal/tap"
)

// tapWay is a message and its way, as the API tells of them.
type tapWay struct {
	Done    bool
	Message struct {
		Metadata struct {
			CreatedAt time.Time `json:"created_at"`
		} `json:"event_metadata"`
		Details struct {
			DeviceID string `json:"device_id"`
			Topic    string `json:"mqtt_topic"`
			Payload  []byte
		}
		QoS          int
		Retained     bool
		Duplicate    bool
		PayloadBytes int `json:"payload_bytes"`
	}
	Steps []tap.Step
}

// palette are the codes that begin and end a colour (ECMA-48, SGR); empty: there are none.
type palette struct{ strong, faint, bad, end string }

var terminalColours = palette{strong: "\x1b[1m", faint: "\x1b[2m", bad: "\x1b[31m", end: "\x1b[0m"}

// maxShownPayload is how many characters of a payload are shown.
const maxShownPayload = 400

// write writes a line with the message, and one for each step.
func (w *tapWay) write(b *bytes.Buffer, c palette) {
	m := &w.Message
	at := m.Metadata.CreatedAt
	fmt.Fprintf(b, "%s %s", c.faint+at.Local().Format("15:04:05.000")+c.end, c.strong)
	if m.Details.DeviceID != "" {
		b.WriteString(harmless(m.Details.DeviceID) + " ")
	}
	fmt.Fprintf(b, "%s%s %s\n", harmless(m.Details.Topic), c.end, payloadText(m.Details.Payload, m.PayloadBytes))
	for i := range w.Steps {
		s := &w.Steps[i]
		colour := c.faint
		if troubled(s) {
			colour = c.bad
		}
		fmt.Fprintf(b, "    %s%10s  %s%s\n", colour, since(at, s.At), w.text(s), c.end)
	}
	if !w.Done {
		fmt.Fprintf(b, "    %s%10s  what comes later is not shown%s\n", c.faint, "", c.end)
	}
}

// text says in words what a step is.
func (w *tapWay) text(s *tap.Step) string {
	text := strings.ReplaceAll(s.Step, "_", " ")
	switch s.Step {
	case tap.Received:
		text += fmt.Sprintf(" with QoS %d", w.Message.QoS)
		if w.Message.Retained {
			text += ", retained"
		}
		if w.Message.Duplicate {
			text += ", once more"
		}
	case tap.Batched:
		text += " alone"
		if s.Messages > 1 {
			text = "batched with " + counted(s.Messages-1, "other")
		}
	case tap.Encoded:
		if s.Bytes > 0 {
			text += ", " + counted(s.Bytes, "byte")
		}
	case tap.Broadcast:
		text += " to " + routeOf(s) + ", " + counted(s.Connections, "connection")
	case tap.Written:
		text = w.written(s)
	case tap.NoConnections:
		text = "dropped: nobody is connected to " + routeOf(s)
	case tap.LeftOut:
		text = "left out"
	}
	if s.Stream != "" && (s.Step == tap.Received || s.Step == tap.Acknowledged) {
		text += " by " + harmless(s.Stream)
	}
	if s.Reason != "" {
		text += ": " + harmless(s.Reason)
	}
	return text
}

// written says what has become of a broadcast.
func (w *tapWay) written(s *tap.Step) string {
	concerned := s.Connections + s.Waiting + s.Dropped + s.Closed
	text := fmt.Sprintf("written to %s of %s", number(s.Connections), counted(concerned, "connection"))
	if concerned == 0 {
		text = "written to no connection"
	}
	if s.Gateway+s.Path != "" {
		text += " of " + routeOf(s)
	}
	if at := w.Message.Metadata.CreatedAt; s.First != nil && s.Last != nil {
		if first, last := since(at, *s.First), since(at, *s.Last); first == last {
			text += ", at " + first
		} else {
			text += ", at " + first + " to " + last
		}
	}
	for _, part := range []struct {
		n    int
		what string
	}{
		{s.NotConcerned, "had not chosen it"}, {s.Waiting, "still wait"},
		{s.Dropped, "did not get it, since they were slow"}, {s.Closed, "ended before"},
	} {
		if part.n > 0 {
			text += fmt.Sprintf("; %s %s", number(part.n), part.what)
		}
	}
	return text
}

// troubled reports whether a step is one that nobody wants.
func troubled(s *tap.Step) bool {
	switch s.Step {
	case tap.Failed, tap.Rejected, tap.GivenUp, tap.LeftOut, tap.NoConnections, tap.Retried:
		return true
	}
	return s.Waiting+s.Dropped > 0
}

func routeOf(s *tap.Step) string { return harmless(strings.TrimSpace(s.Gateway + " " + s.Path)) }

// since is how long after the message was received something was, with three digits or so.
func since(begin, at time.Time) string {
	d := at.Sub(begin)
	switch {
	case d < 0:
		d = 0
		fallthrough
	case d < 100*time.Millisecond:
		return fmt.Sprintf("+%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("+%.0f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("+%.2f s", d.Seconds())
}

// counted is a number of things.
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return number(n) + " " + thing
}

// number is one with a comma for each three digits.
func number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// payloadText is a payload as text, if it is one, or else in hexadecimal. Whole is how many bytes it has.
func payloadText(payload []byte, whole int) string {
	var text string
	cut := payload
	for i := 0; i < utf8.UTFMax-1 && len(payload) < whole && len(cut) > 0 && !utf8.Valid(cut); i++ {
		cut = cut[:len(cut)-1] // a character of which only a part is there
	}
	if whole = max(whole, len(payload)); whole == 0 {
		return "(empty)"
	}
	if !isText(cut) {
		shown := payload[:min(len(payload), maxShownPayload/2)]
		text = "0x" + hex.EncodeToString(shown)
		return text + rest(len(shown), whole)
	}
	runes := []rune(string(cut))
	shown := string(runes[:min(len(runes), maxShownPayload)])
	return harmless(shown) + rest(len(shown), whole)
}

// rest says that there is more.
func rest(shown, whole int) string {
	if shown >= whole {
		return ""
	}
	return fmt.Sprintf("… (%s)", counted(whole, "byte"))
}

// isText reports whether people can read it.
func isText(p []byte) bool {
	return utf8.Valid(p) && bytes.IndexFunc(p, func(r rune) bool { return r < ' ' && !strings.ContainsRune("\t\r\n", r) }) < 0
}

// harmless is a text on one line, with nothing in it that a terminal would obey: whoever publishes may have written it.
func harmless(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
