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

	brokers "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/broker/v1"
	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/state"
)

// maxStateBytes of a document. While it is read it takes some fifty times as much memory.
const maxStateBytes = 64 << 20

// importState makes the state what a document says, all or nothing: what can be wrong is found before, the disk gets it in one
// piece, and so does the directory. Meanwhile nothing else is changed.
func (k *keeper) importState(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxStateBytes))
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "reading the document: %v", err)
	}
	k.changes.Lock()
	defer k.changes.Unlock()
	p, err := k.plan(text)
	if err != nil {
		return err
	}
	op, err := newOperation(ctx, callOf(ctx).ids, nil)
	if err != nil {
		return err
	}
	err = k.state.Write(func(tx *state.Tx) error {
		return cmp.Or(k.registries.rewrite(tx, p.registries), k.devices.rewrite(tx, p.devices), k.brokers.rewrite(tx, p.brokers),
			k.triggers.rewrite(tx, p.triggers), keep(tx, op, "state"))
	})
	if err != nil {
		return err
	}
	if err := k.directory.Replace(p.directory); err != nil {
		return err
	}
	for _, c := range p.triggers {
		k.streams.follow(ctx, c)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]int{"resources": len(p.registries) + len(p.devices) + len(p.brokers) + len(p.triggers)})
	return nil
}

// difference is what an import changes of one resource: old is nil of a new one, now of one that goes.
type difference[T resource] struct {
	key      string
	old, now *entry[T]
}

// plan is an import, of which everything is possible.
type plan struct {
	registries []difference[*devices.Registry]
	devices    []difference[*devices.Device]
	brokers    []difference[*brokers.Broker]
	triggers   []difference[*triggers.Trigger]
	directory  registry.Config // as it is to be
}

// plan reads a document and compares it with what there is. The caller must hold changes.
func (k *keeper) plan(text []byte) (p plan, err error) {
	all, err := readSnapshot(text)
	if err != nil {
		return p, err
	}
	homes, err1 := k.registries.entries(all)
	fleet, err2 := k.devices.entries(all)
	others, err3 := k.brokers.entries(all)
	streams, err4 := k.triggers.entries(all)
	if err := cmp.Or(err1, err2, err3, err4); err != nil {
		return p, err
	}
	if p.directory, err = k.directoryOf(homes, fleet, others); err != nil {
		return p, err
	}
	err = k.state.Read(func(tx *state.Tx) error {
		var errs [4]error
		p.registries, errs[0] = k.registries.differences(tx, homes)
		p.devices, errs[1] = k.devices.differences(tx, fleet)
		p.brokers, errs[2] = k.brokers.differences(tx, others)
		p.triggers, errs[3] = k.triggers.differences(tx, streams)
		return cmp.Or(errs[:]...)
	})
	if err == nil && len(p.triggers) > 0 {
		err = k.streams.possible(p.triggers)
	}
	return p, err
}

// readSnapshot reads a document. It must have all kinds, if only as empty lists: what is not there is removed, and a document
// that was cut off, or is none, must not remove everything.
func readSnapshot(text []byte) (all snapshot, err error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&all); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "the document is not the YAML that GET %s gives: %v", pathState, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, status.Error(codes.InvalidArgument, "the document has another one behind it: give one")
	}
	for kind := range all {
		if !slices.Contains(state.Kinds, kind) {
			return nil, invalid(wrong(string(kind), "is nothing that the state has: it has %v", state.Kinds))
		}
	}
	for _, kind := range state.Kinds {
		if _, ok := all[kind]; !ok {
			return nil, invalid(wrong(string(kind), "is missing: what is not in the document is removed, so if there are to be none, write %s: []", kind))
		}
	}
	return all, nil
}

// directoryOf is who takes part by a document, and by the config file, if they can all be.
func (k *keeper) directoryOf(
	homes []*entry[*devices.Registry], fleet []*entry[*devices.Device], others []*entry[*brokers.Broker],
) (registry.Config, error) {
	cfg := k.fixed
	cfg.Registries, cfg.Brokers = slices.Clone(cfg.Registries), slices.Clone(cfg.Brokers)
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
		return cfg, invalid(wrong("devices", "are of registry %q, which the document does not have", id))
	}
	for _, e := range others {
		cfg.Brokers = append(cfg.Brokers, brokerOf(e.resource, e.private.credentials()))
	}
	if _, err := registry.New(cfg); err != nil {
		return cfg, status.Errorf(codes.InvalidArgument, "the document: %v", err)
	}
	return cfg, nil
}

// entries are those of a document, each checked by itself.
func (k *kind[T]) entries(all snapshot) (entries []*entry[T], err error) {
	names, keys := map[string]bool{}, map[string]bool{}
	for i, n := range all[k.of] {
		at := fmt.Sprintf("%s[%d]", k.of, i)
		e, err := k.fromDocument(n)
		if err == nil && k.complete != nil {
			err = k.complete(nil, e)
		}
		if err != nil {
			return nil, invalid(wrong(at, "%s", status.Convert(err).Message()))
		}
		parent := k.parent(e.resource)
		name, key := k.key(e.resource.GetName(), parent), k.key(e.resource.GetId(), parent)
		switch {
		case keys[key]:
			return nil, invalid(wrong(at+".id", "%q is there twice", e.resource.GetId()))
		case names[name] || k.fixed[name] != nil:
			return nil, invalid(wrong(at+".name", "%q is taken by another %s", e.resource.GetName(), k.noun))
		}
		names[name], keys[key] = true, true
		entries = append(entries, e)
	}
	return entries, nil
}

// privateFields are those of private, by their names in JSON.
var privateFields = []string{"passwords", "certificates", "unsubscribe"}

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
		{private, func(text []byte) error { return strictly(text, &e.private) }},
	} {
		text, err := json.Marshal(part.from)
		if err != nil {
			return nil, err
		}
		if err := part.read(text); err != nil {
			return nil, fmt.Errorf("cannot be read: %s", plainText(err))
		}
	}
	if e.resource.GetId() == "" || e.resource.GetName() == "" {
		return nil, errors.New("needs an id and a name")
	}
	request := proto.Clone(k.request) // which says more of what can be than the resource does
	for i := range request.ProtoReflect().Descriptor().Fields().Len() {
		name := request.ProtoReflect().Descriptor().Fields().Get(i).Name()
		if e.resource.ProtoReflect().Descriptor().Fields().ByName(name) == nil {
			continue
		}
		if err := merge(nil, e.resource, request, string(name)); err != nil {
			return nil, err
		}
	}
	v := validator{}
	v.message("", request.ProtoReflect())
	if len(v.violations) > 0 {
		return nil, invalid(v.violations...)
	}
	return e, e.private.settle()
}

func strictly(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// settle gives what somebody has written by hand the IDs and fingerprints that it lacks, and tells what is wrong with it.
func (p *private) settle() error {
	for i := range p.Passwords {
		p.Passwords[i].ID = cmp.Or(p.Passwords[i].ID, newID())
	}
	for i := range p.Certificates {
		c := &p.Certificates[i]
		c.Fingerprint = plain(c.Fingerprint)
		if c.Data == "" {
			continue
		}
		fingerprint, err := fingerprintOf(c.Data)
		switch {
		case err != nil:
			return fmt.Errorf("certificates[%d].data %w", i, err)
		case c.Fingerprint != "" && c.Fingerprint != fingerprint:
			return fmt.Errorf("certificates[%d].fingerprint is not that of its data, which is %s", i, fingerprint)
		}
		c.Fingerprint = fingerprint
	}
	return nil
}

// differences compares a document with what there is.
func (k *kind[T]) differences(tx *state.Tx, entries []*entry[T]) (all []difference[T], err error) {
	there := map[string]*entry[T]{}
	for one, err := range tx.Walk(k.of, "", "") {
		if err != nil {
			return nil, err
		}
		if there[one.Key], err = k.decode(one); err != nil {
			return nil, err
		}
	}
	for _, e := range entries {
		key := k.key(e.resource.GetId(), k.parent(e.resource))
		old := there[key]
		delete(there, key)
		if old != nil && proto.Equal(old.resource, e.resource) && same(old.private, e.private) {
			continue
		}
		if old != nil && k.complete != nil {
			if err := k.complete(old, e); err != nil {
				return nil, err
			}
		}
		all = append(all, difference[T]{key, old, e})
	}
	for _, key := range slices.Sorted(maps.Keys(there)) {
		all = append(all, difference[T]{key, there[key], nil})
	}
	return all, nil
}

func same(a, b private) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// rewrite makes the changes on disk. All names are free before the first is taken.
func (k *kind[T]) rewrite(tx *state.Tx, all []difference[T]) error {
	for _, c := range all {
		if c.old == nil {
			continue
		}
		if err := tx.Unname(k.of, k.parent(c.old.resource), c.old.resource.GetName()); err != nil {
			return err
		}
		if c.now == nil {
			if err := tx.Delete(k.of, c.key); err != nil {
				return err
			}
		}
	}
	for _, c := range all {
		if c.now == nil {
			continue
		}
		r, err := k.encode(c.now)
		if err != nil {
			return err
		}
		if err := cmp.Or(tx.Put(k.of, c.key, r), tx.Name(k.of, k.parent(c.now.resource), c.now.resource.GetName(), c.key)); err != nil {
			return err
		}
	}
	return nil
}
