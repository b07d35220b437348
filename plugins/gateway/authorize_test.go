package gateway_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/plugins/gateway"
)

// TestAuthorize: a refusal has its status, tells the client nothing of its cause, and leaves no place taken.
func TestAuthorize(t *testing.T) {
	answers := map[string]struct {
		permit gateway.Permit
		err    error
	}{
		"good":       {},
		"forbidden":  {err: errors.New("the database said secret")},
		"expired":    {err: fmt.Errorf("no token: %w", gateway.StatusError(http.StatusUnauthorized))},
		"no status":  {err: gateway.StatusError(200)},
		"bad filter": {permit: gateway.Permit{Within: &gateway.Choice{Topics: []string{"a#"}}}},
		"bad device": {permit: gateway.Permit{Within: &gateway.Choice{DeviceIDs: []string{"a/b"}}}},
	}
	log := new(logged)
	g := newGateway(t, gateway.Options{
		MaxConnections: 1, Watch: true, Logger: slog.New(slog.NewTextHandler(log, nil)),
		Authorize: func(r *http.Request) (gateway.Permit, error) {
			answer, ok := answers[r.URL.Query().Get("as")]
			if !ok {
				panic("oops")
			}
			return answer.permit, answer.err
		},
	})
	s := httptest.NewUnstartedServer(g)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.Start()
	t.Cleanup(s.Close)
	for as, want := range map[string]int{"forbidden": 403, "expired": 401, "no status": 403, "bad filter": 500, "bad device": 500} {
		res, body := get(t, http.DefaultClient, s.URL+"?as="+strings.ReplaceAll(as, " ", "+"), nil)
		if res.StatusCode != want || strings.Contains(body, "secret") {
			t.Errorf("%s: status %d, %q", as, res.StatusCode, body)
		}
	}
	if _, err := http.Get(s.URL + "?as=panics"); err == nil {
		t.Error("a panic is not net/http's")
	}
	if g.Connections() != 0 || g.Stats().Refused["on_connect"] != 5 || !strings.Contains(log.String(), "Within.Topics") {
		t.Errorf("%+v\n%s", g.Stats(), log)
	}
	c := dial(t, s.URL+"?as=good", nil) // has the only place, which none of those before has kept
	if res, _ := get(t, http.DefaultClient, s.URL+"?as=good", nil); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more: status %d", res.StatusCode)
	}
	_ = c.CloseNow()
}

// TestAuthorizeIsAskedLast: a page of a strange origin costs it nothing.
func TestAuthorizeIsAskedLast(t *testing.T) {
	var asked atomic.Int64
	g := newGateway(t, gateway.Options{Authorize: func(*http.Request) (gateway.Permit, error) {
		asked.Add(1)
		return gateway.Permit{}, nil
	}})
	res, _ := get(t, http.DefaultClient, serve(t, g), http.Header{"Origin": {"https://evil.test"}})
	if res.StatusCode != http.StatusForbidden || asked.Load() != 0 {
		t.Errorf("status %d, asked %d times", res.StatusCode, asked.Load())
	}
}

// TestWithin: nobody gets more than the permit has, whatever the client asks for, and also not of what was before.
func TestWithin(t *testing.T) {
	permits := map[string]*gateway.Choice{
		"all": nil, "nothing": {}, "boiler": {DeviceIDs: []string{"boiler"}}, "alarms": {Topics: []string{"$devices/+/events/alarm"}},
	}
	g := newGateway(t, gateway.Options{
		Watch: true, History: gateway.History{MaxMessages: 100},
		Authorize: func(r *http.Request) (gateway.Permit, error) {
			return gateway.Permit{Within: permits[r.Header.Get("User")]}, nil
		},
	})
	url := serve(t, g)
	send := func(from int, end string) {
		for i, topic := range []string{"$devices/boiler/events", "$devices/pump/events", "$devices/pump/events/alarm"} {
			if err := g.Broadcast(gateway.Message{EventID: fmt.Sprint(from + i), Topic: topic}); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Broadcast(gateway.Message{EventID: end, Topic: "end"}); err != nil {
			t.Fatal(err)
		}
	}
	send(0, "before")
	type client struct {
		*websocket.Conn
		want string
	}
	clients := map[string]client{}
	for name, tc := range map[string]struct{ user, query, want string }{
		"all":               {"all", "", "0 1 2 before 3 4 5 after"},
		"nothing":           {"nothing", "", ""},
		"boiler":            {"boiler", "", "0 3"},
		"boiler wants more": {"boiler", "&device_id=pump,boiler&topic=%23", "0 3"},
		"alarms":            {"alarms", "", "2 5"},
		"alarms of boiler":  {"alarms", "&device_id=boiler", ""},
	} {
		clients[name] = client{dial(t, url+"?rewind=1h"+tc.query, &websocket.DialOptions{HTTPHeader: http.Header{"User": {tc.user}}}), tc.want}
	}
	send(3, "after")
	go g.Close(t.Context()) // behind all that
	for name, c := range clients {
		var got []string
		for {
			_, p, err := c.Read(t.Context())
			if err != nil {
				break
			}
			for _, id := range []string{"0", "1", "2", "before", "3", "4", "5", "after"} {
				if strings.Contains(string(p), `"event_id":"`+id+`"`) {
					got = append(got, id)
				}
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: got %q, want %q", name, s, c.want)
		}
	}
}

// TestWithinNeedsWatch: a bound that would not hold for all is an error, and not forgotten.
func TestWithinNeedsWatch(t *testing.T) {
	log := new(logged)
	g := newGateway(t, gateway.Options{
		Logger:    slog.New(slog.NewTextHandler(log, nil)),
		Authorize: func(*http.Request) (gateway.Permit, error) { return gateway.Permit{Within: new(gateway.Choice)}, nil },
	})
	res, _ := get(t, http.DefaultClient, serve(t, g), nil)
	if res.StatusCode != http.StatusInternalServerError || !strings.Contains(log.String(), "Options.Watch") {
		t.Errorf("status %d: %s", res.StatusCode, log)
	}
}

// TestExpires: a connection ends with its permit.
func TestExpires(t *testing.T) {
	g := newGateway(t, gateway.Options{Authorize: func(*http.Request) (gateway.Permit, error) {
		return gateway.Permit{Expires: time.Now().Add(50 * time.Millisecond)}, nil
	}})
	c := dial(t, serve(t, g), nil)
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != 4401 {
		t.Errorf("closed with %v", err)
	}
}

// TestSubprotocol: a page can show a token in one, and has another selected, if it offers that.
func TestSubprotocol(t *testing.T) {
	g := newGateway(t, gateway.Options{Authorize: func(r *http.Request) (gateway.Permit, error) {
		if !strings.Contains(r.Header.Get("Sec-Websocket-Protocol"), "token.secret") {
			return gateway.Permit{}, gateway.StatusError(http.StatusUnauthorized)
		}
		return gateway.Permit{Subprotocol: "v1"}, nil
	}})
	url := serve(t, g)
	for selected, offered := range map[string][]string{"v1": {"v1", "token.secret"}, "": {"token.secret"}} {
		if got := dial(t, url, &websocket.DialOptions{Subprotocols: offered}).Subprotocol(); got != selected {
			t.Errorf("selected %q of %v", got, offered)
		}
	}
}
