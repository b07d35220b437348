package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/state"
	"github.com/iotcast/iotcast/internal/turns"
)

// resource is one of the types of the original that are kept.
type resource interface {
	proto.Message
	GetId() string
	GetName() string
	GetLabels() map[string]string
}

// entry is a resource with what only this process knows of it.
type entry[T resource] struct {
	resource T
	private  private
	version  uint64
	fixed    bool // it stands in the config file, where alone it can be changed
}

// createdAt is zero for what stands in the config file.
func (e *entry[T]) createdAt() time.Time {
	created, ok := any(e.resource).(interface{ GetCreatedAt() *timestamppb.Timestamp })
	if !ok || created.GetCreatedAt() == nil {
		return time.Time{}
	}
	return created.GetCreatedAt().AsTime()
}

// private is what is never shown.
type private struct {
	Passwords    []password    `json:"passwords,omitempty"`
	Certificates []certificate `json:"certificates,omitempty"`
	Unsubscribe  []string      `json:"unsubscribe,omitempty"` // of a trigger: filters that its session may still have
}

// kind is one kind of resources: how they are kept, and what they are in this process.
type kind[T resource] struct {
	of      state.Kind
	noun    string // in errors
	idField string // of requests and metadata
	field   string // of the config file
	state   *state.Store
	turns   *turns.Turns                   // by ID: one change of a resource at a time
	changes *sync.RWMutex                  // read-locked by each change, locked by an import
	fixed   map[string]*entry[T]           // by key
	make    func() T                       // an empty one
	request proto.Message                  // by which they are created
	key     func(id, parent string) string // in the state
	parent  func(T) string                 // the ID of what it belongs to, within which names are unique
	find    func(id string) (key string)   // of what is there; empty if it cannot be
	taken   func(id string) bool
	apply   func(ctx context.Context, old, now *entry[T]) error // makes it so in the process; old or now may be nil

	// complete fills in what now leaves to its defaults, and tells what is wrong with it. Old may be nil. It may be nil itself.
	complete func(old, now *entry[T]) error

	// endsFirst: what is removed from the process can be brought back, and the removal may fail.
	endsFirst bool
}

// get finds a resource by its ID.
func (k *kind[T]) get(id string) (*entry[T], error) {
	var found *entry[T]
	err := k.state.Read(func(tx *state.Tx) (err error) {
		found, err = k.read(tx, k.find(id))
		return err
	})
	if err == nil && found == nil {
		err = k.missing("%.64q", id)
	}
	return found, err
}

func (k *kind[T]) missing(format, name string) error {
	return status.Errorf(codes.NotFound, "there is no %s "+format, k.noun, name)
}

// named finds a resource by its name.
func (k *kind[T]) named(parent, name string) (*entry[T], error) {
	var found *entry[T]
	err := k.state.Read(func(tx *state.Tx) (err error) {
		found, err = k.read(tx, k.keyOf(tx, parent, name))
		return err
	})
	if err == nil && found == nil {
		err = k.missing("named %.64q", name)
	}
	return found, err
}

// keyOf is the key of the resource with a name, empty if there is none. Those of the config file have their ID for a name.
func (k *kind[T]) keyOf(tx *state.Tx, parent, name string) string {
	if key := k.key(name, parent); k.fixed[key] != nil {
		return key
	}
	return tx.Named(k.of, parent, name)
}

// read is nil if there is none with the key.
func (k *kind[T]) read(tx *state.Tx, key string) (*entry[T], error) {
	if key == "" {
		return nil, nil
	}
	if e := k.fixed[key]; e != nil {
		return e, nil
	}
	r, ok, err := tx.Get(k.of, key)
	if !ok || err != nil {
		return nil, err
	}
	return k.decode(state.Entry{Key: key, Record: r})
}

func (k *kind[T]) decode(r state.Entry) (*entry[T], error) {
	resource, p, err := decoded(r, nil, k.make())
	return &entry[T]{resource: resource, private: p, version: r.Version}, err
}

// decoded is what a record holds, unless there is an error already.
func decoded[T proto.Message](r state.Entry, before error, into T) (_ T, p private, err error) {
	if before != nil {
		return into, p, before
	}
	if err = proto.Unmarshal(r.Resource, into); err == nil && len(r.Private) > 0 {
		err = json.Unmarshal(r.Private, &p)
	}
	if err != nil {
		err = fmt.Errorf("reading %q of the state: %w", r.Key, err)
	}
	return into, p, err
}

func (k *kind[T]) encode(e *entry[T]) (r state.Record, err error) {
	if r.Resource, err = proto.Marshal(e.resource); err != nil {
		return r, err
	}
	r.Private, err = json.Marshal(e.private)
	if bytes.Equal(r.Private, []byte("{}")) {
		r.Private = nil
	}
	return r, err
}

// list is a page of the resources whose keys begin with prefix and which are wanted.
// What wanted reads it must read by tx: one transaction within another may wait for a writer that waits for the first.
func (k *kind[T]) list(prefix string, p page, wanted func(*state.Tx, T) bool) (all []T, next string, err error) {
	entries := map[string]T{}
	err = k.state.Read(func(tx *state.Tx) error {
		for key, e := range k.fixed {
			if strings.HasPrefix(key, prefix) && key > p.after && wanted(tx, e.resource) {
				entries[key] = e.resource
			}
		}
		n := 0
		for one, err := range tx.Walk(k.of, prefix, p.after) {
			if err != nil {
				return err
			}
			e, err := k.decode(one)
			if err != nil {
				return err
			}
			if !wanted(tx, e.resource) {
				continue
			}
			entries[one.Key] = e.resource
			if n++; n > p.size {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	keys, next := cut(p, slices.Sorted(maps.Keys(entries)), func(key string) string { return key })
	for _, key := range keys {
		all = append(all, entries[key])
	}
	return all, next, nil
}

// choose picks the ID of a new resource and takes its turn: the name, which is what people want to read in topics and logs,
// or, where that is taken, the name and something random. The name must be one that an ID may be.
func (k *kind[T]) choose(name string) (id string, end func()) {
	id = name
	for {
		end = k.turn(id)
		if !k.taken(id) && iotcore.ValidateID(k.idField, id) == nil {
			return id, end
		}
		end()
		random := uuid.New()
		id = fmt.Sprintf("%.40s-%x", name, random[:4])
	}
}

// turn waits for the turn of a resource. The caller ends it by the function that it returns.
func (k *kind[T]) turn(id string) (end func()) {
	end, _ = k.turns.Take(context.Background(), id) // which waits as long as it takes
	return end
}

// create makes a resource. The caller has its turn.
func (k *kind[T]) create(ctx context.Context, e *entry[T]) (*operation.Operation, error) {
	id, parent := e.resource.GetId(), k.parent(e.resource)
	return k.commit(ctx, id, parent, nil, e, e.resource)
}

// update changes a resource. With the header if-match, it must still have that version.
func (k *kind[T]) update(
	ctx context.Context, id string, change func(*entry[T]) (response proto.Message, err error),
) (*operation.Operation, error) {
	defer k.turn(id)()
	old, err := k.changeable(ctx, id)
	if err != nil {
		return nil, err
	}
	now := &entry[T]{resource: proto.Clone(old.resource).(T), version: old.version}
	now.private = private{Passwords: slices.Clone(old.private.Passwords), Certificates: slices.Clone(old.private.Certificates)}
	now.private.Unsubscribe = slices.Clone(old.private.Unsubscribe)
	response, err := change(now)
	if err != nil {
		return nil, err
	}
	return k.commit(ctx, id, k.parent(old.resource), old, now, response)
}

// delete removes a resource.
func (k *kind[T]) delete(ctx context.Context, id string) (*operation.Operation, error) {
	defer k.turn(id)()
	old, err := k.changeable(ctx, id)
	if err != nil {
		return nil, err
	}
	return k.commit(ctx, id, k.parent(old.resource), old, nil, nil)
}

// changeable finds what a request is to change.
func (k *kind[T]) changeable(ctx context.Context, id string) (*entry[T], error) {
	e, err := k.get(id)
	switch {
	case err != nil:
		return nil, err
	case e.fixed:
		return nil, k.isFixed(id)
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if want := md.Get("if-match"); len(want) > 0 && strings.Trim(want[0], `"`) != strconv.FormatUint(e.version, 10) && want[0] != "*" {
		return nil, status.Errorf(codes.Aborted, "%s %q has been changed by somebody else since version %s, and is at version %d: read it again", k.noun, id, want[0], e.version)
	}
	return e, nil
}

// isFixed is the error about what cannot be changed here.
func (k *kind[T]) isFixed(id string) error {
	return status.Errorf(codes.FailedPrecondition, "%s %q stands in the config file, in %s: change it there", k.noun, id, k.field)
}

// commit makes a change in the process, which may refuse it, and then on disk. Where the disk refuses, the process goes back.
// To remove, it is the other way round where what is gone cannot be brought back.
func (k *kind[T]) commit(ctx context.Context, id, parent string, old, now *entry[T], response proto.Message) (*operation.Operation, error) {
	k.changes.RLock()
	defer k.changes.RUnlock()
	if err := k.unchanged(id, old); err != nil {
		return nil, err
	}
	ids := callOf(ctx).ids // the audit log is to name what has been made, too
	ids[k.idField] = id
	if e := cmp.Or(now, old); parent != "" && ids["registry_id"] == "" && e != nil {
		ids["registry_id"] = parent
	}
	if now != nil && now.resource.GetName() == "" {
		return nil, invalid(wrong("name", "is missing: give one, it is how the %s is called", k.noun))
	}
	if now != nil && k.complete != nil {
		if err := k.complete(old, now); err != nil {
			return nil, err
		}
	}
	op, err := newOperation(ctx, ids, response)
	if err != nil {
		return nil, err
	}
	key := k.key(id, parent)
	write := func(tx *state.Tx) error { return k.write(tx, key, parent, old, now, op) }
	if now == nil && !k.endsFirst {
		if err := k.state.Write(write); err != nil {
			return nil, err
		}
		return op, k.refused(k.apply(ctx, old, nil))
	}
	if now != nil {
		if err := k.state.Read(func(tx *state.Tx) error { return k.nameIsFree(tx, key, parent, now) }); err != nil {
			return nil, err
		}
	}
	if err := k.apply(ctx, old, now); err != nil {
		return nil, k.refused(err)
	}
	if err := k.state.Write(write); err != nil {
		if undo := k.apply(context.WithoutCancel(ctx), now, old); undo != nil {
			return nil, fmt.Errorf("%w; and what was changed before could not be undone: %w", err, undo)
		}
		return nil, err
	}
	if now == nil {
		return op, nil
	}
	version := uint64(1)
	if old != nil {
		version = old.version + 1
	}
	tag(ctx, version)
	return op, nil
}

// unchanged fails if an import has come before a change that was under way. The caller must hold changes.
func (k *kind[T]) unchanged(id string, old *entry[T]) error {
	now, err := k.get(id)
	switch {
	case status.Code(err) == codes.NotFound && old == nil, err == nil && old != nil && now.version == old.version:
		return nil
	case err != nil && status.Code(err) != codes.NotFound:
		return err
	}
	return status.Errorf(codes.Aborted, "%s %q has been changed by somebody else meanwhile: read it again", k.noun, id)
}

// write is the change on disk. Whatever may refuse it comes before anything is written.
func (k *kind[T]) write(tx *state.Tx, key, parent string, old, now *entry[T], op *operation.Operation) error {
	if now != nil {
		if err := k.nameIsFree(tx, key, parent, now); err != nil {
			return err
		}
		if err := k.parentIsThere(tx, parent); err != nil {
			return err
		}
	} else if err := k.isEmpty(tx, key); err != nil {
		return err
	}
	if old != nil && (now == nil || old.resource.GetName() != now.resource.GetName()) {
		if err := tx.Unname(k.of, parent, old.resource.GetName()); err != nil {
			return err
		}
	}
	if now == nil {
		if err := tx.Delete(k.of, key); err != nil {
			return err
		}
		return keep(tx, op, k.about(old.resource.GetId()))
	}
	r, err := k.encode(now)
	if err != nil {
		return err
	}
	if err := tx.Put(k.of, key, r); err != nil {
		return err
	}
	if err := tx.Name(k.of, parent, now.resource.GetName(), key); err != nil {
		return err
	}
	return keep(tx, op, k.about(now.resource.GetId()))
}

// about is under what operations are kept. A trigger may have the ID of a registry; among each other these, devices and brokers
// have theirs for themselves.
func (k *kind[T]) about(id string) string {
	if k.of == state.Triggers {
		return "trigger " + id
	}
	return id
}

func (k *kind[T]) nameIsFree(tx *state.Tx, key, parent string, now *entry[T]) error {
	if other := k.keyOf(tx, parent, now.resource.GetName()); other != "" && other != key {
		return status.Errorf(codes.AlreadyExists, "name %q is taken by another %s", now.resource.GetName(), k.noun)
	}
	return nil
}

// parentIsThere looks for the registry of a device, which somebody may be removing.
func (k *kind[T]) parentIsThere(tx *state.Tx, parent string) error {
	if k.of != state.Devices {
		return nil
	}
	if _, ok, err := tx.Get(state.Registries, parent); !ok || err != nil {
		return status.Errorf(codes.NotFound, "there is no registry %.64q", parent)
	}
	return nil
}

// isEmpty refuses to remove a registry with devices.
func (k *kind[T]) isEmpty(tx *state.Tx, key string) error {
	if k.of != state.Registries {
		return nil
	}
	for range tx.Walk(state.Devices, key+"/", "") {
		return status.Errorf(codes.FailedPrecondition, "registry %q has devices: delete them first", key)
	}
	return nil
}

// refused says in the words of the API why the process does not take a change.
func (k *kind[T]) refused(err error) error {
	switch {
	case errors.Is(err, registry.ErrTaken):
		return status.Error(codes.AlreadyExists, err.Error())
	case errors.Is(err, registry.ErrInvalid):
		return status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, registry.ErrNotFound):
		return status.Error(codes.NotFound, err.Error())
	}
	return err
}

// tag tells the version of what was read or written, for if-match.
func tag(ctx context.Context, version uint64) {
	_ = grpc.SetHeader(ctx, metadata.Pairs("etag", strconv.Quote(strconv.FormatUint(version, 10))))
}

// now is the time as resources have it.
func now() *timestamppb.Timestamp {
	return timestamppb.New(time.Now().UTC().Truncate(time.Millisecond))
}
