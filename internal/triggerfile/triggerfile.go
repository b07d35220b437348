// Package triggerfile reads the files in which the original service prints triggers.
package triggerfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"

	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"gopkg.in/yaml.v3"
)

// Decode reads what the original service prints: one trigger or a list of them, as the YAML or JSON of its command line
// (snake_case) or the JSON of its REST API (camelCase). Of a list, triggers that have nothing to do with IoT topics or
// WebSocket connections are left out, and skip is told of them; by itself, such a trigger is an error.
func Decode(text []byte, skip func(trigger string, reason error)) (all []*triggers.Trigger, isList bool, err error) {
	document, err := parse(text)
	if err != nil {
		return nil, false, err
	}
	if o, ok := document.(map[string]any); ok && o["triggers"] != nil { // the REST API's list
		document = o["triggers"]
	}
	list, isList := document.([]any)
	if !isList {
		t, err := decodeTrigger(document)
		return []*triggers.Trigger{t}, false, err
	}
	for i, one := range list {
		t, err := decodeTrigger(one)
		var foreign foreignError
		switch {
		case errors.As(err, &foreign):
			skip(nameIn(one, i), foreign)
		case err != nil:
			return nil, true, fmt.Errorf("trigger %s: %w", nameIn(one, i), err)
		default:
			all = append(all, t)
		}
	}
	return all, true, nil
}

// nameIn names a trigger of a list, as far as it is known.
func nameIn(one any, index int) string {
	o, _ := one.(map[string]any)
	for _, key := range []string{"name", "id"} {
		if text, ok := o[key].(string); ok && text != "" {
			return text
		}
	}
	return fmt.Sprintf("number %d", index+1)
}

func decodeTrigger(one any) (*triggers.Trigger, error) {
	t := new(triggers.Trigger)
	o, ok := one.(map[string]any)
	if !ok {
		return t, errors.New("a trigger must be an object with fields")
	}
	if rules, ok := o["rule"].(map[string]any); ok {
		if err := foreign(rules); err != nil {
			return t, err
		}
	}
	text, err := json.Marshal(o)
	if err != nil {
		return t, err
	}
	if err := protojson.Unmarshal(text, t); err != nil {
		return t, fieldError(err)
	}
	return t, complete(t.GetRule())
}

// complete fails for a rule that does not say what to listen to or where to send.
func complete(r *triggers.Trigger_Rule) error {
	var action *triggers.GatewayWebsocketBroadcast
	path := ""
	switch rule := r.GetRule().(type) {
	case *triggers.Trigger_Rule_IotMessage:
		action, path = rule.IotMessage.GetGatewayWebsocketBroadcast(), "rule.iot_message"
	case *triggers.Trigger_Rule_IotBrokerMessage:
		action, path = rule.IotBrokerMessage.GetGatewayWebsocketBroadcast(), "rule.iot_broker_message"
	default:
		return errors.New("rule is missing: give rule.iot_message or rule.iot_broker_message")
	}
	if action == nil {
		return fmt.Errorf("%s.gateway_websocket_broadcast is missing: it says where to send", path)
	}
	return nil
}

// foreignError is about a trigger that the original service has and iotcast has not.
type foreignError string

func (e foreignError) Error() string { return string(e) }

// foreign looks for rules and actions of the original service that iotcast has not. There may be new ones, which the types
// do not know.
func foreign(rules map[string]any) error {
	for rule, body := range rules {
		if rule = snake(rule); rule != "iot_message" && rule != "iot_broker_message" {
			return foreignError(fmt.Sprintf("rule.%s is not what iotcast listens to: its rules are iot_message and iot_broker_message", rule))
		}
		o, _ := body.(map[string]any)
		for name, value := range o {
			_, isObject := value.(map[string]any)
			if name = snake(name); isObject && name != "batch_settings" && name != "gateway_websocket_broadcast" {
				return foreignError(fmt.Sprintf("rule.%s.%s is not what iotcast does: its action is gateway_websocket_broadcast", rule, name))
			}
		}
	}
	return nil
}

// place is where protojson stood in a text that nobody has seen.
var place = regexp.MustCompile(`^proto:\p{Zs}(syntax error )?\(line [0-9]+:[0-9]+\):\p{Zs}`)

func fieldError(err error) error { return errors.New(place.ReplaceAllString(err.Error(), "")) }

// parse reads YAML, and JSON in the forms that a YAML parser refuses: indented with tabs, or with escaped surrogate pairs.
// All scalars become texts, as people and YAML leave out quotes that JSON needs, and what is null is left out.
func parse(text []byte) (any, error) {
	if json.Valid(text) {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var v any
		err := d.Decode(&v)
		return texts(v), err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, errors.New("it is empty")
	}
	var whole any
	if err := doc.Decode(&whole); err != nil { // refuses aliases that hold themselves, or too much
		return nil, err
	}
	return plainYAML(doc.Content[0]), nil
}

func texts(v any) any {
	switch v := v.(type) {
	case json.Number:
		return v.String()
	case []any:
		for i := range v {
			v[i] = texts(v[i])
		}
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, value any) bool { return value == nil })
		for key := range v {
			v[key] = texts(v[key])
		}
	}
	return v
}

func plainYAML(n *yaml.Node) any {
	switch n.Kind {
	case yaml.AliasNode:
		return plainYAML(n.Alias)
	case yaml.SequenceNode:
		list := []any{}
		for _, child := range n.Content {
			list = append(list, plainYAML(child))
		}
		return list
	case yaml.MappingNode:
		o := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if value := plainYAML(n.Content[i+1]); value != nil {
				o[n.Content[i].Value] = value
			}
		}
		return o
	}
	if n.Tag == "!!null" {
		return nil
	}
	return n.Value
}

// snake turns camelCase to snake_case, and leaves snake_case as it is.
func snake(s string) string {
	var b strings.Builder
	for _, r := range s {
		if 'A' <= r && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
