package tests

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// launchWithHistory starts a trigger with an iotcast whose route /telemetry has
// a history, and returns when it is connected. Pages of this machine may connect.
func (c *iotcast) launchWithHistory(history, stream string, settings ...string) {
	c.t.Helper()
	config := strings.Replace(root(c.gateway, c.http, settings...),
		"{ path: /telemetry }", `{ path: /telemetry, allowed_origins: [ "127.0.0.1:*" ], history: { `+history+` } }`, 1)
	c.launch("run", writeFile(c.t, config+stream))
	c.waitLog("Launching")
	c.waitReady()
}

// numbers are the messages that hold the numbers from first to last.
func numbers(first, last int) []message {
	var all []message
	for n := first; n <= last; n++ {
		all = append(all, message{topic: "hall/press", payload: strconv.AppendInt(nil, int64(n), 10)})
	}
	return all
}

// The network between browsers and a gateway is cut again and again while
// messages flow: each goes on where it was, with neither gap nor repeat. (The page
// is of another origin, and takes the client from the gateway.) Then
// the gateway is started anew and knows nothing of before: they are told so,
// and get all that it has.
func TestResume(t *testing.T) {
	t.Parallel()
	const batches, each, cuts = 600, 5, 4
	b := startMosquitto(t)
	cast := newIotcast(t)
	stream := trigger(b, "broker_id: factory\nclient_id: iotcast-resume\nclean_session: false\nbatching: { count: 7, period: 20ms }", "")
	cast.launchWithHistory("max_messages: 100000", stream, "viewer: /")
	page := startFakeGateway(t)
	n := startProxy(t, cast.gateway)
	var feeds []*feed
	for _, follow := range everyone() {
		f := follow(t, page.addr, cast.gateway, "ws://"+n.Addr()+"/telemetry", "")
		f.wait("open", 1)
		feeds = append(feeds, f)
	}

	published := make(chan int, batches)
	done := make(chan struct{})
	go func() {
		defer close(done)
		client := b.publisher()
		for i := range batches {
			for _, m := range numbers(i*each, i*each+each-1) {
				waitToken(t, "publishing", client.Publish(m.topic, 1, false, m.payload))
			}
			published <- i
		}
	}()
	for i := range cuts {
		for range batches / cuts / 3 {
			<-published
		}
		n.Cut()
		for range batches / cuts / 3 {
			<-published
		}
		for _, f := range feeds {
			f.wait("waiting", i+1)
		}
		n.Mend()
		for _, f := range feeds {
			f.wait("open", i+2)
		}
	}
	<-done
	const total = batches * each
	for _, f := range feeds {
		f.wait("message", total)
		f.mustTell(fmt.Sprintf("0-%d", total-1))
	}

	cast.terminate()
	b.publish(1, numbers(total, total+9)...) // the broker keeps them
	cast.launchWithHistory("max_messages: 100000", stream, "viewer: /")
	b.publish(1, numbers(total+10, total+19)...)
	for _, f := range feeds {
		f.wait("message", total+20)
		f.mustTell(fmt.Sprintf("0-%d history %d-%d", total-1, total, total+19))
	}
}

// A client that is too slow is told how many messages were dropped for it, where
// they are missing.
func TestDropOldestIsTold(t *testing.T) {
	t.Parallel()
	const total, size = 1500, 20 << 10 // more than fits into sockets
	b := startMosquitto(t)
	cast := newIotcast(t)
	cast.launchWithHistory("max_messages: 10", trigger(b, "broker_id: factory", ""), "slow_consumer: drop_oldest", "queue_bytes: 1000000")
	f := followers["node"](t, "", "", cast.url("/telemetry"), "")
	f.wait("open", 1)
	f.signal(syscall.SIGSTOP)
	large := make([]message, total)
	for n := range large {
		large[n] = message{topic: "hall/press", payload: []byte(strings.Repeat("0", size) + strconv.Itoa(n))}
	}
	b.publish(1, large...)
	eventually(t, "all are sent", func() bool { return cast.metric("websocket_messages", "") >= total })
	f.signal(syscall.SIGCONT)
	eventually(t, "the last message has come", func() bool { return strings.HasSuffix(f.story(), strconv.Itoa(total-1)) })

	dropped, gaps, next := 0, 0, 0
	for _, e := range f.told() {
		switch e.Event {
		case "gap":
			gaps++
			dropped += e.Dropped
			next += e.Dropped
		case "message":
			if n, _ := strconv.Atoi(e.Text); n != next {
				t.Fatalf("message %d where %d was due, after %d gaps", n, next, gaps)
			}
			next++
		case "waiting":
			t.Error("the connection was closed")
		}
	}
	if gaps == 0 || next != total {
		t.Errorf("%d gaps of %d messages, and then %d of %d", gaps, dropped, next, total)
	}
	t.Logf("%d gaps of %d messages", gaps, dropped)
}

// jwt is a token that expires, signed with HS256.
func jwt(secret string, lifetime time.Duration) string {
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(fmt.Appendf(nil, `{"sub":"page","exp":%d}`, time.Now().Add(lifetime).Unix()))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

// The token of a page expires: it goes on with the next, and misses nothing.
func TestResumeWithTheNextToken(t *testing.T) {
	t.Parallel()
	const secret = "a-secret-of-32-bytes-or-more-than-that"
	b := startMosquitto(t)
	cast := newIotcast(t)
	cast.launchWithHistory("max_messages: 1000", trigger(b, "broker_id: factory", ""),
		`tokens: { secret: "`+secret+`", subprotocol_prefix: "bearer." }`)
	page := startFakeGateway(t)
	f := followers["chromium"](t, page.addr, page.addr, cast.url("/telemetry"), `, "subprotocolPrefix": "bearer."`+page.giveTokens(
		func() string { return jwt(secret, 5*time.Second) },
		func() string { return jwt("another secret of that many bytes", time.Hour) },
		func() string { return jwt(secret, time.Hour) }))
	f.wait("open", 1)
	b.publish(1, numbers(0, 9)...)
	f.wait("message", 10)
	f.wait("waiting", 1)
	b.publish(1, numbers(10, 19)...)
	f.wait("message", 20)
	f.mustTell("0-19")
	var codes []int
	for _, e := range f.told() {
		if e.Event == "waiting" {
			codes = append(codes, e.Code)
		}
	}
	if len(codes) != 2 || codes[0] != 4401 || codes[1] != 1006 {
		t.Errorf("close codes %v, want 4401 for the token that has expired, and 1006 for the one that is refused", codes)
	}
}

// The viewer says what happens to its connection, and what that costs.
func TestViewerResumes(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := newIotcast(t)
	stream := trigger(b, "broker_id: factory", "")
	cast.launchWithHistory("max_messages: 1000", stream, "viewer: /")
	n := startProxy(t, cast.gateway)
	v := openViewer(t, "http://"+n.Addr()+"/?path=/telemetry")
	live := func(s shown) bool { return s.State == "live" }
	v.wait("a connection", live)
	b.publish(1, numbers(0, 9)...)
	v.waitMessages(10)

	n.Cut()
	v.wait("the loss", func(s shown) bool {
		return s.State == "reconnecting" && strings.HasPrefix(s.Pill, "Reconnecting in ") && s.Notice != ""
	})
	b.publish(1, numbers(10, 19)...)
	v.look("viewer-lost")
	n.Mend()
	v.wait("all that came meanwhile", func(s shown) bool { return s.Messages == 20 && s.Resumed == 1 && live(s) })
	if s := v.look("viewer-resumed"); s.Gaps != 0 || !strings.HasSuffix(strings.Join(s.Notes, "|"), "nothing is missing.") {
		t.Errorf("after a cut: %+v", s)
	}

	cast.terminate()
	cast.launchWithHistory("max_messages: 1000", stream, "viewer: /")
	v.wait("a gap", func(s shown) bool { return s.Gaps == 1 && live(s) })
	b.publish(1, numbers(20, 29)...)
	v.waitMessages(30)
	if s := v.look("viewer-gap"); !strings.HasPrefix(s.Notice, "Messages are missing.") || !strings.HasPrefix(s.Notes[0], "Messages are missing.") || s.Resumed != 1 {
		t.Errorf("after a restart: %+v", s)
	}
}
