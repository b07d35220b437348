package iotmqtt

import (
	"errors"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/mqttclient"
)

const (
	fieldShareGroup     = "share_group"
	fieldPartition      = "partition"
	fieldPartitionIndex = "index"
	fieldPartitionCount = "count"
)

// sharingFields are how several processes divide the messages of a source.
func sharingFields() []*service.ConfigField {
	return []*service.ConfigField{
		service.NewStringField(fieldShareGroup).
			Description("The group of processes with which this one shares the messages: the broker gives each message to one of them (the shared subscription `$share/<share_group>/<topic>` of MQTT 5, which many brokers offer to MQTT 3.1.1 as well). RabbitMQ, NATS and aedes accept a group and then deliver nothing, and so does Mosquitto for `$devices/…`: use `partition` there. No broker keeps the order of a device's messages across the group, and a message can wait for a member that is down. What is tried of which: [which broker](../which-broker.md).").
			Default("").
			Example("triggers").
			LintRule(`root = if this.re_match("[/+#]") { [ "` + errShareGroup + `" ] }`).
			Advanced(),
		service.NewObjectField(fieldPartition,
			service.NewIntField(fieldPartitionIndex).
				Description("Which of the parts this process takes, counted from 0. Each process needs a `client_id` of its own.").
				Default(0).
				Example(1),
			service.NewIntField(fieldPartitionCount).
				Description("How many parts there are. To change it, stop all the processes first, or else some messages come twice and some not at all.").
				Default(1).
				Example(2),
		).
			Description("Takes a part of the messages, where several processes divide them and the broker cannot: each receives all of them, and acknowledges and leaves out those of the others. All messages of a device belong to the same part, and so do all of a topic that names no device, so their order is kept.").
			LintRule(`root = if this.count.or(1).type() == "number" && this.index.or(0).type() == "number" && (this.count.or(1) < 1 || this.index.or(0) < 0 || this.index.or(0) >= this.count.or(1)) { [ "` + errPartition + `" ] }`).
			Advanced(),
	}
}

const (
	errShareGroup = "share_group must not hold any of / + #"
	errPartition  = "partition.index must be at least 0 and less than partition.count, which must be at least 1"
	errShared     = "share_group and a topic that begins with $share/ are both set: keep one of them"
	errBothShares = "share_group (or a topic that begins with $share/) and partition.count are both set: a message would be lost whenever the broker gave it to a process that leaves it out; keep one of them"
)

// sharedLet is, for lint rules, whether a topic is that of a shared subscription.
const sharedLet = `let shared = this.topics.or([]).type() == "array" && this.topics.or([]).any(t -> t.string().has_prefix("$share/"))`

// sharing is how the messages are divided.
type sharing struct {
	group        string
	index, count int
}

func parseSharing(conf *service.ParsedConfig) (s sharing, err error) {
	if s.group, err = conf.FieldString(fieldShareGroup); err != nil {
		return s, err
	}
	if s.index, err = conf.FieldInt(fieldPartition, fieldPartitionIndex); err != nil {
		return s, err
	}
	s.count, err = conf.FieldInt(fieldPartition, fieldPartitionCount)
	return s, err
}

const sharePrefix = "$share/"

// apply checks the fields, and returns the filters to subscribe to.
func (s sharing) apply(filters []string) ([]string, error) {
	shared := slices.ContainsFunc(filters, func(f string) bool { return strings.HasPrefix(f, sharePrefix) })
	switch {
	case strings.ContainsAny(s.group, "/+#"):
		return nil, errors.New(errShareGroup)
	case s.count < 1 || s.index < 0 || s.index >= s.count:
		return nil, errors.New(errPartition)
	case s.group != "" && shared:
		return nil, errors.New(errShared)
	case s.count > 1 && (s.group != "" || shared):
		return nil, errors.New(errBothShares)
	case s.group == "":
		return filters, nil
	}
	all := make([]string, len(filters))
	for i, f := range filters {
		all[i] = sharePrefix + s.group + "/" + f
	}
	return all, nil
}

// both are filters as they are, and as those of the group.
func (s sharing) both(filters []string) []string {
	if s.group == "" {
		return filters
	}
	for _, f := range slices.Clone(filters) {
		filters = append(filters, sharePrefix+s.group+"/"+f)
	}
	return filters
}

// doubtful are shared filters. Some brokers grant such a subscription and deliver
// nothing, and MQTT has no way to ask.
func doubtful(filters []string) (all []string) {
	for _, f := range filters {
		if strings.HasPrefix(f, sharePrefix) {
			all = append(all, f)
		}
	}
	return all
}

// takes reports whether a message belongs to the part of this process.
func (s sharing) takes(m *mqttclient.Message) bool {
	if s.count <= 1 {
		return true
	}
	key := m.Topic
	if t := iotcore.ParseTopic(m.Topic); t.Kind == iotcore.DeviceTopic {
		key = t.ID
	}
	// FNV-1a: the parts must stay the same for ever, on every machine.
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	return h.Sum64()%uint64(s.count) == uint64(s.index)
}
