package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/protobuf/proto"

	"github.com/iotcast/iotcast/internal/triggerfile"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../internal/triggerfile/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// decoded are the triggers of a file, which has those to skip.
func decoded(t *testing.T, text []byte, skipped ...string) (all []proto.Message) {
	t.Helper()
	var warnings []string
	found, _, err := triggerfile.Decode(text, func(trigger string, err error) {
		warnings = append(warnings, trigger+" is skipped: "+err.Error())
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range found {
		all = append(all, one)
	}
	if len(warnings) != len(skipped) {
		t.Fatalf("warnings %q, want %d", warnings, len(skipped))
	}
	for i, text := range skipped {
		if !strings.Contains(warnings[i], text) {
			t.Errorf("warning %q does not name %s", warnings[i], text)
		}
	}
	return all
}

// What the original prints is read in each of its forms, and printed as it prints it.
func TestTriggerForms(t *testing.T) {
	device := decoded(t, read(t, "device.yaml"))
	broker := decoded(t, read(t, "broker.json"), "nightly is skipped: rule.timer", "invoke_function")
	all := slices.Concat(device, broker)
	for name, print := range map[string]func(*bytes.Buffer) error{
		"list.yaml":                     func(b *bytes.Buffer) error { return yamlFormat.writeList(b, nil, all) },
		"list.json":                     func(b *bytes.Buffer) error { return restFormat.writeList(b, nil, all) },
		"list.txt":                      func(b *bytes.Buffer) error { return textFormat.writeList(b, triggerKind.columns, all) },
		"printed_iot-trigger.yaml":      func(b *bytes.Buffer) error { return textFormat.write(b, device[0]) },
		"printed_iot-trigger.json":      func(b *bytes.Buffer) error { return jsonFormat.write(b, device[0]) },
		"printed_iot-trigger.rest.json": func(b *bytes.Buffer) error { return restFormat.write(b, device[0]) },
	} {
		var b bytes.Buffer
		if err := print(&b); err != nil {
			t.Fatal(err)
		}
		if want := read(t, name); !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s differs; got:\n%s", name, &b)
		}
		if name == "list.txt" {
			continue
		}
		if again := decoded(t, b.Bytes()); len(again) == 0 || !proto.Equal(again[0], all[0]) {
			t.Errorf("%s: read again %v, want %v", name, again, all[0])
		}
	}
}

// Whoever may change a trigger writes its topic, and an administrator lists it.
func TestTableOfAnybody(t *testing.T) {
	var b bytes.Buffer
	one := &triggers.Trigger{Id: "telemetry", Name: "telemetry", Rule: &triggers.Trigger_Rule{Rule: &triggers.Trigger_Rule_IotMessage{
		IotMessage: &triggers.Trigger_IoTMessage{RegistryId: "home", MqttTopic: "t/\x1b[2J\n\u009b\u202e", Action: &triggers.Trigger_IoTMessage_GatewayWebsocketBroadcast{
			GatewayWebsocketBroadcast: &triggers.GatewayWebsocketBroadcast{GatewayId: "main", Path: "/t"},
		}},
	}}}
	if err := textFormat.writeList(&b, triggerKind.columns, []proto.Message{one}); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.ContainsAny(text, "\x1b\u009b\u202e") || strings.Count(text, "\n") != 2 || !strings.Contains(text, `t/\x1b[2J\n\u009b\u202e`) {
		t.Errorf("%q", text)
	}
}
