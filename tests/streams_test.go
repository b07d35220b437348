package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// Triggers come and go through the HTTP API; connections stay.
func TestStreams(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := runStreams(t)
	clients := connectAll(t, cast.url("/telemetry"))
	received := 0

	// expect publishes on two topics, and waits for what the trigger lets
	// through: the messages on topic, in order.
	expect := func(topic string) {
		t.Helper()
		cast.waitReady()
		var messages []message
		for i := range 20 {
			for _, to := range []string{"hall/press", "hall/oven"} {
				messages = append(messages, message{topic: to, payload: fmt.Appendf(nil, "%s %d", topic, i)})
			}
		}
		b.publish(1, messages...)
		all, _ := clients[0].waitEntries(received + 20)
		for i, e := range all[received:] {
			if want := fmt.Sprintf("%s %d", topic, i); e.topic != topic || string(e.payload) != want {
				t.Errorf("received %q on %s, want %q on %s", e.payload, e.topic, want, topic)
			}
		}
		received += 20
		checkSame(t, clients)
	}
	press := trigger(b, "broker_id: factory\ntopics: [ hall/press ]", "")
	oven := trigger(b, "broker_id: factory\ntopics: [ hall/oven ]", "")

	cast.must(http.MethodPost, "/streams/first", press)
	expect("hall/press")
	cast.must(http.MethodPut, "/streams/first", oven)
	expect("hall/oven")
	cast.must(http.MethodDelete, "/streams/first", "")
	if ids := cast.streams(); len(ids) != 0 {
		t.Errorf("streams %v after the only one was deleted", ids)
	}
	b.publish(1, message{topic: "hall/oven", payload: []byte("nobody listens")})
	cast.must(http.MethodPost, "/streams/second", press)
	expect("hall/press")

	if opened := cast.metric("websocket_handshakes", `status="101"`); opened != float64(len(clients)) {
		t.Errorf("%v connections were opened, want the same %d throughout", opened, len(clients))
	}
}

// streams are the IDs of the streams that exist.
func (c *iotcast) streams() []string {
	c.t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(c.must(http.MethodGet, "/streams", "")), &all); err != nil {
		c.t.Fatal(err)
	}
	ids := []string{}
	for id := range all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// What cannot run is refused, with an answer that says why and what to do.
func TestStreamsRefused(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := runStreams(t)
	cast.must(http.MethodPost, "/streams/good", trigger(b, "broker_id: factory", ""))
	c := connectGo(t, cast.url("/telemetry"))

	for name, test := range map[string]struct {
		input, output string
		want          []string
	}{
		"unknown gateway": {input: "broker_id: factory", want: []string{"gateway", `"side"`, `"main"`}},
		"unknown path": {
			input: "broker_id: factory", output: "path: /nowhere",
			want: []string{"path", `"/nowhere"`, `"/alarms"`, `"/telemetry"`},
		},
		"both IDs":            {input: "broker_id: factory\nregistry_id: home", want: []string{"registry_id", "broker_id"}},
		"no ID":               {input: "client_id: mine", want: []string{"registry_id", "broker_id"}},
		"filter":              {input: "broker_id: factory\ntopics: [ hall/#/press ]", want: []string{"topic filter", "hall/#/press"}},
		"monitoring filter":   {input: "registry_id: home\ntopics: [ $monitoring/boiler/json ]", want: []string{"topic filter", "$monitoring/boiler/json"}},
		"unknown field":       {input: "broker_id: factory\ntopic: hall", want: []string{"topic"}},
		"session without ID":  {input: "broker_id: factory\nclean_session: false", want: []string{"clean_session", "client_id"}},
		"no such enum option": {input: "broker_id: factory", output: "path: /telemetry\nno_connections: hope", want: []string{"hope", "not a valid option"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := trigger(b, test.input, test.output)
			if name == "unknown gateway" {
				config = strings.Replace(config, "gateway: main", "gateway: side", 1)
			}
			status, answer := cast.request(http.MethodPost, "/streams/bad", config)
			if status < 400 {
				t.Errorf("status %d, want an error", status)
			}
			for _, text := range test.want {
				// The text may stand in JSON.
				if !strings.Contains(strings.ReplaceAll(answer, `\"`, `"`), text) {
					t.Errorf("the answer does not name %s: %s", text, answer)
				}
			}
			if ids := cast.streams(); !slices.Equal(ids, []string{"good"}) {
				t.Errorf("streams %v, want the good one only", ids)
			}
		})
	}

	// The rest of the process has not noticed.
	cast.waitReady()
	b.publish(1, message{topic: "hall/press", payload: []byte("1")})
	c.waitEntries(1)
	if status, _ := cast.request(http.MethodGet, "/ping", ""); status != http.StatusOK {
		t.Errorf("/ping: status %d", status)
	}
}

// TestStreamsOfTheReadme: the root config and the trigger that the README posts go
// together, as they are.
func TestStreamsOfTheReadme(t *testing.T) {
	t.Parallel()
	cast := newIotcast(t)
	cast.launch("streams", "-o", "../config/streams/root.yaml", "-r", "../resources/*.yaml",
		"--set", "http.address="+cast.http, "--set", "websocket_gateways.0.address="+cast.gateway)
	cast.waitLog("Launching")
	const file, path = "../config/streams/triggers/telemetry.yaml", "/streams/telemetry"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cast.must(http.MethodPost, path, string(text))
	cast.must(http.MethodPut, path, string(text))
	if out, code := runProgram(t, binary, "stream", "update", "--api", "http://"+cast.http, "telemetry", file); code != 0 {
		t.Errorf("iotcast stream update: %s", out)
	}
	cast.must(http.MethodDelete, path, "")
}
