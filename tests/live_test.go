package tests

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	jwtlib "github.com/golang-jwt/jwt/v5"
)

// The config by which every user sees the devices that are theirs, as it stands in the
// repository.
func TestOwnDevices(t *testing.T) {
	t.Parallel()
	const secret = "a secret of thirty-two bytes or more"
	b := startMosquitto(t)
	cast := runConfig(t, []string{"MQTT_URL=" + b.url(), "TOKEN_SECRET=" + secret}, "run", "../config/live/dashboard.yaml")
	cast.waitReady()
	open := func(query string, devices ...string) *websocket.Conn {
		t.Helper()
		token, err := jwtlib.NewWithClaims(jwtlib.SigningMethodHS256, jwtlib.MapClaims{
			"exp": time.Now().Add(time.Hour).Unix(), "devices": devices,
		}).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		ws, _, err := websocket.Dial(t.Context(), cast.url("/devices"+query), &websocket.DialOptions{
			HTTPHeader: bearerHeader(token), Subprotocols: []string{"iotcast"},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		return ws
	}
	// readings are the topics and payloads of the next envelope that has any.
	readings := func(ws *websocket.Conn) (all []string) {
		t.Helper()
		for len(all) == 0 {
			_, data, err := ws.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var doc struct {
				Messages []struct {
					Details struct {
						Topic   string `json:"mqtt_topic"`
						Payload []byte `json:"payload"`
					} `json:"details"`
				} `json:"messages"`
			}
			if err := json.Unmarshal(data, &doc); err != nil {
				t.Fatalf("%s: %v", data, err)
			}
			for _, m := range doc.Messages {
				all = append(all, strings.TrimPrefix(m.Details.Topic, "$devices/")+"="+string(m.Details.Payload))
			}
		}
		return all
	}
	expect := func(ws *websocket.Conn, want ...string) {
		t.Helper()
		if got := readings(ws); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	devices := b.publisher()
	publish := func(topic, payload string) {
		t.Helper()
		if token := devices.Publish("$devices/"+topic, 1, false, payload); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
			t.Fatalf("publishing: %v", token.Error())
		}
	}

	boiler := open("", "boiler")
	publish("pump/events", "1")
	publish("boiler/events/temperature", "20")
	expect(boiler, "boiler/events/temperature=20")
	// A page that comes later begins with the last value of each topic.
	publish("boiler/events/pressure", "3")
	expect(boiler, "boiler/events/pressure=3")
	both := open("?latest=true", "boiler", "$devices/pump/#")
	expect(both, "pump/events=1", "boiler/events/temperature=20", "boiler/events/pressure=3")
	// Asking for more than the token allows gets no more.
	greedy := open("?device_id=pump,boiler&topic=$devices/%2B/%23", "boiler")
	expect(greedy, "boiler/events/temperature=20", "boiler/events/pressure=3")
	if err := boiler.Write(t.Context(), websocket.MessageText, []byte(`{"watch":{"device_ids":["pump"]}}`)); err != nil {
		t.Fatal(err)
	}
	if _, answer, err := boiler.Read(t.Context()); err != nil || string(answer) != `{"messages":[],"watch":{"device_ids":[],"topics":[]}}` {
		t.Fatalf("%s, %v", answer, err)
	}
	publish("pump/events", "2")
	expect(both, "pump/events=2")
	publish("boiler/state", "on")
	expect(greedy, "boiler/state=on")
	if n := cast.metric("websocket_watch_changes", `result="accepted"`); n != 1 {
		t.Errorf("%v choices were counted", n)
	}
	eventually(t, "four last values are kept", func() bool { return cast.metric("websocket_latest_messages", `path="/devices"`) == 4 })
}
