package tests

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/iotcast/iotcast/tests/internal/publisher"
)

const (
	eventsTopic = "$devices/boiler/events"
	stateTopic  = "$devices/boiler/state"
)

// A trigger from its creation to its end, over gRPC and REST.
func TestManagedTrigger(t *testing.T) {
	t.Parallel()
	m := runManaged(t)
	made := m.post("/triggers/v1/triggers", telemetry("$devices/+/events", "/telemetry"))
	if made["id"] != "telemetry" || made["status"] != "ACTIVE" {
		t.Fatalf("created %v", made)
	}
	c := connectGo(t, m.url("/telemetry"))
	m.pub(eventsTopic, "first")
	got, _ := c.waitEntries(1)
	if e := got[0]; string(e.payload) != "first" || e.registry != "home" || e.device != "boiler" || e.topic != eventsTopic {
		t.Errorf("received %+v", e)
	}
	if config := m.must(http.MethodGet, "/streams/telemetry", ""); !strings.Contains(config, `"password":"!!!SECRET_SCRUBBED!!!"`) || !strings.Contains(config, `"user":"home"`) {
		t.Errorf("the stream is shown as %s", config)
	}

	// With another topic, the old one is no longer listened to, although the broker keeps the session.
	broadcast := &triggers.GatewayWebsocketBroadcast{GatewayId: "main", Path: "/telemetry"}
	rule := &triggers.Trigger_Rule{Rule: &triggers.Trigger_Rule_IotMessage{IotMessage: &triggers.Trigger_IoTMessage{
		RegistryId: "home", MqttTopic: "$devices/+/state",
		Action: &triggers.Trigger_IoTMessage_GatewayWebsocketBroadcast{GatewayWebsocketBroadcast: broadcast},
	}}}
	mask := &fieldmaskpb.FieldMask{Paths: []string{"rule"}}
	update := &triggers.UpdateTriggerRequest{TriggerId: "telemetry", UpdateMask: mask, Rule: rule}
	if _, err := m.triggers.Update(t.Context(), update); err != nil {
		t.Fatal(err)
	}
	rule.GetIotMessage().GetGatewayWebsocketBroadcast().Path = "/nowhere"
	_, err := m.triggers.Update(t.Context(), &triggers.UpdateTriggerRequest{TriggerId: "telemetry", UpdateMask: mask, Rule: rule})
	mustName(t, fmt.Sprint(err), "InvalidArgument", `"/nowhere"`, `"/telemetry"`)
	m.pub(eventsTopic, "of the old topic")
	m.pub(stateTopic, "of the new topic")

	// Paused, it sends nothing; what was sent meanwhile comes when it is resumed, also after a restart.
	got, _ = c.waitEntries(2)
	if paused := m.post("/triggers/v1/triggers/telemetry:pause", "{}"); paused["status"] != "PAUSED" || len(m.streams()) > 0 {
		t.Errorf("paused %v, streams %v", paused, m.streams())
	}
	m.pub(stateTopic, "while paused")
	m.terminate()
	m.relaunch()
	m.waitReady()
	if len(m.streams()) > 0 {
		t.Errorf("streams %v of a paused trigger after a restart", m.streams())
	}
	again := connectGo(t, m.url("/telemetry"))
	if _, err := m.triggers.Resume(t.Context(), &triggers.ResumeTriggerRequest{TriggerId: "telemetry"}); err != nil {
		t.Fatal(err)
	}
	m.pub(stateTopic, "resumed")
	more, _ := again.waitEntries(2)
	if p := payloadsOf(append(got, more...)); !slices.Equal(p, []string{"first", "of the new topic", "while paused", "resumed"}) {
		t.Errorf("received %q", p)
	}

	// An active one runs after a restart.
	m.terminate()
	m.relaunch()
	m.waitReady()
	again = connectGo(t, m.url("/telemetry"))
	m.pub(stateTopic, "running")
	if got, _ := again.waitEntries(1); string(got[0].payload) != "running" {
		t.Errorf("received %q", payloadsOf(got))
	}

	// Deleted, it leaves no stream and no session.
	m.change(http.MethodDelete, "/triggers/v1/triggers/telemetry", "")
	if status, answer := m.rest(http.MethodGet, "/triggers/v1/triggers/telemetry", ""); status != http.StatusNotFound || len(m.streams()) > 0 {
		t.Errorf("after it was deleted: %d %s, streams %v", status, answer, m.streams())
	}
	m.pub(stateTopic, "for nobody")
	m.pub(eventsTopic, "for nobody")
	m.post("/triggers/v1/triggers", telemetry("$devices/+/events", "/telemetry"))
	m.pub(eventsTopic, "new")
	if got, _ := again.waitEntries(2); !slices.Equal(payloadsOf(got), []string{"running", "new"}) {
		t.Errorf("received %q", payloadsOf(got))
	}
	if status, answer := m.rest(http.MethodGet, "/triggers/v1/triggers?filter=name%3D%22telemetry%22", ""); status != http.StatusOK || !strings.Contains(answer, `"id":"telemetry"`) {
		t.Errorf("listed %d %s", status, answer)
	}
}

// Whenever the process is killed, a trigger is there as a whole, or not at all; one whose creation was answered is there.
func TestManagedTriggerKilled(t *testing.T) {
	t.Parallel()
	m := runManaged(t)
	made := map[string]bool{}
	for round := range 3 {
		answered := make(chan string, 1000)
		go func() {
			defer close(answered)
			for i := 0; ; i++ {
				name := fmt.Sprintf("trigger-%d-%d", round, i)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				broadcast := &triggers.GatewayWebsocketBroadcast{GatewayId: "main", Path: "/alarms"}
				rule := &triggers.Trigger_Rule{Rule: &triggers.Trigger_Rule_IotMessage{IotMessage: &triggers.Trigger_IoTMessage{
					RegistryId: "home",
					Action:     &triggers.Trigger_IoTMessage_GatewayWebsocketBroadcast{GatewayWebsocketBroadcast: broadcast},
				}}}
				_, err := m.triggers.Create(ctx, &triggers.CreateTriggerRequest{Name: name, Rule: rule})
				cancel()
				if err != nil {
					return
				}
				answered <- name
			}
		}()
		for range 3 {
			made[<-answered] = true
		}
		m.kill()
		for name := range answered {
			made[name] = true
		}
		m.relaunch()
		m.waitReady()
		var names []string
		eventually(t, "the list is there", func() bool { // after a kill, the client dials again
			all, err := m.triggers.List(t.Context(), &triggers.ListTriggersRequest{PageSize: 1000})
			if err != nil {
				return false
			}
			for _, one := range all.Triggers {
				names = append(names, one.Id)
				settings := one.Rule.GetIotMessage().GetBatchSettings()
				if one.Name != one.Id || settings.GetSize() != 1 || one.Status != triggers.Trigger_ACTIVE {
					t.Errorf("after a kill there is %v", one)
				}
			}
			return true
		})
		if streams := m.streams(); !slices.Equal(streams, names) {
			t.Errorf("triggers %v, streams %v", names, streams)
		}
		for name := range made {
			if !slices.Contains(names, name) {
				t.Errorf("%s was made, and is gone", name)
			}
		}
	}
}

// Messages flow while the trigger is changed, again and again, also to what is refused: all that the broker has accepted arrive,
// in order.
func TestManagedTriggerUpdateLosesNothing(t *testing.T) {
	t.Parallel()
	const (
		messages = 6000
		updates  = 6
	)
	b := startMosquitto(t, "max_inflight_messages 100")
	m := newManaged(t)
	template := filepath.Join(t.TempDir(), "trigger.yaml")
	if err := os.WriteFile(template, []byte(`
input: { iot_mqtt: { urls: [ '${TRIGGER_MQTT_URL}' ], clean_session: false } }
pipeline: { processors: [ { iot_trigger: {} } ] }
output: { websocket_broadcast: {} }
`), 0o600); err != nil {
		t.Fatal(err)
	}
	m.env = append(os.Environ(), "TRIGGER_MQTT_URL="+b.url())
	m.launch("streams", "-o", writeFile(t, m.root(fmt.Sprintf("trigger_template: %q", template))))
	m.waitReady()
	rule := func(size int, path string) string {
		return fmt.Sprintf(`{"name": "press", "updateMask": "rule", "rule": {"iotBrokerMessage": {"brokerId": "factory", "mqttTopic": "hall/press", "batchSettings": {"size": "%d", "cutoff": "0s"}, "gatewayWebsocketBroadcast": {"gatewayId": "main", "path": %q}}}}`, size, path)
	}
	m.post("/triggers/v1/triggers", strings.Replace(rule(20, "/telemetry"), `"updateMask": "rule", `, "", 1))
	clients := []*client{connectGo(t, m.url("/telemetry")), connectGo(t, m.url("/telemetry"))}

	p := &publisher.Publisher{Addr: b.addr, Topics: []string{"hall/press"}, Count: messages, Window: 100}
	done := startPublisher(t, p, 120*time.Second)
	for i := range updates {
		mark := messages * (i + 1) / (updates + 1)
		eventuallyWithin(t, time.Minute, strconv.Itoa(mark)+" messages are accepted", func() bool { return p.Accepted() >= mark })
		m.change(http.MethodPatch, "/triggers/v1/triggers/press", rule(10+i, "/telemetry"))
		if status, answer := m.rest(http.MethodPatch, "/triggers/v1/triggers/press", rule(10+i, "/nowhere")); status != http.StatusBadRequest || !strings.Contains(answer, "/nowhere") {
			t.Errorf("%d %s", status, answer)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.publish(1, message{topic: "hall/press", payload: strconv.AppendInt(nil, messages, 10)})
	got := clients[0].numbersUntil(messages)
	arrived := firsts(got)
	if len(arrived) != messages+1 || !slices.IsSorted(arrived) {
		t.Errorf("%d of %d messages arrived, in order: %v", len(arrived), messages+1, slices.IsSorted(arrived))
	}
	t.Logf("%d messages, %d updates: %d came twice", messages, updates, len(got)-len(arrived))
	checkSame(t, clients)
	// Neither a check nor a refusal has connected with the trigger's client ID.
	if n := m.connects(); n != updates+1 {
		t.Errorf("iotcast has connected to its broker %d times, want %d", n, updates+1)
	}
	for _, c := range clients {
		c.mustBeOpen()
	}
	m.change(http.MethodDelete, "/triggers/v1/triggers/press", "")
	if b.sessionPresent("iotcast-press") {
		t.Error("the broker still has the session of a trigger that was deleted")
	}
}

// A trigger whose route is gone after a restart keeps nothing else from running, and can be deleted.
func TestManagedTriggerWithoutRoute(t *testing.T) {
	t.Parallel()
	m := runManaged(t)
	m.post("/triggers/v1/triggers", telemetry("$devices/+/events", "/alarms"))
	m.terminate()
	m.launch("streams", "-o", writeFile(t, strings.Replace(m.root(), "{ path: /alarms }", "{ path: /other }", 1)))
	m.waitReady()
	m.waitLog("The trigger cannot be started")
	if status, answer := m.rest(http.MethodGet, "/triggers/v1/triggers/telemetry", ""); status != http.StatusOK || !strings.Contains(answer, `"status":"ACTIVE"`) {
		t.Errorf("%d %s", status, answer)
	}
	m.change(http.MethodPatch, "/triggers/v1/triggers/telemetry", strings.Replace(telemetry("$devices/+/events", "/telemetry"), `"name": "telemetry"`, `"updateMask": "rule"`, 1))
	c := connectGo(t, m.url("/telemetry"))
	m.pub(eventsTopic, "back")
	c.waitEntries(1)
	m.change(http.MethodDelete, "/triggers/v1/triggers/telemetry", "")
}

// Without streams there are no triggers, and a template that cannot become one is found out at the start.
func TestManagedTriggerNeedsStreams(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	m.launch("run", writeFile(t, m.root()+"input: { generate: { mapping: 'root = 1', interval: 1h } }\noutput: { drop: {} }\n"))
	m.waitLog("Launching")
	m.waitReady()
	if status, answer := m.rest(http.MethodPost, "/triggers/v1/triggers", telemetry("", "/telemetry")); status != http.StatusBadRequest || !strings.Contains(answer, "iotcast streams") {
		t.Errorf("%d %s", status, answer)
	}
	m.terminate()
	for template, want := range map[string]string{
		"input: { iot_mqtt: {} }\noutput: { drop: {} }":                                  "its output has 0 websocket_broadcast",
		"input: { iot_mqtt: { qosh: 1 } }\noutput: { websocket_broadcast: { wait: 1 } }": "qosh",
	} {
		m.launch("streams", "-o", writeFile(t, m.root(fmt.Sprintf("trigger_template: %q", writeFile(t, template)))))
		if code := m.exitCode(patience); code != 1 {
			t.Errorf("exit code %d", code)
		}
		mustName(t, m.out.String(), "management_api.trigger_template", want)
	}
}
