package tests

import (
	"net/http"
	"strings"
	"testing"
)

// Any stream can be updated as safely as a trigger.
func TestStreamUpdate(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	d := newDesk(t, b)
	fields := "broker_id: factory\nclient_id: mine\nclean_session: false\ntopics: [ hall/press ]"
	d.must(http.MethodPost, "/streams/mine", trigger(b, fields, ""))
	d.waitReady()
	c := connectGo(t, d.url("/telemetry"))

	b.publish(1, message{topic: "hall/press", payload: []byte("before")})
	c.waitEntries(1)
	for want, config := range map[string]string{
		`"/nowhere"`:        trigger(b, fields, "path: /nowhere"),
		"(9,1) field topik": trigger(b, fields+"\ntopik: x", ""),
		"clean_session":     trigger(b, "broker_id: factory\nclean_session: false", ""),
		"no-such-resource":  strings.Replace(trigger(b, fields, ""), "iot_trigger: {}", "resource: no-such-resource", 1),
		"yaml:":             "input: [",
	} {
		d.mustFail([]string{want}, "stream", "update", "mine", writeFile(t, config))
	}
	b.publish(1, message{topic: "hall/press", payload: []byte("still")})
	c.waitEntries(2)
	if n := d.connects(); n != 1 {
		t.Errorf("iotcast has connected to its broker %d times", n)
	}

	good := trigger(b, fields, "path: /alarms")
	d.do("stream", "update", "mine", writeFile(t, good), "--check")
	if n := d.connects(); n != 1 {
		t.Errorf("iotcast has connected to its broker %d times", n)
	}
	alarms := connectGo(t, d.url("/alarms"))
	d.doWith(good, "stream", "update", "mine", "-")
	b.publish(1, message{topic: "hall/press", payload: []byte("after")})
	if got, _ := alarms.waitEntries(1); string(got[0].payload) != "after" {
		t.Errorf("received %q", got[0].payload)
	}
}
