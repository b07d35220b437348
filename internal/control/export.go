package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"google.golang.org/protobuf/encoding/protojson"
	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/state"
)

// The state as a whole, for backups and for git: GET /state is a document in YAML, PUT /state makes the state what such a
// document says. Both are for administrators: the document has the hashes of passwords.
const (
	pathState   = "/state"
	exportState = "/iotcast.StateService/Export"
	importState = "/iotcast.StateService/Import"
)

// snapshot is the document: a list for each kind, of resources as the command line shows them, with what is private to them.
type snapshot map[state.Kind][]yaml.Node

// stateRoutes serve the state.
func (k *keeper) stateRoutes() []plainRoute {
	return []plainRoute{
		plainRouteTo(http.MethodGet, pathState, false, exportState, k.export),
		plainRouteTo(http.MethodPut, pathState, true, importState, k.importState),
	}
}

func (k *keeper) export(_ context.Context, w http.ResponseWriter, _ *http.Request) error {
	all := snapshot{}
	err := k.state.Read(func(tx *state.Tx) error {
		return cmp.Or(k.registries.export(tx, all), k.devices.export(tx, all), k.brokers.export(tx, all), k.triggers.export(tx, all))
	})
	if err != nil {
		return err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(all.ordered()), e.Close()); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	_, _ = w.Write(b.Bytes())
	return nil
}

// ordered is the document with those first that others refer to.
func (s snapshot) ordered() *yaml.Node {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, kind := range state.Kinds {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range s[kind] {
			list.Content = append(list.Content, &s[kind][i])
		}
		if len(list.Content) == 0 {
			list.Style = yaml.FlowStyle
		}
		root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: string(kind)}, list)
	}
	return root
}

func (k *kind[T]) export(tx *state.Tx, into snapshot) error {
	for one, err := range tx.Walk(k.of, "", "") {
		if err != nil {
			return err
		}
		e, err := k.decode(one)
		if err != nil {
			return err
		}
		n, err := nodeOf(e)
		if err != nil {
			return err
		}
		into[k.of] = append(into[k.of], n)
	}
	return nil
}

// nodeOf is a resource with what is private to it, as one object.
func nodeOf[T resource](e *entry[T]) (n yaml.Node, err error) {
	public, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(e.resource)
	if err != nil {
		return n, err
	}
	private, err := json.Marshal(e.private)
	if err != nil {
		return n, err
	}
	for _, text := range [][]byte{public, private} {
		var part yaml.Node
		if err := yaml.Unmarshal(text, &part); err != nil {
			return n, err
		}
		plainStyle(&part)
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
		n.Content = append(n.Content, part.Content[0].Content...)
	}
	return n, nil
}

// plainStyle takes off the brackets and quotes of JSON where YAML does without.
func plainStyle(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle | yaml.DoubleQuotedStyle
	for _, c := range n.Content {
		plainStyle(c)
	}
}
