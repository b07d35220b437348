package iottrigger

import (
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
)

// field is one of the interpolated fields. Left empty it is read straight from metadata, which costs a map look-up where an
// interpolation costs several allocations a message.
type field struct {
	name    string
	dynamic *service.InterpolatedString // nil unless it differs by message
	static  string                      // the value otherwise; empty for the metadata
}

// fieldIndex numbers the interpolated fields.
type fieldIndex int

const (
	registryID fieldIndex = iota
	deviceID
	brokerID
	topic
	eventID
	eventType
	createdAt
	fieldCount
)

var fieldNames = [fieldCount]string{
	registryID: fieldRegistryID,
	deviceID:   fieldDeviceID,
	brokerID:   fieldBrokerID,
	topic:      fieldTopic,
	eventID:    fieldEventID,
	eventType:  fieldEventType,
	createdAt:  fieldCreatedAt,
}

func parseField(conf *service.ParsedConfig, name string) (field, error) {
	expr, err := conf.FieldInterpolatedString(name)
	if err != nil {
		return field{}, err
	}
	if static, ok := expr.Static(); ok {
		return field{name: name, static: static}, nil
	}
	return field{name: name, dynamic: expr}, nil
}

// values reads the messages of one batch.
type values struct {
	*processor
	batch   service.MessageBatch
	dynamic [fieldCount]*service.MessageBatchInterpolationExecutor // nil unless the field is dynamic
}

func (p *processor) values(batch service.MessageBatch) values {
	v := values{processor: p, batch: batch}
	for i, f := range p.fields {
		if f.dynamic != nil {
			v.dynamic[i] = batch.InterpolationExecutor(f.dynamic)
		}
	}
	return v
}

// read fills in m from the message at an index of the batch, and returns the format to write it in. Fields that the format
// does not carry are not resolved, so they cannot fail either.
func (v *values) read(index int, m *envelope.Message) (envelope.Format, error) {
	var err error
	if m.Topic, err = v.text(topic, index, metakey.Topic); err != nil {
		return 0, err
	}
	format, err := v.format(index, m)
	if err != nil {
		return 0, err
	}
	if format == envelope.BrokerFormat {
		// In auto mode the broker ID may be known by now.
		if m.BrokerID == "" {
			m.BrokerID, err = v.text(brokerID, index, metakey.BrokerID)
		}
	} else {
		err = v.readDevice(index, m)
	}
	if err == nil {
		err = checkIDs(m)
	}
	if err != nil {
		return 0, err
	}
	if m.EventType, err = v.override(eventType, index); err != nil {
		return 0, err
	}
	if m.CreatedAt, err = v.createdAt(index); err != nil {
		return 0, err
	}
	if m.EventID, err = v.eventID(index); err != nil {
		return 0, err
	}
	if m.Payload, err = v.batch[index].AsBytes(); v.json {
		m.PayloadAs = envelope.JSONOrOther(m.Payload)
	}
	return format, err
}

// format decides on the format of a message; on the way it may fill in the broker ID.
func (v *values) format(index int, m *envelope.Message) (envelope.Format, error) {
	source, origin := v.source, fieldSource
	if source == sourceAuto {
		source, _ = v.batch[index].MetaGet(metakey.Source)
		origin = "metadata " + metakey.Source
	}
	switch source {
	case sourceDevice:
		return envelope.DeviceFormat, nil
	case sourceBroker:
		return envelope.BrokerFormat, nil
	case "":
		var err error
		if m.BrokerID, err = v.text(brokerID, index, metakey.BrokerID); err != nil || m.BrokerID == "" {
			return envelope.DeviceFormat, err
		}
		return envelope.BrokerFormat, nil
	default:
		return 0, fmt.Errorf("%s is %q: it must be %s or %s", origin, source, sourceDevice, sourceBroker)
	}
}

// checkIDs refuses what clients that know the formats have no room for. The topic may hold it, which anyone can publish to.
func checkIDs(m *envelope.Message) error {
	for _, of := range [...]struct{ name, id string }{
		{fieldRegistryID, m.RegistryID}, {fieldDeviceID, m.DeviceID}, {fieldBrokerID, m.BrokerID},
	} {
		if err := iotcore.ValidateIDLength(of.name, of.id); err != nil {
			return err
		}
	}
	return nil
}

func (v *values) readDevice(index int, m *envelope.Message) (err error) {
	if m.RegistryID, err = v.text(registryID, index, metakey.RegistryID); err != nil {
		return err
	}
	if m.DeviceID, err = v.override(deviceID, index); err != nil || v.isSet(deviceID) {
		return err
	}
	// An input that knows the sender says so, "" included; else the topic may tell.
	var known bool
	if m.DeviceID, known = v.batch[index].MetaGet(metakey.DeviceID); !known {
		m.DeviceID = iotcore.DeviceID(m.Topic)
	}
	return nil
}

func (v *values) eventID(index int) (string, error) {
	id, err := v.override(eventID, index)
	if err != nil || id != "" {
		return id, err
	}
	msg := v.batch[index]
	if id, _ = msg.MetaGet(metakey.EventID); id == "" {
		id = v.eventIDs.Next()
		// Whoever meets the message again, a dead letter queue for one, finds it under the same ID.
		msg.MetaSetMut(metakey.EventID, id)
	}
	return id, nil
}

func (v *values) createdAt(index int) (time.Time, error) {
	if v.isSet(createdAt) {
		text, err := v.override(createdAt, index)
		if err != nil {
			return time.Time{}, err
		}
		return parseTime(fieldCreatedAt, text)
	}
	switch at, _ := v.batch[index].MetaGetMut(metakey.ReceivedAt); at := at.(type) {
	case nil:
		return time.Now(), nil
	case time.Time:
		return at, nil
	case string:
		return parseTime("metadata "+metakey.ReceivedAt, at)
	default:
		return time.Time{}, fmt.Errorf("metadata %s is a %T: it must be a time or a string in RFC 3339", metakey.ReceivedAt, at)
	}
}

func parseTime(origin, text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s is %q: it must be a time in RFC 3339, such as 2019-09-25T15:51:17.872320525Z", origin, text)
	}
	return at, nil
}

// text resolves a field, or reads the metadata that it defaults to.
func (v *values) text(f fieldIndex, index int, meta string) (string, error) {
	if v.isSet(f) {
		return v.override(f, index)
	}
	text, _ := v.batch[index].MetaGet(meta)
	return text, nil
}

// isSet reports whether the user gave the field a value.
func (v *values) isSet(f fieldIndex) bool { return v.dynamic[f] != nil || v.fields[f].static != "" }

// override resolves a field, to nothing if the user left it empty.
func (v *values) override(f fieldIndex, index int) (string, error) {
	if v.dynamic[f] == nil {
		return v.fields[f].static, nil
	}
	text, err := v.dynamic[f].TryString(index)
	if err != nil {
		return "", fmt.Errorf("resolving %s: %w", v.fields[f].name, err)
	}
	return text, nil
}
