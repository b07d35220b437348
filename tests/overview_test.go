package tests

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// overview is an event of GET /console/overview.
type overview struct {
	Samples []struct {
		Triggers map[string]struct {
			Received  float64
			Connected bool
		}
		Routes map[string]struct{ Connections, Envelopes, Gaps float64 }
	}
	Findings []struct{ ID, What, Why, Mend, View, Since string }
}

func (o overview) finding(id string) bool {
	for _, f := range o.Findings {
		if f.ID == id {
			return true
		}
	}
	return false
}

// followOverview calls next with each event until it returns true.
func (m *managed) followOverview(what string, next func(overview) bool) {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, "http://"+m.api+"/console/overview", http.NoBody)
	if err != nil {
		m.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		m.t.Fatalf("%s: %s", what, res.Status)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 16<<20)
	last := ""
	for seen := 0; seen < 24 && lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		seen++
		var event overview
		if err := json.Unmarshal([]byte(text), &event); err != nil {
			m.t.Fatal(err)
		}
		if next(event) {
			return
		}
		last = text
	}
	m.t.Fatalf("%s: not in time, the last event is %s (%v)", what, last, lines.Err())
}

// The console shows what flows, and says that a trigger cannot connect until it can. Who takes the process for ready is not
// told: one trigger is not the process.
func TestOverview(t *testing.T) {
	t.Parallel()
	m := runManaged(t, "console: true")
	m.post("/triggers/v1/triggers", telemetry("$devices/+/events", "/telemetry"))
	page := connectGo(t, m.url("/telemetry"))
	m.followOverview("a healthy process", func(o overview) bool {
		if len(o.Findings) > 0 {
			t.Errorf("a healthy process has %+v", o.Findings)
		}
		m.pub("$devices/boiler/events", "1")
		for _, s := range o.Samples {
			if one := s.Triggers["telemetry"]; one.Connected && one.Received > 0 && s.Routes["main /telemetry"].Connections == 1 && s.Routes["main /telemetry"].Envelopes > 0 {
				return true
			}
		}
		return false
	})
	page.waitEntries(1)
	connectGo(t, m.url("/telemetry?last_event_id=of-long-ago"))
	eventually(t, "the gap is counted", func() bool { return m.metric("websocket_gaps", `path="/telemetry",reason="history"`) == 1 })
	m.followOverview("a client that came back and was told of a gap", func(o overview) bool {
		for _, s := range o.Samples {
			if s.Routes["main /telemetry"].Gaps > 0 {
				return o.finding("gap main /telemetry")
			}
		}
		return false
	})
	m.post("/iot-devices/v1/registries/home:disable", "{}")
	m.followOverview("a trigger that cannot connect", func(o overview) bool {
		if !o.finding("broker telemetry") {
			return false
		}
		for _, f := range o.Findings {
			if f.ID == "broker telemetry" && (!strings.Contains(f.Why, "not Authorized") || f.View != "#/triggers/telemetry" || f.Mend == "") {
				t.Errorf("it says %+v", f)
			}
		}
		return true
	})
	if status, answer := m.tryRequest(http.MethodGet, "/ready", ""); status != http.StatusOK {
		t.Errorf("/ready with a trigger that cannot connect: %d %s", status, answer)
	}
	m.post("/iot-devices/v1/registries/home:enable", "{}")
	m.followOverview("a trigger that can connect again", func(o overview) bool { return len(o.Samples) == 1 && !o.finding("broker telemetry") })

	// A stream of a file or of the streams API counts for /ready, as before.
	m.must(http.MethodPost, "/streams/lonely", `{"input": {"iot_mqtt": {"urls": ["tcp://127.0.0.1:1"], "registry_id": "home"}}, "output": {"drop": {}}}`)
	m.waitStatus("/ready", http.StatusServiceUnavailable)
	if _, answer := m.tryRequest(http.MethodGet, "/ready", ""); !strings.Contains(answer, "lonely") || strings.Contains(answer, "telemetry") {
		t.Errorf("/ready says %s", answer)
	}
}
