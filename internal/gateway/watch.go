package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/token"
)

// Watch lets the clients of a route choose whose messages they get.
type Watch struct {
	Claim    string // the claim that lists the device IDs and topic filters that a client may get; empty: all
	Required bool   // a client that has not chosen gets nothing
}

// The limits of what one client may ask for.
const (
	maxWatched   = 1000     // device IDs and topic filters
	maxFilters   = 32 << 10 // bytes of the filters together: each of their levels takes memory
	minHeartbeat = time.Second
	maxHeartbeat = time.Hour
	minInterval  = 10 * time.Millisecond
	maxInterval  = time.Hour
	maxRewind    = 365 * 24 * time.Hour
)

// choice is what a client asks for, in its own words.
type choice struct {
	DeviceIDs []string `json:"device_ids"`
	Topics    []string `json:"topics"`
}

func (c *choice) empty() bool { return len(c.DeviceIDs)+len(c.Topics) == 0 }

// check returns an error if something cannot be chosen. It calls the lists deviceIDs and
// topics, as the client does.
func (c *choice) check(deviceIDs, topics string) error {
	if n := len(c.DeviceIDs) + len(c.Topics); n > maxWatched {
		return fmt.Errorf("%d device IDs and topics are asked for, and %d may be", n, maxWatched)
	}
	for _, id := range c.DeviceIDs {
		if err := iotcore.ValidateID(deviceIDs, id); err != nil {
			return err
		}
	}
	bytes := 0
	for _, filter := range c.Topics {
		if bytes += len(filter); bytes > maxFilters {
			return fmt.Errorf("%s: the topic filters have more than the %d bytes that they may have together", topics, maxFilters)
		}
		if err := iotcore.ValidateSyntax(filter); err != nil {
			return fmt.Errorf("%s: %w", topics, err)
		}
	}
	return nil
}

// within returns what is left of a choice within the bounds of a token. It leaves out what
// certainly lies outside. Of the choice of everything, all that the token allows is left.
func (c *choice) within(bounds *fanout.Choice) choice {
	if bounds == nil {
		return *c
	}
	if c.empty() {
		return choice{bounds.Keys, bounds.Filters}
	}
	left := choice{DeviceIDs: []string{}, Topics: []string{}}
	for _, id := range c.DeviceIDs {
		if slices.Contains(bounds.Keys, id) || len(bounds.Filters) > 0 { // a filter may cover a topic of the device
			left.DeviceIDs = append(left.DeviceIDs, id)
		}
	}
	for _, filter := range c.Topics {
		for _, allowed := range bounds.Filters {
			if len(bounds.Keys) > 0 || iotcore.Overlap(allowed, filter) {
				left.Topics = append(left.Topics, filter)
				break
			}
		}
		if len(bounds.Filters) == 0 && len(bounds.Keys) > 0 { // a device may publish to any topic
			left.Topics = append(left.Topics, filter)
		}
	}
	return left
}

// wants returns a choice within the bounds of a token, as the hub takes it; nil:
// everything.
func (w *Watch) wants(asked choice, bounds *fanout.Choice) *fanout.Choice {
	switch left := asked.within(bounds); {
	case asked.empty() && w.Required:
		return new(fanout.Choice)
	case asked.empty():
		return bounds
	default:
		return &fanout.Choice{Keys: left.DeviceIDs, Filters: left.Topics, Within: bounds}
	}
}

// inForce makes the answer that tells a client what it gets from now on. It has lists of
// what the client has chosen. Two empty lists mean nothing, and no lists mean everything.
func inForce(in *fanout.Choice) []byte {
	text := []byte("{}")
	if in != nil {
		list := func(all []string) []string { return append([]string{}, all...) } // not null
		text, _ = json.Marshal(choice{list(in.Keys), list(in.Filters)})           // strings always marshal
	}
	return fmt.Appendf(nil, `{"messages":[],"watch":%s}`, text)
}

// refusalOf makes the answer to a choice that is refused. The one before stays in force.
func refusalOf(err error) []byte {
	text, _ := json.Marshal(err.Error())
	return fmt.Appendf(nil, `{"messages":[],"error":{"code":"watch","message":%s}}`, text)
}

// Errors of a choice.
var (
	errRequired = errors.New("neither devices nor topics are named, and this path sends nothing to who has not chosen: name some in device_ids or topics (device_id or topic in the URL)")
	errShape    = errors.New("watch must be an object with device_ids and topics, lists of strings, such as {\"watch\":{\"device_ids\":[\"boiler\"]}}")
	errNoEntry  = errors.New("watch has lists, and nothing in them: name devices in device_ids or topics in topics, or send {\"watch\":{}} for everything")
)

// beginsWatch matches a message that can be nothing but a choice, by its beginning alone:
// it need not be JSON.
var beginsWatch = regexp.MustCompile(`^[ \t\r\n]*\{[ \t\r\n]*"watch"`)

// watched reads a message by which a client changes its choice; ok is false for any
// other. A message that is no JSON object, but speaks of watch, is taken for a broken
// choice. If others is true, somebody wants other messages, and it must begin as a choice.
func watched(m Message, others bool) (asked choice, ok bool, err error) {
	if !m.Text || !bytes.Contains(m.Data, []byte(`"watch"`)) {
		return choice{}, false, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(m.Data, &fields); err != nil {
		if others && !beginsWatch.Match(m.Data) {
			return choice{}, false, nil
		}
		if malformed, ok := errors.AsType[*json.SyntaxError](err); ok {
			return choice{}, true, fmt.Errorf("the message is malformed JSON: %w, at byte %d", malformed, malformed.Offset)
		}
		return choice{}, true, errShape
	}
	text, ok := fields["watch"]
	if !ok {
		return choice{}, false, nil
	}
	asked, err = readChoice(text)
	return asked, true, err
}

// readChoice reads the object that is a whole choice. Without lists it means everything.
// A list that is null counts as none, since programs write so what they have not set.
// Lists with nothing in them are an error.
func readChoice(text []byte) (asked choice, err error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil || fields == nil {
		return asked, errShape
	}
	lists := len(fields)
	for _, f := range []struct {
		name string
		into *[]string
	}{{fieldDeviceIDs, &asked.DeviceIDs}, {fieldTopics, &asked.Topics}} {
		list, ok := fields[f.name]
		if ok && string(list) == "null" {
			lists--
		}
		if ok && json.Unmarshal(list, f.into) != nil {
			return asked, fmt.Errorf("%s of watch must be a list of strings", f.name)
		}
		delete(fields, f.name)
	}
	for name := range fields {
		return asked, fmt.Errorf("watch has no field %.50q, but %s and %s", name, fieldDeviceIDs, fieldTopics)
	}
	if asked.empty() && lists > 0 {
		return asked, errNoEntry
	}
	err = asked.check(fieldDeviceIDs, fieldTopics)
	return asked, err
}

// The fields of a choice.
const (
	fieldDeviceIDs = "device_ids"
	fieldTopics    = "topics"
)

// bounds reads what a claim allows. An entry with one of / + # $ is a topic filter, any
// other a device ID. A claim that cannot mean what its author meant is an error: the
// client is told, and does not get less than it should without knowing.
func bounds(claims token.Claims, name string) (*fanout.Choice, error) {
	switch value := claims[name].(type) {
	case string: // entries with white space between, as those of scope
	case []any:
		for _, entry := range value {
			if _, ok := entry.(string); !ok {
				return nil, fmt.Errorf("claim %s: an entry is no string, but %.50q", name, fmt.Sprint(entry))
			}
		}
	case nil:
		return nil, fmt.Errorf("the token has no claim %s", name)
	default:
		return nil, fmt.Errorf("claim %s must be a list of strings, not %.50q", name, fmt.Sprint(value))
	}
	allowed := new(fanout.Choice)
	for _, entry := range claims.Strings(name) {
		one := choice{DeviceIDs: []string{entry}}
		if strings.ContainsAny(entry, "/+#$") {
			one = choice{Topics: []string{entry}}
		}
		if err := one.check("device ID", "entry"); err != nil {
			return nil, fmt.Errorf("claim %s: %w", name, err)
		}
		allowed.Keys = append(allowed.Keys, one.DeviceIDs...)
		allowed.Filters = append(allowed.Filters, one.Topics...)
	}
	return allowed, nil
}

// choose reads from the handshake what the visitor wants to get.
func (v *visitor) choose() *refusal {
	w := v.guard.watch
	if w != nil && w.Claim != "" {
		within, err := bounds(v.info.Claims, w.Claim)
		if err != nil {
			v.guard.log.Debug("Token refused", "source_ip", v.info.SourceIP, "error", err)
			return &refusal{http.StatusForbidden, "token_watch", fmt.Sprintf("the claim %s of the token does not say what may be watched: it must be a list of device IDs and topic filters", w.Claim)}
		}
		v.within = within
	}
	v.start.Choice = v.within
	if w != nil && w.Required {
		v.start.Choice = new(fanout.Choice)
	}
	v.pace = v.guard.pace
	v.events = v.guard.events && wantsEvents(v.req)
	if v.events {
		v.start.ResumeFrom = v.req.Header.Get(headerLastEventID)
	}
	if v.req.URL.RawQuery != "" {
		query, err := url.ParseQuery(v.req.URL.RawQuery)
		if err != nil { // what could be read of it may be less than what was asked for
			return &refusal{http.StatusBadRequest, "query", "the query of the URL is malformed: write what is special in it as %XX"}
		}
		if err := v.readQuery(query); err != nil {
			return &refusal{http.StatusBadRequest, "query", err.Error()}
		}
	}
	if v.events && w != nil && len(v.start.Answer) == 0 {
		v.start.Answer = w.answerEvents(&v.start)
	}
	v.start.Choice = paced(v.start.Choice, v.pace)
	return nil
}

// answerEvents returns what is sent first to a client of server-sent events whose URL
// names nothing; nil: nothing. Such a client cannot choose by a message later. With
// latest=true it has chosen anew, and chosen everything.
func (w *Watch) answerEvents(start *fanout.Start) []byte {
	switch {
	case w.Required:
		return refusalOf(errRequired)
	case start.WithLatest:
		return inForce(start.Choice)
	}
	return nil
}

// paced returns a choice for a client that gets at most one message of a device in the
// time pace; 0: all.
func paced(c *fanout.Choice, pace time.Duration) *fanout.Choice {
	if pace == 0 {
		return c
	}
	if c == nil {
		return &fanout.Choice{All: true, Interval: pace}
	}
	slower := *c
	slower.Interval = pace
	return &slower
}

// The parameters of the query by which a client says what it wants to get. A page cannot
// set header fields of its handshake.
const (
	parameterLastEventID = "last_event_id" // it goes on where it left off
	parameterDeviceID    = "device_id"
	parameterTopic       = "topic"
	parameterLatest      = "latest"
	parameterRewind      = "rewind"
	parameterHeartbeat   = "heartbeat"
	parameterInterval    = "interval"
)

// honoured returns an error for what the visitor asks for and this path cannot do: the
// client would wait for it in vain. It does so, too, for what may be asked for once, and
// is asked for twice. Where there is an on_connect, a parameter that the path does not
// honour may be meant for that, and is let pass.
//
// last_event_id, latest and heartbeat may be asked for on any path. A path without a
// history tells the client of a gap.
func (v *visitor) honoured(query url.Values) error {
	watches, keeps := v.guard.watch != nil, v.guard.keeps
	for _, p := range []struct {
		name   string
		on     bool   // it is honoured
		field  string // the field of the route that it needs
		option string // the same in Go
		once   bool   // it may stand there once
	}{
		{parameterDeviceID, watches, "watch", "Watch", false},
		{parameterTopic, watches, "watch", "Watch", false},
		{parameterInterval, watches, "watch", "Watch", true},
		{parameterRewind, keeps, "history", "History", true},
		{parameterLastEventID, true, "", "", true},
		{parameterLatest, true, "", "", true},
		{parameterHeartbeat, true, "", "", true},
	} {
		switch n := len(query[p.name]); {
		case n == 0 || !p.on && v.guard.connect != nil:
		case !p.on:
			return fmt.Errorf("%s needs %s, which this path does not have: leave the parameter out, or have it switched on (%[2]s of the route in YAML, %s in Go)", p.name, p.field, p.option)
		case n > 1 && p.once:
			return fmt.Errorf("%s stands there %d times: it may once", p.name, n)
		}
	}
	return nil
}

// readQuery reads all that the parameters of the query say.
func (v *visitor) readQuery(query url.Values) (err error) {
	if err := v.honoured(query); err != nil {
		return err
	}
	if v.start.ResumeFrom == "" {
		v.start.ResumeFrom = query.Get(parameterLastEventID)
	}
	if v.guard.keeps {
		if v.start.Rewind, err = duration(query, parameterRewind, 0, maxRewind); err != nil {
			return err
		}
	}
	if v.start.Heartbeat, err = duration(query, parameterHeartbeat, minHeartbeat, maxHeartbeat); err != nil {
		return err
	}
	if query.Has(parameterLatest) {
		latest := query.Get(parameterLatest)
		if latest != "true" && latest != "false" {
			return fmt.Errorf("%s must be true or false, not %.50q", parameterLatest, latest)
		}
		v.start.NoLatest, v.start.WithLatest = latest == "false", latest == "true"
	}
	w := v.guard.watch
	if w == nil {
		return nil
	}
	interval, err := duration(query, parameterInterval, minInterval, maxInterval)
	if err != nil {
		return err
	}
	v.pace = max(v.pace, interval)
	asked := choice{DeviceIDs: list(query, parameterDeviceID), Topics: list(query, parameterTopic)}
	if asked.empty() {
		return nil
	}
	if err := asked.check(parameterDeviceID, parameterTopic); err != nil {
		return err
	}
	v.start.Choice = w.wants(asked, v.within)
	v.start.Answer = inForce(v.start.Choice)
	return nil
}

// list returns the values of a parameter. The parameter may stand there more than once,
// and hold several values with commas between.
func list(query url.Values, name string) (all []string) {
	for _, value := range query[name] {
		all = append(all, strings.Split(value, ",")...)
	}
	return all
}

// duration reads a parameter that is a duration; 0: it is not there.
func duration(query url.Values, name string, least, most time.Duration) (time.Duration, error) {
	if !query.Has(name) {
		return 0, nil
	}
	text := query.Get(name)
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		return 0, fmt.Errorf("%s must be a duration of %s to %s, such as 30s, not %.50q", name, least, most, text)
	}
	return d, nil
}

// watch lets a connection choose anew, if its message is for that. It reports whether it
// is.
func (r *Route) watch(t *terms, c *Connection, m Message) bool {
	if t.Watch == nil {
		return false
	}
	asked, ok, err := watched(m, t.Handlers.Message != nil)
	if !ok {
		return false
	}
	if err == nil && asked.empty() && t.Watch.Required {
		err = errRequired
	}
	r.observer.Watched(err == nil)
	if err != nil {
		_ = c.conn.Send(fanout.Text, refusalOf(err)) // fails if the connection has ended
		return true
	}
	wants := t.Watch.wants(asked, c.within())
	_ = c.conn.Choose(paced(wants, c.pace), inForce(wants))
	return true
}

// wrap is what stands around and between the messages of an envelope.
var wrap = fanout.Wrap{Open: `{"messages":[`, Between: ",", Close: "]}", CloseAt: closeAt}

// closeAt ends an envelope with which a client has all last values. It tells the client
// behind which message to go on, since those in the envelope may be older.
func closeAt(id string) string {
	text, _ := json.Marshal(id) // strings always marshal
	return `],"last_event_id":` + string(text) + "}"
}

// heartbeat is what clients get that want a sign of life: an envelope with nothing in it.
var heartbeat = []byte(`{"messages":[]}`)

// parts finds the messages of an envelope, for clients to choose from. It finds none if
// the payload is no envelope, or one that two readers could understand differently. Such
// a payload goes only to clients that get everything.
func parts(payload []byte) (all []fanout.Part) {
	err := envelope.Scan(payload, func(p envelope.Part) {
		all = append(all, fanout.Part{ID: p.EventID, Key: p.DeviceID, Topic: p.Topic, From: p.From, To: p.To, Empty: p.Empty})
	})
	if err != nil {
		return nil
	}
	return all
}
