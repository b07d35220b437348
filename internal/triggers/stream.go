package triggers

import (
	"bytes"
	_ "embed" // for the template
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	api "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"gopkg.in/yaml.v3"
)

// Template is the stream that a trigger becomes unless the user has another.
//
//go:embed template.yaml
var Template []byte

const (
	input  = "iot_mqtt"
	output = "websocket_broadcast"

	// Where a template has no urls, and this process has no MQTT broker.
	defaultURL      = "tcp://localhost:1883"
	defaultUser     = "${IOTCAST_MQTT_USER:}"
	defaultPassword = "${IOTCAST_MQTT_PASSWORD:}"

	atOnce = time.Nanosecond // 0s would mean: wait until the batch is full
)

// Maker makes the streams of triggers.
type Maker struct {
	Template []byte
	Broker   string // the URL of the MQTT broker of this process, for a template without urls; empty: there is none
	Password string // with which registries and brokers log in there
}

// Check tells why no stream can be made of the template.
func (m Maker) Check() error {
	_, err := m.parse()
	return err
}

// Stream is the config of a trigger's stream. It may hold the password. The MQTT broker is told to forget the filters of
// unsubscribe.
func (m Maker) Stream(t *api.Trigger, unsubscribe []string) ([]byte, error) {
	s, err := m.fill(t)
	if err != nil {
		return nil, err
	}
	if len(unsubscribe) > 0 {
		set(s.input, "unsubscribe", list(unsubscribe...))
	}
	return encode(s.doc)
}

// Farewell is a stream that makes the MQTT broker forget the session of a trigger: it connects with the same client ID and a
// clean session (MQTT 3.1.1, 3.1.2.4), and drops what may arrive until it ends. It is nil if there is no session to forget.
func (m Maker) Farewell(t *api.Trigger) ([]byte, error) {
	s, err := m.fill(t)
	if err != nil || scalar(s.input, "clean_session") != "false" {
		return nil, err
	}
	set(s.input, "clean_session", typed("!!bool", "true"))
	return encode(object("input", child(s.doc.Content[0], "input"), "output", object("drop", object())))
}

// Here reports whether triggers log in to the MQTT broker of this process, each as its registry or broker, to whom its session
// belongs.
func (m Maker) Here() bool {
	s, err := m.parse()
	return err == nil && m.Broker != "" && child(s.input, "urls") == nil && !named(s.input)
}

// named reports whether a template says who logs in.
func named(input *yaml.Node) bool {
	return child(input, "user") != nil || child(input, "password") != nil
}

// stream is a config as a document in which a trigger's own fields are set, wherever its input and output stand, and all else
// stays as the user wrote it.
type stream struct{ doc, input, output *yaml.Node }

func (m Maker) parse() (*stream, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(m.Template, &doc); err != nil {
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

// fill puts a trigger into the template.
func (m Maker) fill(t *api.Trigger) (*stream, error) {
	s, err := m.parse()
	if err != nil {
		return nil, err
	}
	r, err := RuleOf(t.Rule)
	if err != nil {
		return nil, err
	}
	m.connect(s.input, r)
	setText(s.input, "client_id", "iotcast-"+t.Id)
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
		batching = &yaml.Node{Kind: yaml.MappingNode}
		set(s.input, "batching", batching)
	}
	set(batching, "count", typed("!!int", strconv.FormatInt(r.Batch.GetSize(), 10)))
	setText(batching, "period", max(r.Batch.GetCutoff().AsDuration(), atOnce).String())
	setText(s.output, "gateway", r.Action.GatewayId)
	setText(s.output, "path", r.Action.Path)
	setText(s.output, "service_account_id", r.Action.ServiceAccountId)
	return s, nil
}

// connect fills in how to reach the MQTT broker where the template does not say it. The password of this process goes to no
// other.
func (m Maker) connect(input *yaml.Node, r Rule) {
	if child(input, "urls") != nil {
		return
	}
	url, user, password := defaultURL, defaultUser, defaultPassword
	if m.Broker != "" {
		url, user, password = m.Broker, r.User(), m.Password
	}
	set(input, "urls", list(url))
	if !named(input) {
		setText(input, "user", user)
		setText(input, "password", password)
	}
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

func scalar(n *yaml.Node, key string) string {
	if c := child(n, key); c != nil && c.Kind == yaml.ScalarNode {
		return c.Value
	}
	return ""
}

// set gives a key a value; nil removes it.
func set(n *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value != key {
			continue
		}
		if value == nil {
			n.Content = append(n.Content[:i], n.Content[i+2:]...)
			return
		}
		n.Content[i+1] = value
		return
	}
	if value != nil {
		n.Style = 0 // of {}
		n.Content = append(n.Content, text(key), value)
	}
}

func setText(n *yaml.Node, key, value string) {
	if value == "" {
		set(n, key, nil)
		return
	}
	set(n, key, text(value))
}

// text is quoted where something is put in its place before it is read as YAML, or where YAML asks for it.
func text(s string) *yaml.Node {
	n := typed("!!str", s)
	if strings.HasPrefix(s, "${") {
		n.Style = yaml.SingleQuotedStyle
	}
	return n
}

func typed(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

func list(values ...string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for _, v := range values {
		n.Content = append(n.Content, text(v))
	}
	return n
}

// object is a mapping of pairs, a key and a value each.
func object(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		n.Content = append(n.Content, text(pairs[i].(string)), pairs[i+1].(*yaml.Node))
	}
	return n
}

func encode(n *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err := errors.Join(e.Encode(n), e.Close())
	return b.Bytes(), err
}
