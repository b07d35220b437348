package triggers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// Format is a form in which triggers are printed. The names are those of the
// original command line.
type Format string

const (
	Text     Format = "text"      // YAML of one trigger, a table of a list
	YAML     Format = "yaml"      // snake_case
	JSON     Format = "json"      // snake_case
	JSONREST Format = "json-rest" // camelCase, as the REST API
)

// Formats are all of them.
var Formats = []Format{Text, YAML, JSON, JSONREST}

// Write prints one trigger.
func Write(w io.Writer, f Format, t Trigger) error { return write(w, f, resource(t)) }

// WriteList prints a list of triggers.
func WriteList(w io.Writer, f Format, all []Trigger) error {
	if f == Text {
		return table(w, all)
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	if len(all) == 0 {
		list.Style = yaml.FlowStyle
	}
	for _, t := range all {
		list.Content = append(list.Content, resource(t))
	}
	return write(w, f, list)
}

func write(w io.Writer, f Format, n *yaml.Node) error {
	if f == JSONREST {
		camelCase(n)
	}
	if f == Text || f == YAML {
		return encodeYAML(w, n)
	}
	var b bytes.Buffer
	if err := writeJSON(&b, n, "\n"); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

func encodeYAML(w io.Writer, n *yaml.Node) error {
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return err
	}
	return e.Close()
}

// object is a YAML mapping that keeps its order.
func object(fields ...*yaml.Node) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields {
		n.Content = append(n.Content, f.Content...)
	}
	return n
}

// pair is one field of an object.
func pair(key string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Content: []*yaml.Node{text(key), value}}
}

// optional is a field that is left out when it is empty.
func optional(key, value string) *yaml.Node {
	if value == "" {
		return &yaml.Node{}
	}
	return pair(key, text(value))
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	if !strings.Contains(s, "\n") {
		n.Style = 0 // plain, or quoted where YAML asks for it
	}
	return n
}

func labels(m map[string]string) *yaml.Node {
	if len(m) == 0 {
		return &yaml.Node{}
	}
	var fields []*yaml.Node
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fields = append(fields, pair(k, text(m[k])))
	}
	return pair("labels", object(fields...))
}

// resource is the trigger in the form of the original command line.
func resource(t Trigger) *yaml.Node {
	r := t.Rule
	settings := []*yaml.Node{
		optional("mqtt_topic", r.Topic),
		pair("batch_settings", object(
			pair("size", text(strconv.FormatInt(r.BatchSize, 10))),
			pair("cutoff", text(formatDuration(r.BatchCutoff))),
		)),
		pair("gateway_websocket_broadcast", object(
			pair("gateway_id", text(r.Gateway)),
			pair("path", text(r.Path)),
			optional("service_account_id", r.ServiceAccountID),
		)),
	}
	var rule *yaml.Node
	if r.Source == iotcore.Broker {
		rule = pair("iot_broker_message", object(append([]*yaml.Node{pair("broker_id", text(r.BrokerID))}, settings...)...))
	} else {
		rule = pair("iot_message", object(append([]*yaml.Node{
			pair("registry_id", text(r.RegistryID)), optional("device_id", r.DeviceID),
		}, settings...)...))
	}
	n := metadata(t)
	n.Content = append(n.Content, pair("rule", object(rule)).Content...)
	n.Content = append(n.Content, optional("status", string(t.Status)).Content...)
	return n
}

// metadata is what a trigger has beside its rule and its status.
func metadata(t Trigger) *yaml.Node {
	return object(
		optional("id", t.ID),
		optional("folder_id", t.FolderID),
		optional("created_at", t.CreatedAt),
		pair("name", text(t.Name)),
		optional("description", t.Description),
		labels(t.Labels),
	)
}

// formatDuration writes seconds, as the original service does, and in a way that
// Benthos reads as well.
func formatDuration(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// camelCase turns the keys of all fields to camelCase; those of labels are the
// user's.
func camelCase(n *yaml.Node) {
	for i, c := range n.Content {
		if n.Kind != yaml.MappingNode {
			camelCase(c)
			continue
		}
		if i%2 == 1 {
			continue
		}
		if c.Value != "labels" {
			camelCase(n.Content[i+1])
		}
		first, rest, _ := strings.Cut(c.Value, "_")
		for rest != "" {
			var word string
			word, rest, _ = strings.Cut(rest, "_")
			first += strings.ToUpper(word[:1]) + word[1:]
		}
		c.Value = first
	}
}

// writeJSON writes a node whose scalars are all strings, with its fields in
// their order. newline is a line break and the indentation so far.
func writeJSON(b *bytes.Buffer, n *yaml.Node, newline string) error {
	brackets, step := "{}", 2
	switch n.Kind {
	case yaml.ScalarNode:
		return jsonString(b, n.Value)
	case yaml.SequenceNode:
		brackets, step = "[]", 1
	}
	b.WriteByte(brackets[0])
	for i := 0; i < len(n.Content); i += step {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(newline + "  ")
		if step == 2 {
			if err := jsonString(b, n.Content[i].Value); err != nil {
				return err
			}
			b.WriteString(": ")
		}
		if err := writeJSON(b, n.Content[i+step-1], newline+"  "); err != nil {
			return err
		}
	}
	if len(n.Content) > 0 {
		b.WriteString(newline)
	}
	b.WriteByte(brackets[1])
	return nil
}

func jsonString(b *bytes.Buffer, s string) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the line break after it
	return nil
}

func table(w io.Writer, all []Trigger) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tNAME\tSTATUS\tSOURCE\tTOPIC\tGATEWAY\tPATH")
	for _, t := range all {
		source := "broker " + t.Rule.BrokerID
		if t.Rule.Source == iotcore.Device {
			source = "registry " + t.Rule.RegistryID
			if t.Rule.DeviceID != "" {
				source = "device " + t.Rule.DeviceID
			}
		}
		topic := t.Rule.Topic
		if topic == "" {
			topic = "(all)"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, t.Status, source, topic, t.Rule.Gateway, t.Rule.Path)
	}
	return tw.Flush()
}
