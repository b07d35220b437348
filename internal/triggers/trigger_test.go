package triggers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/triggers"
)

func valid() triggers.Trigger {
	return triggers.Trigger{
		Name: "my-trigger", Status: triggers.Active,
		Rule: triggers.Rule{
			Source: iotcore.Device, RegistryID: "r", BatchSize: 1, BatchCutoff: time.Second, Gateway: "main", Path: "/telemetry",
		},
	}
}

func flagOf(f triggers.Field) string { return "--" + string(f) }

func TestValidateAccepts(t *testing.T) {
	for name, change := range map[string]func(*triggers.Trigger){
		"least":           func(*triggers.Trigger) {},
		"shortest name":   func(t *triggers.Trigger) { t.Name = "a-1" },
		"longest name":    func(t *triggers.Trigger) { t.Name = "a" + strings.Repeat("-", 61) + "z" },
		"description":     func(t *triggers.Trigger) { t.Description = strings.Repeat("ä", 256) },
		"labels":          func(t *triggers.Trigger) { t.Labels = map[string]string{`a-_./\@9`: "", "b": strings.Repeat("1", 63)} },
		"largest batch":   func(t *triggers.Trigger) { t.Rule.BatchSize, t.Rule.BatchCutoff = 1000, time.Minute },
		"no cutoff":       func(t *triggers.Trigger) { t.Rule.BatchCutoff = 0 },
		"device":          func(t *triggers.Trigger) { t.Rule.DeviceID = "d" },
		"alias topic":     func(t *triggers.Trigger) { t.Rule.Topic = "my/alias/#" },
		"original's ID":   func(t *triggers.Trigger) { t.ID = "a1s5msktijh2xaty6mqo" },
		"service account": func(t *triggers.Trigger) { t.Rule.ServiceAccountID = "sa" },
		"broker": func(t *triggers.Trigger) {
			t.Rule.Source, t.Rule.RegistryID, t.Rule.BrokerID, t.Rule.Topic = iotcore.Broker, "", "b", "factory/+"
		},
	} {
		tt := valid()
		change(&tt)
		if err := tt.Validate(flagOf); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestValidateRefuses: each error names the field as the user knows it.
func TestValidateRefuses(t *testing.T) {
	tooMany := map[string]string{}
	for i := range 65 {
		tooMany[fmt.Sprintf("a%d", i)] = ""
	}
	for name, tt := range map[string]struct {
		change func(*triggers.Trigger)
		want   string
	}{
		"no name":          {func(t *triggers.Trigger) { t.Name = "" }, "--name is missing"},
		"short name":       {func(t *triggers.Trigger) { t.Name = "ab" }, `--name "ab" must have`},
		"long name":        {func(t *triggers.Trigger) { t.Name = strings.Repeat("a", 64) }, "--name"},
		"upper case":       {func(t *triggers.Trigger) { t.Name = "Trigger" }, "--name"},
		"hyphen at end":    {func(t *triggers.Trigger) { t.Name = "trigger-" }, "--name"},
		"digit first":      {func(t *triggers.Trigger) { t.Name = "1trigger" }, "--name"},
		"line break":       {func(t *triggers.Trigger) { t.Name = "trigger\n" }, "--name"},
		"path as ID":       {func(t *triggers.Trigger) { t.ID = "../x" }, `--id "../x"`},
		"time":             {func(t *triggers.Trigger) { t.CreatedAt = "yesterday" }, `--created_at "yesterday"`},
		"status":           {func(t *triggers.Trigger) { t.Status = "ASLEEP" }, "must be ACTIVE or PAUSED"},
		"description":      {func(t *triggers.Trigger) { t.Description = strings.Repeat("ä", 257) }, "--description has 257 characters"},
		"many labels":      {func(t *triggers.Trigger) { t.Labels = tooMany }, "--labels are 65"},
		"label key":        {func(t *triggers.Trigger) { t.Labels = map[string]string{"A": "b"} }, `--labels key "A"`},
		"long label key":   {func(t *triggers.Trigger) { t.Labels = map[string]string{strings.Repeat("a", 64): "b"} }, "--labels key"},
		"label value":      {func(t *triggers.Trigger) { t.Labels = map[string]string{"a": "B"} }, `--labels value "B" of "a"`},
		"no registry":      {func(t *triggers.Trigger) { t.Rule.RegistryID = "" }, "--registry_id is missing: give the ID of the registry"},
		"registry":         {func(t *triggers.Trigger) { t.Rule.RegistryID = "a/b" }, `--registry_id "a/b"`},
		"device":           {func(t *triggers.Trigger) { t.Rule.DeviceID = "a#" }, `--device_id "a#"`},
		"no broker":        {func(t *triggers.Trigger) { t.Rule.Source = iotcore.Broker }, "--broker_id is missing: give the ID of the broker"},
		"topic":            {func(t *triggers.Trigger) { t.Rule.Topic = "a/#/b" }, `--mqtt_topic: topic filter "a/#/b"`},
		"monitoring topic": {func(t *triggers.Trigger) { t.Rule.Topic = "$monitoring/d/json" }, "--mqtt_topic"},
		"no batch":         {func(t *triggers.Trigger) { t.Rule.BatchSize = 0 }, "--batch_settings.size 0 must be 1 to 1000"},
		"large batch":      {func(t *triggers.Trigger) { t.Rule.BatchSize = 1001 }, "--batch_settings.size 1001"},
		"negative cutoff":  {func(t *triggers.Trigger) { t.Rule.BatchCutoff = -1 }, "--batch_settings.cutoff"},
		"long cutoff":      {func(t *triggers.Trigger) { t.Rule.BatchCutoff = 61 * time.Second }, "--batch_settings.cutoff 61s must be 0s to 60s"},
		"no gateway":       {func(t *triggers.Trigger) { t.Rule.Gateway = "" }, "gateway_id is missing"},
		"no path":          {func(t *triggers.Trigger) { t.Rule.Path = "" }, "path is missing"},
		"path":             {func(t *triggers.Trigger) { t.Rule.Path = "telemetry" }, `path "telemetry" must begin with /`},
		"environment":      {func(t *triggers.Trigger) { t.Description = "${HOME}" }, `--description "${HOME}" holds ${`},
	} {
		bad := valid()
		tt.change(&bad)
		if err := bad.Validate(flagOf); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
}

// TestValidateTellsAll: nobody wants to mend one error at a time.
func TestValidateTellsAll(t *testing.T) {
	err := triggers.Trigger{Rule: triggers.Rule{Source: iotcore.Broker}}.Validate(flagOf)
	if n := strings.Count(fmt.Sprint(err), "\n") + 1; n != 6 {
		t.Errorf("%d errors: %v", n, err)
	}
}

func TestFieldPath(t *testing.T) {
	for f, want := range map[triggers.Field]string{
		triggers.FieldName: "name", triggers.FieldBrokerID: "rule.iot_broker_message.broker_id",
		triggers.FieldBatchSize: "rule.iot_broker_message.batch_settings.size",
	} {
		if got := f.Path(iotcore.Broker); got != want {
			t.Errorf("%s: %s, want %s", f, got, want)
		}
	}
	if got := triggers.FieldTopic.Path(iotcore.Device); got != "rule.iot_message.mqtt_topic" {
		t.Error(got)
	}
}
