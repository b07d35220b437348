package triggers

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// Skipped names a trigger of a list that is none of ours.
type Skipped struct {
	Trigger, Reason string
}

// Decode reads what the original service prints: one trigger or a list of them,
// as the YAML or JSON of its command line (snake_case) or the JSON of its REST
// API (camelCase). Of a list, triggers that have nothing to do with IoT topics
// or WebSocket connections are skipped; by itself, such a trigger is an error.
// What Decode returns is not validated yet.
func Decode(text []byte) (all []Trigger, skipped []Skipped, err error) {
	root, err := parse(text)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the trigger: %w", err)
	}
	if list := child(root, "triggers"); list != nil { // the REST API's list
		root = list
	}
	if root.Kind != yaml.SequenceNode {
		t, err := decodeTrigger(root)
		return []Trigger{t}, nil, err
	}
	for i, n := range root.Content {
		t, err := decodeTrigger(n)
		var foreign foreignError
		switch {
		case errors.As(err, &foreign):
			skipped = append(skipped, Skipped{Trigger: t.called(i), Reason: foreign.Error()})
		case err != nil:
			return nil, nil, fmt.Errorf("trigger %s: %w", t.called(i), err)
		default:
			all = append(all, t)
		}
	}
	return all, skipped, nil
}

// parse reads YAML, and JSON in the forms that a YAML parser refuses: indented
// with tabs, or with escaped surrogate pairs.
func parse(text []byte) (*yaml.Node, error) {
	var doc yaml.Node
	err := yaml.Unmarshal(text, &doc)
	if err != nil && json.Valid(text) {
		var value any
		if err = json.Unmarshal(text, &value); err == nil {
			doc.Content = []*yaml.Node{{}}
			err = doc.Content[0].Encode(value)
		}
	}
	if err == nil && len(doc.Content) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, err
	}
	return doc.Content[0], nil
}

// called names a trigger of a list, as far as it is known.
func (t Trigger) called(index int) string {
	switch {
	case t.Name != "":
		return t.Name
	case t.ID != "":
		return t.ID
	}
	return fmt.Sprintf("number %d", index+1)
}

// foreignError is about a trigger that the original service has and we do not.
type foreignError string

func (e foreignError) Error() string { return string(e) }

func decodeTrigger(n *yaml.Node) (Trigger, error) {
	t := Trigger{
		Status: Active,
		Rule:   Rule{BatchSize: DefaultBatchSize, BatchCutoff: DefaultBatchCutoff},
	}
	d := decoder{}
	var rule *yaml.Node
	d.mapping(n, "", map[string]func(*yaml.Node, string){
		"id":          d.text(&t.ID),
		"folder_id":   d.text(&t.FolderID),
		"created_at":  d.text(&t.CreatedAt),
		"name":        d.text(&t.Name),
		"description": d.text(&t.Description),
		"labels":      d.labels(&t.Labels),
		"status":      d.text((*string)(&t.Status)),
		"rule":        func(n *yaml.Node, _ string) { rule = n },
	})
	if d.err != nil {
		return t, d.err
	}
	if rule == nil {
		return t, errors.New("rule is missing: give rule.iot_message or rule.iot_broker_message")
	}
	return t, decodeRule(rule, &t.Rule)
}

func decodeRule(n *yaml.Node, r *Rule) error {
	const path = "rule"
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 {
		return errors.New("rule must hold one of iot_message and iot_broker_message")
	}
	kind, body := snake(n.Content[0].Value), n.Content[1]
	d := decoder{}
	action := false
	fields := map[string]func(*yaml.Node, string){
		"mqtt_topic": d.text(&r.Topic),
		"batch_settings": func(n *yaml.Node, path string) {
			d.mapping(n, path, map[string]func(*yaml.Node, string){
				"size":   d.integer(&r.BatchSize),
				"cutoff": d.duration(&r.BatchCutoff),
			})
		},
		"gateway_websocket_broadcast": func(n *yaml.Node, path string) {
			action = true
			d.mapping(n, path, map[string]func(*yaml.Node, string){
				"gateway_id":         d.text(&r.Gateway),
				"path":               d.text(&r.Path),
				"service_account_id": d.text(&r.ServiceAccountID),
			})
		},
	}
	for _, other := range []string{"invoke_function", "invoke_container"} {
		fields[other] = func(_ *yaml.Node, path string) {
			d.fail(foreignError(path + " is not what iotcast does: its action is gateway_websocket_broadcast"))
		}
	}
	switch kind {
	case "iot_message":
		r.Source = iotcore.Device
		fields["registry_id"], fields["device_id"] = d.text(&r.RegistryID), d.text(&r.DeviceID)
	case "iot_broker_message":
		r.Source = iotcore.Broker
		fields["broker_id"] = d.text(&r.BrokerID)
	default:
		return foreignError(fmt.Sprintf("%s.%s is not what iotcast listens to: its rules are iot_message and iot_broker_message", path, kind))
	}
	d.mapping(body, path+"."+kind, fields)
	if d.err == nil && !action {
		return fmt.Errorf("%s.%s.gateway_websocket_broadcast is missing: it says where to send", path, kind)
	}
	return d.err
}

// decoder keeps the first error.
type decoder struct{ err error }

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// mapping hands the value of each key to the function for that key, with its
// path.
func (d *decoder) mapping(n *yaml.Node, path string, fields map[string]func(*yaml.Node, string)) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		if path == "" {
			path = "a trigger"
		}
		d.fail(fmt.Errorf("%s must be an object with fields (line %d)", path, n.Line))
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := snake(n.Content[i].Value)
		at := strings.TrimPrefix(path+"."+key, ".")
		read, known := fields[key]
		switch {
		case !known:
			d.fail(fmt.Errorf("%s is not a field of a trigger that iotcast knows: remove it (line %d)", at, n.Content[i].Line))
		case seen[key]:
			d.fail(fmt.Errorf("%s is there twice (line %d)", at, n.Content[i].Line))
		default:
			seen[key] = true
			read(n.Content[i+1], at)
		}
	}
}

func (d *decoder) text(to *string) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if n = resolve(n); n.Kind != yaml.ScalarNode {
			d.fail(fmt.Errorf("%s must be a string (line %d)", path, n.Line))
			return
		}
		if n.Tag != "!!null" {
			*to = n.Value
		}
	}
}

// integer reads a number, or a number in a string, as the original service
// writes those of 64 bits.
func (d *decoder) integer(to *int64) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		var s string
		d.text(&s)(n, path)
		if d.err != nil || s == "" {
			return
		}
		i, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			d.fail(fmt.Errorf("%s %q must be a whole number (line %d)", path, s, n.Line))
			return
		}
		*to = i
	}
}

func (d *decoder) duration(to *time.Duration) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		var s string
		d.text(&s)(n, path)
		if d.err != nil || s == "" {
			return
		}
		v, err := time.ParseDuration(s)
		if err != nil {
			d.fail(fmt.Errorf("%s %q must be a duration such as 10s (line %d)", path, s, n.Line))
			return
		}
		*to = v
	}
}

func (d *decoder) labels(to *map[string]string) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if n = resolve(n); n.Kind != yaml.MappingNode {
			d.fail(fmt.Errorf("%s must be an object of strings (line %d)", path, n.Line))
			return
		}
		labels := map[string]string{}
		for i := 0; i < len(n.Content); i += 2 {
			var value string
			d.text(&value)(n.Content[i+1], path+"."+n.Content[i].Value)
			labels[n.Content[i].Value] = value
		}
		if len(labels) > 0 {
			*to = labels
		}
	}
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// snake turns camelCase to snake_case, and leaves snake_case as it is.
func snake(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
