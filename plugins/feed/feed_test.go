package feed_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/iotcast/iotcast/plugins/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serveFeed serves each connection with the next function, and then the last one for ever,
// and returns its URL. A function that returns closes its connection.
func serveFeed(t *testing.T, serve ...func(r *http.Request, c *websocket.Conn)) string {
	t.Helper()
	var connections atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.CloseNow() }()
		serve[min(int(connections.Add(1)), len(serve))-1](r, c)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// hold keeps the connection until the client ends it.
func hold(_ *http.Request, c *websocket.Conn) { _, _, _ = c.Read(context.Background()) }

func send(c *websocket.Conn, text string) {
	_ = c.Write(context.Background(), websocket.MessageText, []byte(text))
}

func numbered(id, payload string) string {
	return fmt.Sprintf(`{"event_metadata":{"event_id":%q,"created_at":"2019-09-25T15:51:17.872320525Z"},"details":{"device_id":"boiler","mqtt_topic":"t",%s}}`, id, payload)
}

func base64ed(text string) string {
	return fmt.Sprintf(`"payload":%q`, base64.StdEncoding.EncodeToString([]byte(text)))
}

func open(t *testing.T, url string, options feed.Options) *feed.Feed {
	t.Helper()
	options.MinWait, options.MaxWait = time.Millisecond, 10*time.Millisecond
	f, err := feed.New(url, options)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// collect ranges over the events until enough is true, and tells them in words.
func collect(t *testing.T, f *feed.Feed, enough func(told []string) bool) (told []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for event, err := range f.Events(ctx) {
		if err != nil {
			t.Fatalf("after %q: %v", told, err)
		}
		switch e := event.(type) {
		case feed.Message:
			payload, err := e.Payload()
			if err != nil {
				payload = []byte(err.Error())
			}
			told = append(told, e.EventID+" "+string(payload))
		case feed.Gap:
			told = append(told, fmt.Sprintf("gap %s %d", e.Reason, e.Dropped))
		case feed.Watching:
			told = append(told, fmt.Sprintf("watching %v %v", e.DeviceIDs, e.Topics))
		case feed.ChoiceRefused:
			told = append(told, "refused "+e.Code)
		case feed.Data:
			told = append(told, "data "+string(e))
		}
		if enough(told) {
			return told
		}
	}
	return told
}

func count(n int) func([]string) bool { return func(told []string) bool { return len(told) >= n } }

func TestPayloads(t *testing.T) {
	envelope := `{"messages":[` + strings.Join([]string{
		numbered("1", base64ed("21.5")), numbered("2", `"payload":{"t":21.5}`), numbered("3", `"payload_base64":"//4="`), numbered("4", `"payload":""`), numbered("5", `"payload":null`),
	}, ",") + `]}`
	for _, test := range []struct {
		json bool
		want []string
	}{
		{false, []string{"1 21.5", "2 feed: the payload of message 2 is not in base64", "3 \xff\xfe", "4 ", "5 "}},
		{true, []string{`1 "MjEuNQ=="`, `2 {"t":21.5}`, "3 \xff\xfe", `4 ""`, "5 null"}},
	} {
		url := serveFeed(t, func(r *http.Request, c *websocket.Conn) { send(c, envelope); hold(r, c) })
		got := collect(t, open(t, url, feed.Options{JSON: test.json}), count(5))
		for i, want := range test.want {
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("JSON %v: %q, want %q", test.json, got[i], want)
			}
		}
	}
}

// Whoever leaves the loop in the middle of an envelope gets the rest in the next loop, once.
func TestGoesOnBehindTheLastEvent(t *testing.T) {
	envelope := `{"messages":[` + numbered("1", base64ed("a")) + `,` + numbered("2", base64ed("b")) + `]}`
	queries := make(chan string, 3)
	serve := func(r *http.Request, c *websocket.Conn) {
		queries <- r.URL.Query().Get("last_event_id") + "|" + r.URL.Query().Get("rewind")
		send(c, envelope)
		hold(r, c)
	}
	f := open(t, serveFeed(t, serve), feed.Options{Rewind: time.Minute})
	if got := collect(t, f, count(1)); got[0] != "1 a" {
		t.Errorf("first %q", got)
	}
	if got := collect(t, f, count(1)); got[0] != "2 b" {
		t.Errorf("then %q", got)
	}
	for event := range f.Events(t.Context()) {
		if _, ok := event.(feed.Connected); ok {
			break
		}
	}
	for _, want := range []string{"|1m0s", "|1m0s", "2|"} {
		if got := <-queries; got != want {
			t.Errorf("asked for %q, want %q", got, want)
		}
	}
}

// Last values may be older than what came before: the gateway says where to go on.
func TestGoesOnBehindLastValues(t *testing.T) {
	f := open(t, serveFeed(t, func(r *http.Request, c *websocket.Conn) {
		send(c, `{"messages":[`+numbered("1", base64ed("a"))+`],"last_event_id":"9"}`)
		send(c, `{"messages":[`+numbered("2", base64ed("b"))+`]}`)
		send(c, `{"messages":[`+numbered("1", base64ed("a"))+`],"last_event_id":"9"}`) // after a choice, say
		send(c, "the end")
		hold(r, c)
	}), feed.Options{})
	collect(t, f, count(3))
	if got := f.LastEventID(); got != "9" {
		t.Errorf("it goes on behind %q, want 9", got)
	}
}

func TestChoices(t *testing.T) {
	asked := make(chan any, 3)
	serve := func(r *http.Request, c *websocket.Conn) {
		q := r.URL.Query()
		asked <- []any{q["device_id"], q["topic"], q.Get("interval"), q.Get("latest"), q.Get("heartbeat"), q.Get("room")}
		send(c, `{"messages":[],"watch":{"device_ids":["boiler"]}}`)
		_, data, _ := c.Read(context.Background())
		asked <- string(data)
		send(c, `{"messages":[],"error":{"code":"watch","message":"no"}}`)
		send(c, `hello`)
	}
	url := serveFeed(t, serve, func(r *http.Request, c *websocket.Conn) {
		asked <- r.URL.Query()["topic"]
		hold(r, c)
	})
	f := open(t, url+"/?room=7", feed.Options{
		Choice: feed.Choice{DeviceIDs: []string{"boiler", "pump"}, Topics: []string{"#"}}, Interval: time.Second, NoLatest: true, Heartbeat: -1,
	})
	got := collect(t, f, func(told []string) bool {
		if len(told) == 1 {
			if err := f.Choose(t.Context(), feed.Choice{Topics: []string{"$devices/+/events/alarm/#"}}); err != nil {
				t.Error(err)
			}
		}
		return len(told) == 4
	})
	if want := []string{"watching [boiler] []", "refused watch", "data hello", "gap no_event_id 0"}; !reflect.DeepEqual(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	for _, want := range []any{
		[]any{[]string{"boiler", "pump"}, []string{"#"}, "1s", "false", "", "7"},
		`{"watch":{"topics":["$devices/+/events/alarm/#"]}}`,
		[]string{"#"}, // the refused one is forgotten
	} {
		if got := <-asked; !reflect.DeepEqual(got, want) {
			t.Errorf("asked for %q, want %q", got, want)
		}
	}
}

// A link that has sent heartbeats and then nothing is dead.
func TestDeadLink(t *testing.T) {
	url := serveFeed(t, func(r *http.Request, c *websocket.Conn) { send(c, `{"messages":[]}`); hold(r, c) },
		func(r *http.Request, c *websocket.Conn) {
			send(c, `{"messages":[`+numbered("1", base64ed("a"))+`]}`)
			hold(r, c)
		})
	f := open(t, url, feed.Options{Heartbeat: 40 * time.Millisecond})
	if got := collect(t, f, count(2)); got[1] != "1 a" {
		t.Errorf("got %q", got)
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		status, requests int
		token            bool
	}{{400, 1, false}, {401, 1, false}, {401, 5, true}, {403, 1, true}, {404, 1, true}} {
		requests := 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests++
			if test.token && r.Header.Get("Authorization") != fmt.Sprintf("Bearer t%d", requests) {
				t.Errorf("request %d: Authorization %q", requests, r.Header.Get("Authorization"))
			}
			http.Error(w, "not you", test.status)
		}))
		var options feed.Options
		if tokens := 0; test.token {
			options.Token = func(context.Context) (string, error) { tokens++; return fmt.Sprint("t", tokens), nil }
		}
		var last error
		for _, err := range open(t, s.URL, options).Events(t.Context()) {
			last = err
		}
		s.Close()
		var refused *feed.RefusedError
		if !errors.As(last, &refused) || refused.Status != test.status || refused.Reason != "not you" || requests != test.requests {
			t.Errorf("%+v: %v after %d requests", test, last, requests)
		}
	}
}

// A choice that was made meanwhile and with which a connection is refused is given up,
// as one over a connection is.
func TestChoiceOfWhichAConnectionIsRefused(t *testing.T) {
	var connections atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("topic") != "" {
			http.Error(w, "no such filter", http.StatusBadRequest)
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.CloseNow() }()
		if connections.Add(1) > 1 {
			send(c, "again "+r.URL.Query().Get("device_id"))
			hold(r, c)
		}
	}))
	defer s.Close()
	f := open(t, s.URL, feed.Options{Choice: feed.Choice{DeviceIDs: []string{"boiler"}}})
	var told []string
	for event, err := range f.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := event.(type) {
		case feed.Lost:
			if len(told) == 0 {
				if err := f.Choose(t.Context(), feed.Choice{Topics: []string{"a/#/b"}}); err != nil {
					t.Error(err)
				}
			}
		case feed.ChoiceRefused:
			told = append(told, e.Message)
		case feed.Data:
			told = append(told, string(e))
		}
		if len(told) == 2 {
			break
		}
	}
	if want := []string{"no such filter", "again boiler"}; !reflect.DeepEqual(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for event, err := range open(t, serveFeed(t, hold), feed.Options{}).Events(ctx) {
		if _, ok := event.(feed.Connected); ok {
			go cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("the last error is %v", last)
	}
}

func TestBadOptions(t *testing.T) {
	for _, url := range []string{"mqtt://broker", "ws:///path", "::", "telemetry"} {
		if _, err := feed.New(url, feed.Options{}); err == nil {
			t.Errorf("%s is taken for a URL of a WebSocket", url)
		}
	}
	if _, err := feed.New("ws://gateway", feed.Options{Interval: -1}); err == nil {
		t.Error("a negative interval is taken")
	}
}
