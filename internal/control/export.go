package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/state"
)

// The state as a whole, for backups and for git: GET /state is a document in YAML, PUT /state makes the state what such a
// document says. Both are for administrators: the document has the hashes of passwords.
const (
	pathState   = "/state"
	exportState = "/iotcast.StateService/Export"
	importState = "/iotcast.StateService/Import"

	maxStateBytes = 256 << 20
)

// snapshot is the document: a list for each kind, of resources as the command line shows them, with what is private to them.
type snapshot map[state.Kind][]yaml.Node

// stateRoutes serve the state.
func (k *keeper) stateRoutes() []plainRoute {
	return []plainRoute{
		plainRouteTo(http.MethodGet, pathState, false, exportState, k.export),
		plainRouteTo(http.MethodPut, pathState, true, importState, k.restore),
	}
}

func (k *keeper) export(_ context.Context, w http.ResponseWriter, _ *http.Request) error {
	all := snapshot{}
	err := k.state.Read(func(tx *state.Tx) error {
		for _, one := range k.kinds() {
			if err := one.export(tx, all); err != nil {
				return err
			}
		}
		return nil
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

// portable is a kind that can be exported and imported.
type portable interface {
	export(tx *state.Tx, into snapshot) error
	plan(from snapshot) (step, error)
}

// kinds are all, those first that others refer to.
func (k *keeper) kinds() []portable {
	return []portable{k.registries, k.devices, k.brokers, k.triggers}
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

// step is the import of one kind: what is to be made, and what is to go.
type step struct {
	add    []func(context.Context) error
	remove []func(context.Context) error
}

func (k *keeper) restore(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxStateBytes))
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "reading the document: %v", err)
	}
	var all snapshot
	if err := yaml.Unmarshal(text, &all); err != nil {
		return status.Errorf(codes.InvalidArgument, "the document is not the YAML that GET %s gives: %v", pathState, err)
	}
	for kind := range all {
		if !slices.Contains(state.Kinds, kind) {
			return invalid(wrong(string(kind), "is nothing that the state has: it has %v", state.Kinds))
		}
	}
	var steps []step
	for _, one := range k.kinds() {
		s, err := one.plan(all)
		if err != nil {
			return err
		}
		steps = append(steps, s)
	}
	if err := k.possible(all); err != nil {
		return err
	}
	// Those that others refer to go last, and come first.
	for _, s := range slices.Backward(steps) {
		for _, do := range s.remove {
			if err := do(alone(ctx)); err != nil {
				return err
			}
		}
	}
	n := 0
	for _, s := range steps {
		for _, do := range s.add {
			if err := do(alone(ctx)); err != nil {
				return err
			}
			n++
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]int{"resources": n})
	return nil
}

// alone is the part of an import that is about one resource.
func alone(ctx context.Context) context.Context {
	this := *callOf(ctx)
	this.ids = map[string]string{}
	return context.WithValue(ctx, callKey{}, &this)
}

// possible tells what of a document cannot be as a whole, before anything is changed.
func (k *keeper) possible(all snapshot) error {
	if len(all[state.Triggers]) > 0 {
		if err := k.streams.available(); err != nil {
			return err
		}
	}
	cfg := k.fixed
	cfg.Registries, cfg.Brokers = slices.Clone(cfg.Registries), slices.Clone(cfg.Brokers)
	homes, err1 := k.registries.entries(all)
	fleet, err2 := k.devices.entries(all)
	others, err3 := k.brokers.entries(all)
	if err := cmp.Or(err1, err2, err3); err != nil {
		return err
	}
	byRegistry := map[string][]registry.Device{}
	for _, e := range fleet {
		byRegistry[e.resource.RegistryId] = append(byRegistry[e.resource.RegistryId], deviceOf(e.resource, e.private.credentials()))
	}
	for _, e := range homes {
		home := registryOf(e.resource, e.private.credentials())
		home.Devices = byRegistry[home.ID]
		delete(byRegistry, home.ID)
		cfg.Registries = append(cfg.Registries, home)
	}
	for id := range byRegistry {
		return invalid(wrong("devices", "are of registry %q, which the document does not have", id))
	}
	for _, e := range others {
		cfg.Brokers = append(cfg.Brokers, brokerOf(e.resource, e.private.credentials()))
	}
	if _, err := registry.New(cfg); err != nil {
		return status.Errorf(codes.InvalidArgument, "the document: %v", err)
	}
	return nil
}

// entries are those of a document, each checked by itself.
func (k *kind[T]) entries(all snapshot) (entries []*entry[T], err error) {
	names := map[string]bool{}
	for i, n := range all[k.of] {
		e, err := k.fromDocument(n)
		if err != nil {
			return nil, invalid(wrong(fmt.Sprintf("%s[%d]", k.of, i), "%v", err))
		}
		if k.complete != nil {
			if err := k.complete(nil, e); err != nil {
				return nil, err
			}
		}
		name := k.parent(e.resource) + "/" + e.resource.GetName()
		if names[name] {
			return nil, invalid(wrong(fmt.Sprintf("%s[%d].name", k.of, i), "%q is there twice", e.resource.GetName()))
		}
		names[name] = true
		entries = append(entries, e)
	}
	return entries, nil
}

func (k *kind[T]) fromDocument(n yaml.Node) (*entry[T], error) {
	var fields map[string]any
	if err := n.Decode(&fields); err != nil {
		return nil, err
	}
	e := &entry[T]{resource: k.make()}
	private := map[string]any{}
	for _, name := range privateFields {
		if value, ok := fields[name]; ok {
			private[name] = value
			delete(fields, name)
		}
	}
	for _, part := range []struct {
		from map[string]any
		read func([]byte) error
	}{
		{fields, func(text []byte) error { return protojson.Unmarshal(text, e.resource) }},
		{private, func(text []byte) error { return json.Unmarshal(text, &e.private) }},
	} {
		text, err := json.Marshal(part.from)
		if err != nil {
			return nil, err
		}
		if err := part.read(text); err != nil {
			return nil, malformed(err)
		}
	}
	if e.resource.GetId() == "" || e.resource.GetName() == "" {
		return nil, errors.New("needs an id and a name")
	}
	v := validator{}
	v.message("", e.resource.ProtoReflect())
	if len(v.violations) > 0 {
		return nil, invalid(v.violations...)
	}
	return e, nil
}

// privateFields are those of private, by their names in JSON.
var privateFields = []string{"passwords", "certificates", "unsubscribe"}

// plan compares a document with what there is.
func (k *kind[T]) plan(from snapshot) (s step, err error) {
	entries, err := k.entries(from)
	if err != nil {
		return s, err
	}
	gone := map[string]*entry[T]{}
	err = k.state.Read(func(tx *state.Tx) error {
		for one, err := range tx.Walk(k.of, "", "") {
			if err != nil {
				return err
			}
			e, err := k.decode(one)
			if err != nil {
				return err
			}
			gone[one.Key] = e
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	for _, e := range entries {
		key := k.key(e.resource.GetId(), k.parent(e.resource))
		old := gone[key]
		delete(gone, key)
		if old != nil && proto.Equal(old.resource, e.resource) && same(old.private, e.private) {
			continue
		}
		s.add = append(s.add, func(ctx context.Context) error { return k.place(ctx, e) })
	}
	for _, key := range slices.Sorted(maps.Keys(gone)) {
		s.remove = append(s.remove, func(ctx context.Context) error {
			_, err := k.delete(ctx, gone[key].resource.GetId())
			return err
		})
	}
	return s, nil
}

func same(a, b private) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// place makes a resource what it is in a document, whatever there is of it.
func (k *kind[T]) place(ctx context.Context, e *entry[T]) error {
	id := e.resource.GetId()
	defer k.turns.take(id)()
	var old *entry[T]
	if key := k.find(id); key != "" {
		err := k.state.Read(func(tx *state.Tx) (err error) {
			old, err = k.read(tx, key)
			return err
		})
		if err != nil {
			return err
		}
	}
	if old != nil {
		if old.fixed {
			return k.isFixed(id)
		}
		e.version = old.version
	}
	_, err := k.commit(ctx, id, k.parent(e.resource), old, e, e.resource)
	return err
}
