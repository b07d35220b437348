package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"gopkg.in/yaml.v3"
)

// readTriggers reads those of --file, with a gateway and a service account as flags say.
func (c *call) readTriggers() (all []*triggers.Trigger, isList bool, err error) {
	path := c.String(flagFile)
	text, err := readFileOrStdin(c.Context, path)
	if err != nil {
		return nil, false, fmt.Errorf("reading --%s: %w", flagFile, err)
	}
	all, isList, err = decodeTriggers(text, c.warn)
	if err != nil {
		return nil, false, fmt.Errorf("--%s %s: %w", flagFile, path, err)
	}
	if len(all) == 0 {
		return nil, false, fmt.Errorf("--%s %s has no trigger for iotcast", flagFile, path)
	}
	for _, t := range all {
		overrideAction(c.Context, t)
	}
	return all, isList, nil
}

func overrideAction(c *cli.Context, t *triggers.Trigger) {
	r, err := ruleOf(t)
	if err != nil {
		return
	}
	if c.IsSet(flagGateway) {
		r.action.GatewayId = c.String(flagGateway)
	}
	if c.IsSet(flagServiceAccount) {
		r.action.ServiceAccountId = c.String(flagServiceAccount)
	}
}

// decodeTriggers reads what the original service prints: one trigger or a list of them, as the YAML or JSON of its command
// line (snake_case) or the JSON of its REST API (camelCase). Of a list, triggers that have nothing to do with IoT topics or
// WebSocket connections are left out, and named in a warning; by itself, such a trigger is an error.
func decodeTriggers(text []byte, warn func(error)) (all []*triggers.Trigger, isList bool, err error) {
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
			warn(fmt.Errorf("trigger %s is skipped: %w", nameIn(one, i), foreign))
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
	// Of rules and actions, the service may have new ones, which the types do not know.
	if rules, ok := o["rule"].(map[string]any); ok {
		for name := range rules {
			if name = snake(name); name != "iot_message" && name != "iot_broker_message" {
				return t, foreignError(fmt.Sprintf("rule.%s is not what iotcast listens to: its rules are iot_message and iot_broker_message", name))
			}
		}
	}
	text, err := json.Marshal(o)
	if err != nil {
		return t, err
	}
	if err := protojson.Unmarshal(text, t); err != nil {
		return t, fieldError(err)
	}
	_, err = ruleOf(t)
	return t, err
}

// place is where protojson stood in a text that nobody has seen.
var place = regexp.MustCompile(`^proto:\p{Zs}(syntax error )?\(line [0-9]+:[0-9]+\):\p{Zs}`)

func fieldError(err error) error { return errors.New(place.ReplaceAllString(err.Error(), "")) }

// parse reads YAML, and JSON in the forms that a YAML parser refuses: indented with tabs, or with escaped surrogate pairs.
// All scalars become texts, as people and YAML leave out quotes that JSON needs.
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
			o[n.Content[i].Value] = plainYAML(n.Content[i+1])
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
