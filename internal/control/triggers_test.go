package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/streamsapi"
)

// fakeStreams are those of a process that refuses configs which contain "refused".
type fakeStreams struct {
	mu      sync.Mutex
	running map[string]string
	calls   []string
	before  func(call string) // is called before each change
	down    bool              // streams mode is not there yet
	silent  bool              // no stream connects
}

func newFakeStreams() *fakeStreams { return &fakeStreams{running: map[string]string{}} }

func (f *fakeStreams) do(call, id string, config []byte, change func() error) error {
	if f.before != nil {
		f.before(call + " " + id)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call+" "+id)
	if strings.Contains(string(config), "refused") {
		return &streamsapi.LintError{Lints: []string{"(3,1) refused"}}
	}
	return change()
}

func (f *fakeStreams) Create(_ context.Context, id string, config []byte) error {
	return f.do("create", id, config, func() error {
		if _, ok := f.running[id]; ok {
			return fmt.Errorf("%w: %q", streamsapi.ErrExists, id)
		}
		f.running[id] = string(config)
		return nil
	})
}

func (f *fakeStreams) Update(_ context.Context, id string, config []byte) error {
	return f.do("update", id, config, func() error {
		delete(f.running, id)
		if strings.Contains(string(config), "later") { // what no check finds out
			return &streamsapi.RefusedError{}
		}
		f.running[id] = string(config)
		return nil
	})
}

func (f *fakeStreams) Check(_ context.Context, config []byte) error {
	return f.do("check", "", config, func() error { return nil })
}

func (f *fakeStreams) Delete(_ context.Context, id string) error {
	return f.do("delete", id, nil, func() error {
		delete(f.running, id)
		return nil
	})
}

func (f *fakeStreams) Running(context.Context) (map[string]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, streamsapi.ErrNoStreams
	}
	all := map[string]bool{}
	for id := range f.running {
		all[id] = true
	}
	return all, nil
}

func (f *fakeStreams) Disconnected(context.Context, string) (string, error) { return "", nil }

func (f *fakeStreams) Connected(ctx context.Context, _ string) error {
	f.mu.Lock()
	silent := f.silent
	f.mu.Unlock()
	if !silent {
		return nil
	}
	<-ctx.Done()
	return errors.New("connection refused")
}

func (f *fakeStreams) config(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running[id]
}

func (f *fakeStreams) ids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.running))
}

// change lets a test change what is there.
func (f *fakeStreams) change(c func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c()
}

// made are the changes since the last call.
func (f *fakeStreams) made() (calls []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls, f.calls = f.calls, nil
	return calls
}

// office is a desk with triggers.
type office struct {
	*desk
	*fakeStreams
}

func newOffice(t *testing.T, change ...func(*Config)) *office {
	t.Helper()
	o := &office{fakeStreams: newFakeStreams()}
	o.desk = newDesk(t, append([]func(*Config){func(c *Config) {
		c.Streams, c.BrokerURL, c.retry = o.fakeStreams, "tcp://127.0.0.1:1883", 5*time.Millisecond
		c.Fixed = registry.Config{Registries: []registry.Registry{{ID: "home"}}, Brokers: []registry.Broker{{ID: "factory"}, {ID: "b"}}}
	}}, change...)...)
	o.await()
	return o
}

func (o *office) await() {
	o.t.Helper()
	eventually(o.t, "the triggers are started", func() bool { return o.server.Ready() == nil })
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func (o *office) service() triggers.TriggerServiceClient {
	return triggers.NewTriggerServiceClient(o.conn)
}

func deviceRule(registry, topic, path string) *triggers.Trigger_Rule {
	return &triggers.Trigger_Rule{Rule: &triggers.Trigger_Rule_IotMessage{IotMessage: &triggers.Trigger_IoTMessage{
		RegistryId: registry, MqttTopic: topic,
		Action: &triggers.Trigger_IoTMessage_GatewayWebsocketBroadcast{
			GatewayWebsocketBroadcast: &triggers.GatewayWebsocketBroadcast{GatewayId: "main", Path: path},
		},
	}}}
}

func brokerRule(broker string) *triggers.Trigger_Rule {
	return &triggers.Trigger_Rule{Rule: &triggers.Trigger_Rule_IotBrokerMessage{IotBrokerMessage: &triggers.Trigger_IoTBrokerMessage{
		BrokerId: broker,
		Action: &triggers.Trigger_IoTBrokerMessage_GatewayWebsocketBroadcast{
			GatewayWebsocketBroadcast: &triggers.GatewayWebsocketBroadcast{GatewayId: "main", Path: "/alarms"},
		},
	}}}
}

const events = "$devices/+/events"

func (o *office) trigger(name string) *triggers.Trigger {
	o.t.Helper()
	return must(o.t, new(triggers.Trigger))(o.service().Create(o.t.Context(), &triggers.CreateTriggerRequest{
		Name: name, FolderId: "b1g", Rule: deviceRule("home", events, "/telemetry"),
	}))
}

func (o *office) setRule(id string, rule *triggers.Trigger_Rule) error {
	_, err := o.service().Update(o.t.Context(), &triggers.UpdateTriggerRequest{
		TriggerId: id, Rule: rule, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"rule"}},
	})
	return err
}

func (o *office) names(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, one := range all {
		if !strings.Contains(text, one) {
			t.Errorf("no %q in:\n%s", one, text)
		}
	}
}

func TestTriggersRunAsStreams(t *testing.T) {
	o := newOffice(t)
	ctx, s := t.Context(), o.service()
	made := o.trigger("telemetry")
	if b := made.Rule.GetIotMessage().BatchSettings; made.Id != "telemetry" || made.Status != triggers.Trigger_ACTIVE || made.FolderId != "b1g" || b.Size != 1 || b.Cutoff.AsDuration() != time.Second {
		t.Fatalf("created %v", made)
	}
	o.names(t, o.config("telemetry"), "registry_id: home", events, "client_id: iotcast-telemetry", "tcp://127.0.0.1:1883", "user: home", o.cfg.Directory.ProcessPassword(), "path: /telemetry")
	got, err := s.Get(ctx, &triggers.GetTriggerRequest{TriggerId: "telemetry"})
	if err != nil || !proto.Equal(got, made) {
		t.Errorf("got %v (%v)", got, err)
	}

	// What is no matter of the stream leaves it alone.
	o.made()
	must(t, new(triggers.Trigger))(s.Update(ctx, &triggers.UpdateTriggerRequest{
		TriggerId: "telemetry", Name: "states", Description: "all of them", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"name", "description"}},
	}))
	if calls := o.made(); len(calls) > 0 {
		t.Errorf("another name made %v", calls)
	}
	if err := o.setRule("telemetry", deviceRule("home", "$devices/+/state", "/telemetry")); err != nil {
		t.Fatal(err)
	}
	o.names(t, o.config("telemetry"), "- $devices/+/state", "unsubscribe:\n      - "+events)

	pause := &triggers.PauseTriggerRequest{TriggerId: "telemetry"}
	for range 2 {
		if paused := must(t, new(triggers.Trigger))(s.Pause(ctx, pause)); paused.Status != triggers.Trigger_PAUSED || len(o.ids()) > 0 {
			t.Errorf("paused %v, streams %v", paused, o.ids())
		}
	}
	// Paused, it can be changed, and the change is looked at.
	wants(t, o.setRule("telemetry", deviceRule("home", events, "/refused")), codes.InvalidArgument, "rule", "refused")
	o.restart()
	o.await()
	if len(o.ids()) > 0 {
		t.Errorf("streams %v of a paused trigger after a restart", o.ids())
	}
	s = o.service()
	for range 2 {
		if resumed := must(t, new(triggers.Trigger))(s.Resume(ctx, &triggers.ResumeTriggerRequest{TriggerId: "telemetry"})); resumed.Status != triggers.Trigger_ACTIVE || resumed.Name != "states" {
			t.Errorf("resumed %v", resumed)
		}
	}
	o.names(t, o.config("telemetry"), "unsubscribe:\n      - "+events, o.cfg.Directory.ProcessPassword()) // which is another one now

	o.made()
	must(t, new(emptypb.Empty))(s.Delete(ctx, &triggers.DeleteTriggerRequest{TriggerId: "telemetry"}))
	if calls := o.made(); !slices.Equal(calls, []string{"delete telemetry", "create iotcast_farewell_telemetry", "delete iotcast_farewell_telemetry"}) {
		t.Errorf("deleting made %v", calls)
	}
	_, err = s.Get(ctx, &triggers.GetTriggerRequest{TriggerId: "telemetry"})
	wants(t, err, codes.NotFound, "telemetry")
	_, err = s.Delete(ctx, &triggers.DeleteTriggerRequest{TriggerId: "telemetry"})
	wants(t, err, codes.NotFound, "telemetry")
	all, err := s.ListOperations(ctx, &triggers.ListTriggerOperationsRequest{TriggerId: "telemetry"})
	if err != nil || len(all.Operations) != 8 || all.Operations[0].Description != "Delete trigger" {
		t.Errorf("operations %v (%v)", all, err)
	}
}

// TestTriggersAfterARestart: each runs again that is active.
func TestTriggersAfterARestart(t *testing.T) {
	o := newOffice(t)
	o.trigger("one")
	o.trigger("two")
	must(t, new(triggers.Trigger))(o.service().Pause(t.Context(), &triggers.PauseTriggerRequest{TriggerId: "two"}))
	o.stop()
	o.change(func() { o.running = map[string]string{}; o.down = true })
	o.start()
	_, err := o.service().List(t.Context(), &triggers.ListTriggersRequest{})
	wants(t, err, codes.Unavailable, "try again")
	if o.server.Ready() == nil {
		t.Error("ready before streams mode is there")
	}
	o.change(func() { o.down = false })
	o.await()
	if ids := o.ids(); !slices.Equal(ids, []string{"one"}) {
		t.Errorf("streams %v", ids)
	}
}

// TestTriggerThatCannotStart: its route is gone, and comes back.
func TestTriggerThatCannotStart(t *testing.T) {
	o := newOffice(t)
	o.trigger("one")
	o.stop()
	o.change(func() { o.running = map[string]string{"one": "of somebody else"} })
	o.start()
	o.await()
	got, err := o.service().Get(t.Context(), &triggers.GetTriggerRequest{TriggerId: "one"})
	if err != nil || got.Status != triggers.Trigger_ACTIVE {
		t.Errorf("got %v (%v)", got, err)
	}
	wants(t, o.setRule("one", deviceRule("home", "", "/telemetry")), codes.AlreadyExists, "/streams/one")
	must(t, new(triggers.Trigger))(o.service().Pause(t.Context(), &triggers.PauseTriggerRequest{TriggerId: "one"}))
	_, err = o.service().Resume(t.Context(), &triggers.ResumeTriggerRequest{TriggerId: "one"})
	wants(t, err, codes.AlreadyExists, "one")
	if o.config("one") != "of somebody else" {
		t.Errorf("the stream of somebody else is %s", o.config("one"))
	}

	o.restart() // paused: it is not tried
	o.await()
	o.change(func() { delete(o.running, "one") })
	must(t, new(triggers.Trigger))(o.service().Resume(t.Context(), &triggers.ResumeTriggerRequest{TriggerId: "one"}))
	o.stop()
	o.change(func() { o.running = map[string]string{"one": "of somebody else"} })
	o.start()
	o.await()
	o.change(func() { delete(o.running, "one") })
	eventually(t, "the trigger is tried again", func() bool { return strings.Contains(o.config("one"), "iotcast-one") })
	o.stop()
	if log := o.log.String(); strings.Count(log, "cannot be started") != 2 || strings.Count(log, "now it is") != 1 {
		t.Errorf("log:\n%s", log)
	}
	o.start()
}

// TestStreamsMadeByHand: the ID of a trigger is none of theirs, and they stay.
func TestStreamsMadeByHand(t *testing.T) {
	o := newOffice(t)
	o.change(func() { o.running["telemetry"] = "by hand" })
	made := o.trigger("telemetry")
	if !strings.HasPrefix(made.Id, "telemetry-") || o.config("telemetry") != "by hand" || o.config(made.Id) == "" {
		t.Errorf("created %v beside %v", made, o.ids())
	}
	if made := o.trigger("streams"); !strings.HasPrefix(made.Id, "streams-") {
		t.Errorf("created %v", made)
	}
	// Where somebody ends the stream of a trigger, the trigger can still be deleted, or resumed.
	o.change(func() { delete(o.running, made.Id) })
	must(t, new(triggers.Trigger))(o.service().Resume(t.Context(), &triggers.ResumeTriggerRequest{TriggerId: made.Id}))
	if o.config(made.Id) == "" {
		t.Error("resumed, it does not run")
	}
	must(t, new(triggers.Trigger))(o.service().Pause(t.Context(), &triggers.PauseTriggerRequest{TriggerId: made.Id}))
	o.change(func() { o.running[made.Id] = "by hand" })
	must(t, new(emptypb.Empty))(o.service().Delete(t.Context(), &triggers.DeleteTriggerRequest{TriggerId: made.Id}))
	if o.config(made.Id) != "by hand" {
		t.Error("the stream of somebody else is gone")
	}
}

func TestTriggersAreListed(t *testing.T) {
	o := newOffice(t)
	for _, name := range []string{"one", "two", "three"} {
		o.trigger(name)
	}
	list := func(r *triggers.ListTriggersRequest) (names []string, next string) {
		t.Helper()
		all, err := o.service().List(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all.Triggers {
			names = append(names, one.Name)
		}
		return names, all.NextPageToken
	}
	if names, _ := list(&triggers.ListTriggersRequest{Filter: `name = "two"`}); !slices.Equal(names, []string{"two"}) {
		t.Errorf("filtered %v", names)
	}
	if names, _ := list(&triggers.ListTriggersRequest{FolderId: "other"}); len(names) > 0 {
		t.Errorf("of another folder %v", names)
	}
	first, token := list(&triggers.ListTriggersRequest{PageSize: 2, FolderId: "b1g"})
	second, none := list(&triggers.ListTriggersRequest{PageSize: 2, FolderId: "b1g", PageToken: token})
	if all := slices.Concat(first, second); !slices.Equal(all, []string{"one", "three", "two"}) || none != "" {
		t.Errorf("pages %v", all)
	}
	for _, r := range []*triggers.ListTriggersRequest{
		{Filter: "status=ACTIVE"}, {Filter: "name=two"}, {PageToken: "x"}, {PageToken: token}, {PageSize: -1}, {PageSize: 1001},
	} {
		_, err := o.service().List(t.Context(), r)
		wants(t, err, codes.InvalidArgument)
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	change := func(c func(*triggers.Trigger_IoTMessage)) *triggers.Trigger_Rule {
		r := deviceRule("home", events, "/telemetry")
		c(r.GetIotMessage())
		return r
	}
	batch := func(size int64, cutoff time.Duration) *triggers.Trigger_Rule {
		return change(func(m *triggers.Trigger_IoTMessage) {
			m.BatchSettings = &triggers.BatchSettings{Size: size, Cutoff: durationpb.New(cutoff)}
		})
	}
	for name, test := range map[string]struct {
		rule *triggers.Trigger_Rule
		code codes.Code
		want string
	}{
		"timer": {&triggers.Trigger_Rule{Rule: &triggers.Trigger_Rule_Timer{Timer: &triggers.Trigger_Timer{
			CronExpression: "0 0 ? * * *", Action: &triggers.Trigger_Timer_InvokeFunction{InvokeFunction: &triggers.InvokeFunctionOnce{FunctionId: "f"}},
		}}}, codes.Unimplemented, "rule.timer is not offered: the rules here are iot_message and iot_broker_message"},
		"function": {change(func(m *triggers.Trigger_IoTMessage) {
			m.Action = &triggers.Trigger_IoTMessage_InvokeFunction{InvokeFunction: &triggers.InvokeFunctionWithRetry{FunctionId: "f", FunctionTag: "$latest", ServiceAccountId: "s"}}
		}), codes.Unimplemented, "rule.iot_message.invoke_function is not offered: the action here is gateway_websocket_broadcast"},
		"none":        {&triggers.Trigger_Rule{}, codes.InvalidArgument, "iot_message"},
		"no rule":     {nil, codes.InvalidArgument, "rule is missing"},
		"no action":   {change(func(m *triggers.Trigger_IoTMessage) { m.Action = nil }), codes.InvalidArgument, "rule.iot_message.action is missing"},
		"no registry": {deviceRule("", events, "/telemetry"), codes.InvalidArgument, "rule.iot_message.registry_id is missing"},
		"registry":    {deviceRule("a/b", events, "/telemetry"), codes.InvalidArgument, "rule.iot_message.registry_id"},
		"device":      {change(func(m *triggers.Trigger_IoTMessage) { m.DeviceId = "a#" }), codes.InvalidArgument, "rule.iot_message.device_id"},
		"broker":      {brokerRule("a+"), codes.InvalidArgument, "rule.iot_broker_message.broker_id"},
		"topic":       {deviceRule("home", "$monitoring/d/json", "/telemetry"), codes.InvalidArgument, "rule.iot_message.mqtt_topic is not possible: topic filter"},
		"variable":    {deviceRule("home", events, "/${HOME}"), codes.InvalidArgument, "rule.iot_message.gateway_websocket_broadcast.path"},
		"no gateway":  {change(func(m *triggers.Trigger_IoTMessage) { m.GetGatewayWebsocketBroadcast().GatewayId = "" }), codes.InvalidArgument, "gateway_websocket_broadcast.gateway_id is missing"},
		"size":        {batch(1001, time.Second), codes.InvalidArgument, "rule.iot_message.batch_settings.size"},
		"negative":    {batch(-1, time.Second), codes.InvalidArgument, "rule.iot_message.batch_settings.size"},
		"cutoff":      {batch(1, 61*time.Second), codes.InvalidArgument, "rule.iot_message.batch_settings.cutoff"},
		"cutoff < 0":  {batch(1, -time.Second), codes.InvalidArgument, "rule.iot_message.batch_settings.cutoff"},
		"stream":      {deviceRule("home", events, "/refused"), codes.InvalidArgument, "(3,1) refused"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := o.service().Create(ctx, &triggers.CreateTriggerRequest{Name: "one", Rule: test.rule})
			wants(t, err, test.code, test.want)
		})
	}
	if all, err := o.service().List(ctx, &triggers.ListTriggersRequest{}); err != nil || len(all.Triggers) > 0 || len(o.ids()) > 0 {
		t.Errorf("after refusals there is %v (%v), streams %v", all, err, o.ids())
	}
	must(t, new(triggers.Trigger))(o.service().Create(ctx, &triggers.CreateTriggerRequest{Name: "one", Rule: batch(1000, 0)}))
	o.names(t, o.config("one"), "count: 1000", "period: 1ns")
	_, err := o.service().Create(ctx, &triggers.CreateTriggerRequest{Name: "one", Rule: brokerRule("b")})
	wants(t, err, codes.AlreadyExists, `name "one" is taken`)
	_, err = o.service().Create(ctx, &triggers.CreateTriggerRequest{Rule: brokerRule("b")})
	wants(t, err, codes.InvalidArgument, "name is missing")
	if ids := o.ids(); !slices.Equal(ids, []string{"one"}) {
		t.Errorf("streams %v", ids)
	}
}

// TestUpdateThatIsRefused: what ran goes on, also where Benthos refuses after it has ended it.
func TestUpdateThatIsRefused(t *testing.T) {
	o := newOffice(t)
	o.trigger("one")
	before := o.config("one")
	wants(t, o.setRule("one", deviceRule("home", events, "/refused")), codes.InvalidArgument, "refused")
	wants(t, o.setRule("one", deviceRule("home", events, "/later")), codes.InvalidArgument, "rule")
	if o.config("one") != before {
		t.Errorf("there runs %q", o.config("one"))
	}
	got, err := o.service().Get(t.Context(), &triggers.GetTriggerRequest{TriggerId: "one"})
	if err != nil || got.Rule.GetIotMessage().GetGatewayWebsocketBroadcast().Path != "/telemetry" {
		t.Errorf("got %v (%v)", got, err)
	}
	if err := o.setRule("one", nil); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
}

// TestAnotherRegistry: the session of the one before belongs to that.
func TestAnotherRegistry(t *testing.T) {
	o := newOffice(t)
	o.trigger("one")
	var farewell string
	o.before = func(call string) {
		if call == "delete iotcast_farewell_one" {
			farewell = o.config("iotcast_farewell_one")
		}
	}
	if err := o.setRule("one", brokerRule("factory")); err != nil {
		t.Fatal(err)
	}
	o.names(t, o.config("one"), "user: factory", "broker_id: factory")
	o.names(t, farewell, "user: home", "registry_id: home", "clean_session: true", "client_id: iotcast-one", "drop: {}")
	farewell = ""
	again := brokerRule("factory")
	again.GetIotBrokerMessage().MqttTopic = "hall/#"
	if err := o.setRule("one", again); err != nil || farewell != "" {
		t.Errorf("%v, %s", err, farewell)
	}
	// Who is not there cannot log in.
	wants(t, o.setRule("one", brokerRule("home")), codes.NotFound, "rule.iot_broker_message", `"home"`)
	wants(t, o.setRule("one", deviceRule("factory", events, "/telemetry")), codes.NotFound, "rule.iot_message", `"factory"`)
	_, err := o.service().Create(t.Context(), &triggers.CreateTriggerRequest{Name: "two", Rule: brokerRule("nowhere")})
	wants(t, err, codes.NotFound, "nowhere")
}

// TestCallerWhoLeaves: the stream and the state stay together.
func TestCallerWhoLeaves(t *testing.T) {
	o := newOffice(t)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	o.before = func(call string) {
		if call == "create one" {
			leave()
			<-left
		}
	}
	_, err := o.service().Create(ctx, &triggers.CreateTriggerRequest{Name: "one", Rule: brokerRule("b")})
	wants(t, err, codes.Canceled)
	close(left)
	eventually(t, "the trigger is there", func() bool {
		_, err := o.service().Get(t.Context(), &triggers.GetTriggerRequest{TriggerId: "one"})
		return err == nil && o.config("one") != ""
	})
}

// TestStateThatCannotBeWritten leaves no stream.
func TestStateThatCannotBeWritten(t *testing.T) {
	o := newOffice(t)
	o.before = func(call string) {
		if call == "create one" {
			_ = o.store.Close()
		}
	}
	_, err := o.service().Create(t.Context(), &triggers.CreateTriggerRequest{Name: "one", Rule: brokerRule("b")})
	wants(t, err, codes.Internal)
	if ids := o.ids(); len(ids) > 0 {
		t.Errorf("streams %v", ids)
	}
}

// TestTurnsOfTriggers: one that takes its time holds up neither another nor the state.
func TestTurnsOfTriggers(t *testing.T) {
	o := newOffice(t)
	o.trigger("slow")
	begun, end := make(chan struct{}), make(chan struct{})
	o.before = func(call string) {
		if call == "delete slow" {
			close(begun)
			<-end
		}
	}
	paused := make(chan error, 1)
	go func() {
		_, err := o.service().Pause(t.Context(), &triggers.PauseTriggerRequest{TriggerId: "slow"})
		paused <- err
	}()
	<-begun
	o.trigger("fast")
	o.registry("slow")
	close(end)
	if err := <-paused; err != nil {
		t.Error(err)
	}
}

// TestTriggerThatDoesNotConnect is made nevertheless, and the log says it.
func TestTriggerThatDoesNotConnect(t *testing.T) {
	o := newOffice(t, func(c *Config) { c.connect = time.Millisecond })
	o.change(func() { o.silent = true })
	if _, err := o.service().Create(t.Context(), &triggers.CreateTriggerRequest{Name: "one", Rule: brokerRule("b")}); err != nil {
		t.Fatal(err)
	}
	o.change(func() { o.silent = false })
	if log := o.log.String(); !strings.Contains(log, "not connected yet") || !strings.Contains(log, "connection refused") {
		t.Errorf("log:\n%s", log)
	}
}

// TestPasswordOfTheProcess is neither kept nor shown.
func TestPasswordOfTheProcess(t *testing.T) {
	o := newOffice(t)
	o.trigger("one")
	_ = o.setRule("one", deviceRule("home", events, "/refused"))
	_, list := o.rest(t, "GET", "/triggers/v1/triggers", "")
	_, operations := o.rest(t, "GET", "/triggers/v1/triggers/one/operations", "")
	o.stop()
	secret := o.cfg.Directory.ProcessPassword()
	file, err := os.ReadFile(filepath.Join(o.dir, "state.db"))
	if err != nil || !bytes.Contains(file, []byte("/telemetry")) {
		t.Fatalf("no trigger in the file (%v)", err)
	}
	for name, text := range map[string]string{
		"the state": string(file), "the list": list, "the operations": operations, "the log": o.log.String(),
	} {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds the password", name)
		}
	}
	o.start()
}

func TestWithoutStreams(t *testing.T) {
	d := newDesk(t)
	s := triggers.NewTriggerServiceClient(d.conn)
	_, err1 := s.Create(t.Context(), &triggers.CreateTriggerRequest{Name: "one", Rule: brokerRule("b")})
	_, err2 := s.List(t.Context(), &triggers.ListTriggersRequest{})
	_, err3 := s.Delete(t.Context(), &triggers.DeleteTriggerRequest{TriggerId: "one"})
	for _, err := range []error{err1, err2, err3} {
		wants(t, err, codes.FailedPrecondition, "iotcast streams")
	}
	if err := d.server.Ready(); err != nil {
		t.Error(err)
	}
}

// TestWhoMayUseWhat: a trigger sends as a service account, and shows what a registry receives.
func TestWhoMayUseWhat(t *testing.T) {
	s := triggerService{k: &keeper{streams: new(triggerStreams)}}
	allowed := map[string][]string{}
	ctx := context.WithValue(t.Context(), callKey{}, &call{account: "me", may: func(role string, resources ...string) bool {
		return slices.ContainsFunc(resources, func(id string) bool { return slices.Contains(allowed[role], id) })
	}})
	as := func(registry, account string) *triggers.Trigger_Rule {
		r := deviceRule(registry, events, "/telemetry")
		r.GetIotMessage().GetGatewayWebsocketBroadcast().ServiceAccountId = account
		return r
	}
	wants(t, s.checkUse(ctx, nil, as("home", "sender")), codes.PermissionDenied, `"me"`, access.ViewerOfAll, `"home"`)
	allowed[access.ViewerOfAll] = []string{"home"}
	wants(t, s.checkUse(ctx, nil, as("home", "sender")), codes.PermissionDenied, `"me"`, access.ServiceAccountsUser, `"sender"`)
	allowed[access.ServiceAccountsUser] = []string{"sender"}
	for _, err := range []error{
		s.checkUse(ctx, nil, as("home", "sender")), s.checkUse(ctx, nil, as("home", "")),
		s.checkUse(ctx, as("other", "somebody"), as("other", "somebody")), // it has been so before
	} {
		if err != nil {
			t.Error(err)
		}
	}
	wants(t, s.checkUse(ctx, as("home", "sender"), as("home", "somebody")), codes.PermissionDenied, `"somebody"`)
	elsewhere := as("home", "somebody")
	elsewhere.GetIotMessage().GetGatewayWebsocketBroadcast().Path = "/elsewhere"
	wants(t, s.checkUse(ctx, as("home", "somebody"), elsewhere), codes.PermissionDenied, `"somebody"`)
	wants(t, s.checkUse(ctx, as("home", "sender"), as("other", "sender")), codes.PermissionDenied, `"other"`)
}

// TestPagesOfLongIDs: a token holds the ID, and is accepted.
func TestPagesOfLongIDs(t *testing.T) {
	o := newOffice(t)
	id := o.trigger(strings.Repeat("a", 50)).Id
	must(t, new(triggers.Trigger))(o.service().Pause(t.Context(), &triggers.PauseTriggerRequest{TriggerId: id}))
	var all []string
	token := ""
	for range 2 {
		page, err := o.service().ListOperations(t.Context(), &triggers.ListTriggerOperationsRequest{
			TriggerId: id, PageSize: 1, PageToken: token,
		})
		if err != nil || len(page.Operations) != 1 {
			t.Fatalf("%v (%v)", page, err)
		}
		all, token = append(all, page.Operations[0].Description), page.NextPageToken
	}
	if !slices.Equal(all, []string{"Pause trigger", "Create trigger"}) || token != "" {
		t.Errorf("operations %v", all)
	}
}

// TestTriggersInADocument: an import makes streams, and an ID may be chosen, as that of the original.
func TestTriggersInADocument(t *testing.T) {
	o := newOffice(t)
	o.trigger("one")
	o.trigger("two")
	if err := o.setRule("two", deviceRule("home", "$devices/+/state", "/telemetry")); err != nil {
		t.Fatal(err)
	}
	must(t, new(triggers.Trigger))(o.service().Pause(t.Context(), &triggers.PauseTriggerRequest{TriggerId: "two"}))
	code, text := o.rest(t, "GET", "/state", "")
	if code != 200 || strings.Contains(text, o.cfg.Directory.ProcessPassword()) {
		t.Fatalf("%d %s", code, text)
	}
	put := func(o *desk, text string) (int, string) {
		return o.rest(t, "PUT", "/state", text, "Content-Type", "application/yaml")
	}
	other := newOffice(t)
	other.trigger("gone")
	moved := strings.Replace(text, "id: one", "id: a1s5msktijh2xaty6mqo", 1)
	if code, answer := put(other.desk, moved); code != 200 {
		t.Fatalf("%d %s\n%s", code, answer, moved)
	}
	if _, again := other.rest(t, "GET", "/state", ""); again != moved || !slices.Equal(other.ids(), []string{"a1s5msktijh2xaty6mqo"}) {
		t.Errorf("streams %v, exported:\n%s\nimported:\n%s", other.ids(), again, moved)
	}
	for _, bad := range []string{
		strings.Replace(text, "id: one", "id: a/b", 1), strings.Replace(text, "id: one", "id: streams", 1), strings.Replace(text, "id: one", "id: iotcast_check", 1),
		strings.Replace(text, "mqtt_topic: "+events, "mqtt_topic: a/#/b", 1), strings.ReplaceAll(text, "gateway_websocket_broadcast", "invoke_function"),
	} {
		if code, answer := put(other.desk, bad); code != 400 || !slices.Equal(other.ids(), []string{"a1s5msktijh2xaty6mqo"}) {
			t.Errorf("%d %s, streams %v", code, answer, other.ids())
		}
	}
	without := newDesk(t)
	if code, answer := put(without, text); code != 400 || !strings.Contains(answer, "iotcast streams") {
		t.Errorf("without streams: %d %s", code, answer)
	}
	if code, answer := put(other.desk, "registries: []\ndevices: []\nbrokers: []\ntriggers: []"); code != 200 || len(other.ids()) > 0 {
		t.Errorf("%d %s, streams %v", code, answer, other.ids())
	}
}
