package triggers_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/triggers"
)

var rewrite = flag.Bool("update", false, "write the golden files anew")

// device and broker are what the files of the original service in testdata say.
var (
	device = triggers.Trigger{
		ID: "a1s5msktijh2xaty6mqo", FolderID: "b1gmit33hgh2eon8zlcq", CreatedAt: "2022-10-24T15:19:15.353909857Z",
		Name: "iot-trigger", Description: `All that "device 7" says`, Labels: map[string]string{"env": "lab", "site": "hall/7"},
		Rule: triggers.Rule{
			Source: iotcore.Device, RegistryID: "arenou2oj4h2u7d1k3qz", DeviceID: "areqjd6un3h2hw8x0fpe", Topic: "$devices/areqjd6un3h2hw8x0fpe/events",
			BatchSize: 10, BatchCutoff: 2500 * time.Millisecond,
			Gateway: "d4eofc7n0mh2k5r9vtjb", Path: "/telemetry", ServiceAccountID: "aje3932acdh2o8wq1zns",
		},
		Status: triggers.Paused,
	}
	broker = triggers.Trigger{
		ID: "a1sfe084v4h2c6yt9pkd", FolderID: "b1g88tflruh2n3xw7qom", CreatedAt: "2023-08-04T08:45:31.131391Z",
		Name: "hall-alarms", Description: "🔔 of the halls", Labels: map[string]string{"kind_of": "alarm"},
		Rule:   triggers.Rule{Source: iotcore.Broker, BrokerID: "are1ab2c3d4e5f6g7h8i", BatchSize: 1, Gateway: "main", Path: "/alarms"},
		Status: triggers.Active,
	}
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// golden compares text with a file, or writes it.
func golden(t *testing.T, name string, text []byte) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(filepath.Join("testdata", name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, name); !bytes.Equal(text, want) {
		t.Errorf("%s differs; got:\n%s", name, text)
	}
}

func TestDecodeYAMLOfTheCommandLine(t *testing.T) {
	all, skipped, err := triggers.Decode(read(t, "device.yaml"))
	if err != nil || len(skipped) > 0 {
		t.Fatal(err, skipped)
	}
	if want := []triggers.Trigger{device}; !reflect.DeepEqual(all, want) {
		t.Errorf("got %+v\nwant %+v", all, want)
	}
}

// TestDecodeListOfTheRESTAPI: tabs and surrogate pairs are JSON, and not YAML.
func TestDecodeListOfTheRESTAPI(t *testing.T) {
	all, skipped, err := triggers.Decode(read(t, "broker.json"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []triggers.Trigger{broker}; !reflect.DeepEqual(all, want) {
		t.Errorf("got %+v\nwant %+v", all, want)
	}
	if len(skipped) != 2 || skipped[0].Trigger != "nightly" || !strings.Contains(skipped[0].Reason, "rule.timer") ||
		skipped[1].Trigger != "calls" || !strings.Contains(skipped[1].Reason, "invoke_function") {
		t.Errorf("skipped %+v", skipped)
	}
}

// TestFormats: what is printed is read again as the same trigger, and is, byte
// for byte, what testdata says.
func TestFormats(t *testing.T) {
	for _, tt := range []triggers.Trigger{device, broker} {
		for _, f := range triggers.Formats {
			var b bytes.Buffer
			if err := triggers.Write(&b, f, tt); err != nil {
				t.Fatal(err)
			}
			all, _, err := triggers.Decode(b.Bytes())
			if err != nil || !reflect.DeepEqual(all, []triggers.Trigger{tt}) {
				t.Errorf("%s: read %+v again: %v", f, all, err)
			}
			extension := map[triggers.Format]string{triggers.JSON: "json", triggers.JSONREST: "rest.json"}[f]
			if extension == "" {
				extension = "yaml"
			}
			golden(t, "printed_"+tt.Name+"."+extension, b.Bytes())
		}
	}
}

func TestListFormats(t *testing.T) {
	for f, name := range map[triggers.Format]string{triggers.Text: "list.txt", triggers.YAML: "list.yaml", triggers.JSONREST: "list.json"} {
		var b, empty bytes.Buffer
		if err := triggers.WriteList(&b, f, []triggers.Trigger{device, broker}); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
		if err := triggers.WriteList(&empty, f, nil); err != nil {
			t.Fatal(err)
		}
		if f != triggers.Text && empty.String() != "[]\n" {
			t.Errorf("an empty list as %s: %q", f, empty.String())
		}
	}
}

// TestDefaults: a trigger that says only what it must has the original's
// defaults, and numbers may be numbers.
func TestDefaults(t *testing.T) {
	const action = "gateway_websocket_broadcast: { gateway_id: main, path: /x }"
	all, _, err := triggers.Decode([]byte("{ name: abc, rule: { iot_message: { registry_id: r, " + action + " } } }"))
	if err != nil || all[0].Rule.BatchSize != 1 || all[0].Rule.BatchCutoff != time.Second || all[0].Status != triggers.Active {
		t.Errorf("%+v %v", all, err)
	}
	all, _, err = triggers.Decode([]byte("{ name: abc, rule: { iot_message: { batchSettings: { size: 7, cutoff: 1m }, " + action + " } } }"))
	if err != nil || all[0].Rule.BatchSize != 7 || all[0].Rule.BatchCutoff != time.Minute {
		t.Errorf("%+v %v", all, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "empty",
		"[":                                  "did not find",
		"just text":                          "must be an object",
		"name: abc":                          "rule is missing",
		"{ name: abc, rule: {} }":            "rule must hold one of",
		"{ name: abc, rule: text }":          "rule must hold one of",
		"{ name: abc, rule: { timer: {} } }": "rule.timer is not what iotcast listens to",
		"{ name: abc, rule: { iotMessage: { registryId: r } } }":         "gateway_websocket_broadcast is missing",
		"{ name: abc, rule: { iot_message: { invoke_container: {} } } }": "rule.iot_message.invoke_container is not what iotcast does",
		"name: abc\nnmae: x":                                   "nmae is not a field of a trigger that iotcast knows: remove it (line 2)",
		"{ name: abc, name: abc }":                             "name is there twice",
		"{ createdAt: '2020-01-01T00:00:00Z', created_at: x }": "created_at is there twice",
		"{ name: [] }":                                         "name must be a string",
		"{ labels: [] }":                                       "labels must be an object",
		"{ labels: { a: {} } }":                                "labels.a must be a string",
		"{ rule: { iot_message: { batch_settings: { size: many } } } }":                          `rule.iot_message.batch_settings.size "many" must be a whole number`,
		"{ rule: { iot_message: { batch_settings: { cutoff: 10 } } } }":                          `rule.iot_message.batch_settings.cutoff "10" must be a duration`,
		"{ rule: { iot_message: { gateway_websocket_broadcast: { gateway_id: a, paht: b } } } }": "rule.iot_message.gateway_websocket_broadcast.paht is not a field",
		"[ { name: abc, rule: {} } ]":                                                            "trigger abc: rule must hold one of",
		"[ 1 ]":                                                                                  "trigger number 1: a trigger must be an object",
	} {
		_, _, err := triggers.Decode([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"device.yaml", "broker.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, _, err := triggers.Decode(text)
		if err != nil || len(all) != 1 || all[0].Validate(func(f triggers.Field) string { return string(f) }) != nil {
			return
		}
		// What is valid is the same trigger after it has been printed, and after it
		// has been stored.
		for _, format := range triggers.Formats {
			var b bytes.Buffer
			if err := triggers.Write(&b, format, all[0]); err != nil {
				t.Fatal(err)
			}
			again, _, err := triggers.Decode(b.Bytes())
			if err != nil || !reflect.DeepEqual(again, all) {
				t.Fatalf("%+v became %+v: %v:\n%s", all, again, err, &b)
			}
		}
	})
}
