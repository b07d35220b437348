package triggers

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// Template is the stream that a trigger becomes unless the user has another.
//
//go:embed template.yaml
var Template []byte

// Connection is what a trigger needs to know and the original's does not say:
// how to reach the MQTT broker. What is empty stays as the template has it.
type Connection struct {
	URLs     []string
	QoS      *int
	ClientID string
}

const (
	input    = "iot_mqtt"
	output   = "websocket_broadcast"
	atOnce   = time.Nanosecond // 0s would mean: wait until the batch is full
	headMark = "# ---"
	headNote = "# Made by `iotcast trigger`, to which the lines between the dashes belong. All else may\n" +
		"# be edited: what you change takes effect with `iotcast trigger update %s`.\n"
)

// stream is the Benthos config of a trigger: a YAML document in which the
// trigger's own fields are set and read, wherever its input and output stand,
// and all else stays as the user wrote it.
type stream struct {
	doc           *yaml.Node
	input, output *yaml.Node
}

func parseStream(text []byte) (*stream, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is no stream: an input, a pipeline and an output are needed")
	}
	s := &stream{doc: &doc}
	for _, part := range []struct {
		section, component string
		to                 **yaml.Node
	}{{"input", input, &s.input}, {"output", output, &s.output}} {
		var found []*yaml.Node
		if section := child(doc.Content[0], part.section); section != nil {
			found = components(section, part.component)
		}
		if len(found) != 1 {
			return nil, fmt.Errorf("its %s has %d %s: a trigger has one", part.section, len(found), part.component)
		}
		*part.to = found[0]
	}
	return s, nil
}

// components are the configs of all components of a type within n.
func components(n *yaml.Node, kind string) (found []*yaml.Node) {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == kind && c.Kind == yaml.MappingNode {
			found = append(found, c)
			continue
		}
		found = append(found, components(c, kind)...)
	}
	return found
}

// child is the value of a key, nil if there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// set gives a key a value, keeping its place and its comment; nil removes it.
func set(n *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value != key {
			continue
		}
		if value == nil {
			n.Content = append(n.Content[:i], n.Content[i+2:]...)
			return
		}
		value.LineComment = n.Content[i+1].LineComment
		n.Content[i+1] = value
		return
	}
	if value != nil {
		n.Style = 0 // of {}
		n.Content = append(n.Content, text(key), value)
	}
}

func setText(n *yaml.Node, key, value string) {
	switch {
	case value == "":
		set(n, key, nil)
	case scalar(n, key) != value: // it may be quoted in a way of its own
		set(n, key, text(value))
	}
}

func number(i int64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(i, 10)}
}

func list(values ...string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, v := range values {
		n.Content = append(n.Content, text(v))
	}
	return n
}

func scalar(n *yaml.Node, key string) string {
	if c := child(n, key); c != nil && c.Kind == yaml.ScalarNode {
		return c.Value
	}
	return ""
}

// setRule puts the rule into the stream.
func (s *stream) setRule(r Rule) {
	setText(s.input, "registry_id", r.RegistryID)
	setText(s.input, "device_id", r.DeviceID)
	setText(s.input, "broker_id", r.BrokerID)
	if r.Topic == "" {
		set(s.input, "topics", nil)
	} else {
		set(s.input, "topics", list(r.Topic))
	}
	batching := child(s.input, "batching")
	if batching == nil || batching.Kind != yaml.MappingNode {
		batching = &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		set(s.input, "batching", batching)
	}
	style := batching.Style
	set(batching, "count", number(r.BatchSize))
	period := formatDuration(r.BatchCutoff)
	if r.BatchCutoff == 0 {
		period = atOnce.String()
	}
	setText(batching, "period", period)
	batching.Style = style
	setText(s.output, "gateway", r.Gateway)
	setText(s.output, "path", r.Path)
	setText(s.output, "service_account_id", r.ServiceAccountID)
}

// changeRule puts another rule into the stream. The broker keeps the session's
// subscriptions, so the input has to be told of those that have gone.
func (s *stream) changeRule(from, to Rule) {
	s.setRule(to)
	now := to.filters()
	var gone []string
	for _, f := range append(s.texts("unsubscribe"), from.filters()...) {
		if !slices.Contains(now, f) && !slices.Contains(gone, f) {
			gone = append(gone, f)
		}
	}
	if len(gone) > 0 {
		set(s.input, "unsubscribe", list(gone...))
	} else {
		set(s.input, "unsubscribe", nil)
	}
}

// filters are those that the input subscribes to.
func (r Rule) filters() []string {
	if r.Topic != "" {
		return []string{r.Topic}
	}
	return iotcore.DefaultFilters(r.Source, r.RegistryID, r.DeviceID)
}

// texts are the items of a list of the input.
func (s *stream) texts(key string) (all []string) {
	if n := child(s.input, key); n != nil && n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			all = append(all, item.Value)
		}
	}
	return all
}

// setConnection puts into the stream what of c is not empty.
func (s *stream) setConnection(c Connection) {
	if len(c.URLs) > 0 {
		set(s.input, "urls", list(c.URLs...))
	}
	if c.QoS != nil {
		set(s.input, "qos", number(int64(*c.QoS)))
	}
	if c.ClientID != "" {
		setText(s.input, "client_id", c.ClientID)
	}
}

// rule reads the rule from the stream.
func (s *stream) rule() (Rule, error) {
	r := Rule{
		Source:           iotcore.Device,
		RegistryID:       scalar(s.input, "registry_id"),
		DeviceID:         scalar(s.input, "device_id"),
		BrokerID:         scalar(s.input, "broker_id"),
		BatchSize:        DefaultBatchSize,
		BatchCutoff:      DefaultBatchCutoff,
		Gateway:          scalar(s.output, "gateway"),
		Path:             scalar(s.output, "path"),
		ServiceAccountID: scalar(s.output, "service_account_id"),
	}
	if r.BrokerID != "" {
		r.Source = iotcore.Broker
	}
	switch topics := s.texts("topics"); len(topics) {
	case 0:
	case 1:
		r.Topic = topics[0]
	default:
		return r, fmt.Errorf("its %s has %d topics: a trigger has one, or none for all", input, len(topics))
	}
	batching := child(s.input, "batching")
	if batching == nil {
		return r, nil
	}
	var err error
	if size := scalar(batching, "count"); size != "" {
		if r.BatchSize, err = strconv.ParseInt(size, 10, 64); err != nil {
			return r, fmt.Errorf("its batching.count %q is no whole number", size)
		}
	}
	if period := scalar(batching, "period"); period != "" {
		if r.BatchCutoff, err = time.ParseDuration(period); err != nil {
			return r, fmt.Errorf("its batching.period %q is no duration", period)
		}
	}
	if r.BatchCutoff <= atOnce {
		r.BatchCutoff = 0
	}
	return r, nil
}

// farewell is a stream that makes the broker forget the session of this one: it
// connects with the same client ID and a clean session (MQTT 3.1.1, 3.1.2.4),
// and drops what may arrive until it ends. It is nil if there is no session to
// forget.
func (s *stream) farewell() ([]byte, error) {
	if scalar(s.input, "clean_session") != "false" {
		return nil, nil
	}
	set(s.input, "clean_session", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
	var b bytes.Buffer
	err := encodeYAML(&b, object(
		pair("input", child(s.doc.Content[0], "input")),
		pair("output", object(pair("drop", object()))),
	))
	return b.Bytes(), err
}

func (s *stream) clientID() string { return scalar(s.input, "client_id") }

// Render makes the stream of a trigger from a template: the text of its file.
func Render(t Trigger, template []byte, c Connection) ([]byte, error) {
	s, err := parseStream(template)
	if err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	if c.ClientID == "" {
		c.ClientID = "iotcast-" + t.ID
	}
	s.setRule(t.Rule)
	s.setConnection(c)
	return s.file(t)
}

// file is the text that is stored: what has no place in a stream stands before
// it, in comments, since Benthos refuses fields that it does not know, and two
// files cannot be replaced at once.
func (s *stream) file(t Trigger) ([]byte, error) {
	var head, b bytes.Buffer
	if err := encodeYAML(&head, metadata(t)); err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, headNote, t.Name)
	b.WriteString(headMark + "\n")
	for line := range strings.Lines(head.String()) {
		b.WriteString("# " + line)
	}
	b.WriteString(headMark + "\n\n")
	err := encodeYAML(&b, s.doc)
	return b.Bytes(), err
}

// parseFile reads what file has made. ok is false when it is another stream.
func parseFile(text []byte) (t Trigger, s *stream, ok bool, err error) {
	head, body, ok := splitHead(string(text))
	if !ok {
		return t, nil, false, nil
	}
	n, err := parse([]byte(head))
	if err != nil {
		return t, nil, true, fmt.Errorf("reading the comments at its beginning: %w", err)
	}
	d := decoder{}
	d.mapping(n, "", map[string]func(*yaml.Node, string){
		"id": d.text(&t.ID), "folder_id": d.text(&t.FolderID), "created_at": d.text(&t.CreatedAt),
		"name": d.text(&t.Name), "description": d.text(&t.Description), "labels": d.labels(&t.Labels),
	})
	if d.err != nil {
		return t, nil, true, fmt.Errorf("reading the comments at its beginning: %w", d.err)
	}
	if s, err = parseStream([]byte(body)); err != nil {
		return t, nil, true, err
	}
	t.Rule, err = s.rule()
	return t, s, true, err
}

func splitHead(text string) (head, body string, ok bool) {
	_, rest, ok := strings.Cut(text, "\n"+headMark+"\n")
	if !ok || !strings.HasPrefix(text, "#") {
		return "", "", false
	}
	lines, body, ok := strings.Cut(rest, "\n"+headMark+"\n")
	var b strings.Builder
	for line := range strings.Lines(lines + "\n") {
		if !strings.HasPrefix(line, "#") {
			return "", "", false
		}
		b.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "#"), " "))
	}
	return b.String(), body, ok
}
