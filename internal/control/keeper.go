package control

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	brokers "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/broker/v1"
	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/protobuf/proto"

	"github.com/iotcast/iotcast/internal/overview"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/state"
	"github.com/iotcast/iotcast/internal/turns"
)

// keeper keeps registries, devices and brokers: in the state, and in the directory by which the MQTT broker goes. It keeps
// triggers in the state, and as streams.
type keeper struct {
	state      *state.Store
	directory  *registry.Directory
	broker     Broker
	fixed      registry.Config // what stands in the config file
	registries *kind[*devices.Registry]
	devices    *kind[*devices.Device]
	brokers    *kind[*brokers.Broker]
	triggers   *kind[*triggers.Trigger]
	streams    *triggerStreams
	changes    sync.RWMutex       // see kind
	overview   *overview.Overview // nil: there is no console
}

// Resources that stand in the config file have this label.
const (
	labelManagedBy = "managed-by"
	byConfigFile   = "config-file"
)

func fixedLabels() map[string]string { return map[string]string{labelManagedBy: byConfigFile} }

func newKeeper(cfg Config, log *slog.Logger) *keeper {
	k := &keeper{state: cfg.State, directory: cfg.Directory, broker: cfg.Broker, fixed: cfg.Fixed}
	all := new(turns.Turns)
	taken := func(id string) bool { _, ok := cfg.Directory.Principal(id); return ok }
	plain := func(id, _ string) string { return id }
	self := func(id string) string { return id }
	k.registries = &kind[*devices.Registry]{
		of: state.Registries, noun: "registry", idField: "registry_id", field: "iot_registries",
		state: cfg.State, turns: all, changes: &k.changes, fixed: map[string]*entry[*devices.Registry]{},
		make: func() *devices.Registry { return new(devices.Registry) }, request: new(devices.CreateRegistryRequest),
		key: plain, find: self, taken: taken,
		parent: func(*devices.Registry) string { return "" },
		apply: applied(cfg.Directory, func(r *devices.Registry, c registry.Credentials) error {
			return cfg.Directory.PutRegistry(registryOf(r, c))
		}),
	}
	k.devices = &kind[*devices.Device]{
		of: state.Devices, noun: "device", idField: "device_id", field: "iot_registries",
		state: cfg.State, turns: all, changes: &k.changes, fixed: map[string]*entry[*devices.Device]{},
		make: func() *devices.Device { return new(devices.Device) }, request: new(devices.CreateDeviceRequest),
		key: func(id, registryID string) string { return registryID + "/" + id },
		find: func(id string) string {
			p, ok := cfg.Directory.Principal(id)
			if !ok || p.Role != registry.DeviceRole {
				return ""
			}
			return p.Registry + "/" + id
		},
		taken:  taken,
		parent: (*devices.Device).GetRegistryId,
		apply: applied(cfg.Directory, func(d *devices.Device, c registry.Credentials) error {
			return cfg.Directory.PutDevice(d.RegistryId, deviceOf(d, c))
		}),
	}
	k.brokers = &kind[*brokers.Broker]{
		of: state.Brokers, noun: "broker", idField: "broker_id", field: "iot_brokers",
		state: cfg.State, turns: all, changes: &k.changes, fixed: map[string]*entry[*brokers.Broker]{},
		make: func() *brokers.Broker { return new(brokers.Broker) }, request: new(brokers.CreateBrokerRequest),
		key: plain, find: self, taken: taken,
		parent: func(*brokers.Broker) string { return "" },
		apply: applied(cfg.Directory, func(b *brokers.Broker, c registry.Credentials) error {
			return cfg.Directory.PutBroker(brokerOf(b, c))
		}),
	}
	k.streams = newTriggerStreams(cfg, log)
	k.triggers = &kind[*triggers.Trigger]{
		of: state.Triggers, noun: "trigger", idField: "trigger_id",
		state: cfg.State, turns: new(turns.Turns), changes: &k.changes, endsFirst: true, // turns of their own: one may take seconds
		make: func() *triggers.Trigger { return new(triggers.Trigger) }, request: new(triggers.CreateTriggerRequest),
		key: plain, find: self, taken: k.streams.taken,
		parent: func(*triggers.Trigger) string { return "" },
		apply:  k.streams.apply, complete: completeTrigger,
	}
	k.streams.kind = k.triggers
	k.fix(cfg.Fixed)
	return k
}

// applied is a kind's apply: the directory knows the resource as it is now, or does not know it.
func applied[T resource](d *registry.Directory, put func(T, registry.Credentials) error) func(context.Context, *entry[T], *entry[T]) error {
	return func(_ context.Context, old, now *entry[T]) error {
		if now == nil {
			d.Remove(old.resource.GetId())
			return nil
		}
		return put(now.resource, now.private.credentials())
	}
}

// fix shows what stands in the config file.
func (k *keeper) fix(cfg registry.Config) {
	for _, r := range cfg.Registries {
		status := devices.Registry_ACTIVE
		if r.Disabled {
			status = devices.Registry_DISABLED
		}
		k.registries.fixed[r.ID] = &entry[*devices.Registry]{
			fixed: true, private: fixedPrivate(r.Credentials),
			resource: &devices.Registry{Id: r.ID, Name: r.ID, Labels: fixedLabels(), Status: status},
		}
		for _, d := range r.Devices {
			k.devices.fixed[r.ID+"/"+d.ID] = &entry[*devices.Device]{
				fixed: true, private: fixedPrivate(d.Credentials),
				resource: &devices.Device{
					Id: d.ID, RegistryId: r.ID, Name: d.ID, Labels: fixedLabels(),
					Status: devices.Device_ACTIVE, TopicAliases: maps.Clone(d.Aliases),
				},
			}
		}
	}
	for _, b := range cfg.Brokers {
		k.brokers.fixed[b.ID] = &entry[*brokers.Broker]{
			fixed: true, private: fixedPrivate(b.Credentials),
			resource: &brokers.Broker{Id: b.ID, Name: b.ID, Labels: fixedLabels(), Status: brokers.Broker_ACTIVE},
		}
	}
}

// Restored is a config with what the state has beside what stands in the config file.
func Restored(s *state.Store, cfg registry.Config) (registry.Config, error) {
	cfg.Registries, cfg.Brokers = slices.Clone(cfg.Registries), slices.Clone(cfg.Brokers)
	err := s.Read(func(tx *state.Tx) error {
		fleets := map[string][]registry.Device{}
		for one, err := range tx.Walk(state.Devices, "", "") {
			d, p, err := decoded(one, err, new(devices.Device))
			if err != nil {
				return err
			}
			fleets[d.RegistryId] = append(fleets[d.RegistryId], deviceOf(d, p.credentials()))
		}
		for one, err := range tx.Walk(state.Registries, "", "") {
			r, p, err := decoded(one, err, new(devices.Registry))
			if err != nil {
				return err
			}
			home := registryOf(r, p.credentials())
			home.Devices = fleets[r.Id]
			cfg.Registries = append(cfg.Registries, home)
		}
		for one, err := range tx.Walk(state.Brokers, "", "") {
			b, p, err := decoded(one, err, new(brokers.Broker))
			if err != nil {
				return err
			}
			cfg.Brokers = append(cfg.Brokers, brokerOf(b, p.credentials()))
		}
		return nil
	})
	return cfg, err
}

func registryOf(r *devices.Registry, c registry.Credentials) registry.Registry {
	return registry.Registry{ID: r.Id, Credentials: c, Disabled: r.Status == devices.Registry_DISABLED}
}

func deviceOf(d *devices.Device, c registry.Credentials) registry.Device {
	return registry.Device{ID: d.Id, Aliases: d.TopicAliases, Credentials: c}
}

func brokerOf(b *brokers.Broker, c registry.Credentials) registry.Broker {
	return registry.Broker{ID: b.Id, Credentials: c}
}

// clone is a copy that may be changed.
func clone[T proto.Message](m T) T { return proto.Clone(m).(T) }
