// Package triggers holds the triggers that `iotcast trigger` manages: the
// resource in the forms of the original service, the Benthos stream that it
// becomes, and the streams directory that keeps it. It knows of the running
// process only what [Streams] says.
package triggers

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// Trigger is the resource.
type Trigger struct {
	ID          string // also that of its stream, and the name of its file
	FolderID    string // kept for those who have one; without a meaning here
	CreatedAt   string // RFC 3339
	Name        string
	Description string
	Labels      map[string]string
	Rule        Rule
	Status      Status
}

// Rule is what a trigger listens to, and where it sends.
type Rule struct {
	Source           iotcore.Source
	RegistryID       string // of a device source
	DeviceID         string // of a device source; empty: all devices of the registry
	BrokerID         string // of a broker source
	Topic            string // empty: all topics
	BatchSize        int64
	BatchCutoff      time.Duration
	Gateway          string // a label of the websocket_gateways
	Path             string
	ServiceAccountID string // empty: none
}

// Status says whether a trigger is to run.
type Status string

const (
	Active Status = "ACTIVE"
	Paused Status = "PAUSED"
)

const (
	DefaultBatchSize   = 1
	DefaultBatchCutoff = time.Second

	maxBatchSize   = 1000
	maxBatchCutoff = 60 * time.Second
	maxDescription = 256
	maxLabels      = 64
)

// Field is a field of a trigger, by its path in the YAML form.
type Field string

const (
	FieldID             Field = "id"
	FieldFolderID       Field = "folder_id"
	FieldCreatedAt      Field = "created_at"
	FieldName           Field = "name"
	FieldDescription    Field = "description"
	FieldLabels         Field = "labels"
	FieldStatus         Field = "status"
	FieldRegistryID     Field = "registry_id"
	FieldDeviceID       Field = "device_id"
	FieldBrokerID       Field = "broker_id"
	FieldTopic          Field = "mqtt_topic"
	FieldBatchSize      Field = "batch_settings.size"
	FieldBatchCutoff    Field = "batch_settings.cutoff"
	FieldGateway        Field = "gateway_websocket_broadcast.gateway_id"
	FieldPath           Field = "gateway_websocket_broadcast.path"
	FieldServiceAccount Field = "gateway_websocket_broadcast.service_account_id"
)

// Path is the field's full path in the YAML of a trigger on source.
func (f Field) Path(source iotcore.Source) string {
	switch f {
	case FieldID, FieldFolderID, FieldCreatedAt, FieldName, FieldDescription, FieldLabels, FieldStatus:
		return string(f)
	}
	if source == iotcore.Broker {
		return "rule.iot_broker_message." + string(f)
	}
	return "rule.iot_message." + string(f)
}

var (
	nameForm       = regexp.MustCompile(`^[a-z][-a-z0-9]{1,61}[a-z0-9]$`)
	idForm         = regexp.MustCompile(`^[A-Za-z0-9][-_A-Za-z0-9]{0,62}$`)
	labelKeyForm   = regexp.MustCompile(`^[a-z][-_./\\@0-9a-z]{0,62}$`)
	labelValueForm = regexp.MustCompile(`^[-_./\\@0-9a-z]{0,63}$`)
)

// Validate returns all that is wrong with the trigger. It calls a field what
// called says: the user knows it as a flag, or as a field of a file.
func (t Trigger) Validate(called func(Field) string) error {
	v := validator{called: called}
	switch {
	case t.Name == "":
		v.add(FieldName, "is missing: give 3 to 63 characters, such as my-trigger")
	case !nameForm.MatchString(t.Name):
		v.add(FieldName, "%q must have 3 to 63 lower-case letters, digits and hyphens, begin with a letter and not end with a hyphen", t.Name)
	}
	if t.ID != "" && !idForm.MatchString(t.ID) {
		v.add(FieldID, "%q must have up to 63 letters, digits, hyphens and underscores: it is the name of a file and of a stream", t.ID)
	}
	if n := utf8.RuneCountInString(t.Description); n > maxDescription {
		v.add(FieldDescription, "has %d characters: give at most %d", n, maxDescription)
	}
	if _, err := time.Parse(time.RFC3339Nano, t.CreatedAt); t.CreatedAt != "" && err != nil {
		v.add(FieldCreatedAt, "%q must be a time such as 2025-01-31T12:00:00Z", t.CreatedAt)
	}
	if t.Status != Active && t.Status != Paused {
		v.add(FieldStatus, "%q must be %s or %s", string(t.Status), Active, Paused)
	}
	v.labels(t.Labels)
	v.rule(t.Rule)
	for field, text := range map[Field]string{
		FieldFolderID: t.FolderID, FieldDescription: t.Description, FieldTopic: t.Rule.Topic,
		FieldGateway: t.Rule.Gateway, FieldPath: t.Rule.Path, FieldServiceAccount: t.Rule.ServiceAccountID,
	} {
		if strings.Contains(text, "${") {
			v.add(field, "%q holds ${, which Benthos takes for an environment variable: remove it", text)
		}
	}
	slices.SortFunc(v.problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(v.problems...)
}

type validator struct {
	called   func(Field) string
	problems []error
}

func (v *validator) add(field Field, format string, args ...any) {
	v.problems = append(v.problems, fmt.Errorf(v.called(field)+" "+format, args...))
}

func (v *validator) labels(labels map[string]string) {
	if len(labels) > maxLabels {
		v.add(FieldLabels, "are %d: give at most %d", len(labels), maxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if !labelKeyForm.MatchString(key) {
			v.add(FieldLabels, `key %q must begin with a lower-case letter and have up to 63 of a-z 0-9 - _ . / \ @`, key)
		}
		if value := labels[key]; !labelValueForm.MatchString(value) {
			v.add(FieldLabels, `value %q of %q must have up to 63 of a-z 0-9 - _ . / \ @`, value, key)
		}
	}
}

func (v *validator) rule(r Rule) {
	required, optional := FieldRegistryID, FieldDeviceID
	ids := map[Field]string{FieldRegistryID: r.RegistryID, FieldDeviceID: r.DeviceID}
	if r.Source == iotcore.Broker {
		required, optional = FieldBrokerID, ""
		ids = map[Field]string{FieldBrokerID: r.BrokerID}
	}
	for field, id := range ids {
		if id == "" && field == optional {
			continue
		}
		if id == "" && field == required {
			v.add(field, "is missing: give the ID of the %s", strings.TrimSuffix(string(field), "_id"))
			continue
		}
		if err := iotcore.ValidateID(v.called(field), id); err != nil {
			v.problems = append(v.problems, err)
		}
	}
	if r.Topic != "" {
		if err := iotcore.ValidateFilter(r.Source, r.Topic); err != nil {
			v.problems = append(v.problems, fmt.Errorf("%s: %w", v.called(FieldTopic), err))
		}
	}
	if r.BatchSize < 1 || r.BatchSize > maxBatchSize {
		v.add(FieldBatchSize, "%d must be 1 to %d", r.BatchSize, maxBatchSize)
	}
	if r.BatchCutoff < 0 || r.BatchCutoff > maxBatchCutoff {
		v.add(FieldBatchCutoff, "%v must be 0s to %v", formatDuration(r.BatchCutoff), formatDuration(maxBatchCutoff))
	}
	if r.Gateway == "" {
		v.add(FieldGateway, "is missing: give the label of one of the websocket_gateways")
	}
	switch {
	case r.Path == "":
		v.add(FieldPath, "is missing: give the path of one of the gateway's routes, such as /telemetry")
	case !strings.HasPrefix(r.Path, "/"):
		v.add(FieldPath, "%q must begin with /", r.Path)
	}
}
