package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	jwtlib "github.com/golang-jwt/jwt/v5"

	"github.com/iotcast/iotcast/tests/internal/subscriber"
)

// kind is what a client of live state is like.
type kind struct {
	name   string
	wish   func(*rand.Rand) wish
	events bool // it takes server-sent events
	paced  bool // it wants an interval
	calm   bool // it is left in peace
}

var kindWitness = kind{name: "everything, undisturbed", wish: everything, calm: true}

var kinds = []kind{
	{name: "one device", wish: devicesOf(1)},
	{name: "several devices", wish: devicesOf(20)},
	{name: "topic filters", wish: filters},
	{name: "everything", wish: everything},
	{name: "events of some", wish: devicesOf(5), events: true},
	{name: "events of filters", wish: filters, events: true},
	{name: "some at an interval", wish: devicesOf(10), paced: true},
	{name: "all at an interval", wish: everything, paced: true},
}

func everything(*rand.Rand) wish { return wish{} }

func devicesOf(n int) func(*rand.Rand) wish {
	return func(r *rand.Rand) (w wish) {
		for range n {
			w.DeviceIDs = append(w.DeviceIDs, liveDevice(r.IntN(liveDevices)))
		}
		return w
	}
}

func filters(r *rand.Rand) wish {
	all := []string{
		"$devices/+/events/alarm", "$devices/+/events/alarm/#", "$devices/" + liveDevice(r.IntN(liveDevices)) + "/#",
		"$devices/" + liveDevice(r.IntN(liveDevices)) + "/events/+", "$devices/+/state/#",
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return wish{Topics: all[:1+r.IntN(3)]}
}

const viewerInterval = "500ms"

// viewer is one of these clients.
type viewer struct {
	live   *live
	name   string
	path   string
	kind   kind
	claim  *wish // of its token; nil: it has none
	random *rand.Rand

	mu          sync.Mutex
	account     account
	top         int    // the highest number that has come, -1 before the first
	last        string // its event ID, or that of the last that came
	lastNumber  int
	wish        wish
	asked       []question // that are not answered yet
	dialled     int        // the top of the witness when it connected
	due         int        // what is broadcast later is live
	greeting    bool       // the handshake is to be answered by its choice
	connections int
	choices     int
	resumed     int
	open        bool
}

// question is a choice that is on its way, and what had been broadcast before.
type question struct {
	wish  wish
	least int
}

// bounds are a claim at random: a device in two and the alarms of all, or some devices.
func (v *viewer) bounds() *wish {
	if v.kind.calm {
		return &wish{Topics: []string{"$devices/#"}}
	}
	w := &wish{Topics: []string{"$devices/+/events/alarm"}}
	if v.random.IntN(2) == 0 {
		w.Topics[0] = "$devices/" + liveDevice(v.random.IntN(liveDevices)) + "/#"
	}
	for i := v.random.IntN(2); i < liveDevices; i += 2 {
		w.DeviceIDs = append(w.DeviceIDs, liveDevice(i))
	}
	return w
}

func (v *viewer) wants(w wish) func(topic string) bool {
	return func(topic string) bool { return w.covers(topic) && (v.claim == nil || v.claim.covers(topic)) }
}

// broadcast is the highest number of which it is known that all up to it have been
// broadcast on the path.
func (v *viewer) broadcast() int {
	w := v.live.witness[v.path]
	if w == v {
		return -1
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.top
}

// run connects, and comes back, until ctx ends; until calm does there is mischief.
func (v *viewer) run(ctx, calm context.Context) {
	topics := liveTopics()
	v.mu.Lock()
	v.account = account{
		topics: topics, wants: make([]bool, len(topics)), least: make([]int, len(topics)),
		most: make([]int, len(topics)), sure: make([]int, len(topics)), served: make([]int, len(topics)),
		paced: v.kind.paced, lossy: v.path == pathSlow,
	}
	v.top, v.wish = -1, v.kind.wish(v.random)
	v.mu.Unlock()
	for ctx.Err() == nil {
		v.connection(ctx, calm)
		sleep(ctx, time.Duration(v.random.Int64N(int64(2*time.Second))))
	}
}

// query is what the client says when it connects, and what that means for its account.
func (v *viewer) query() (query url.Values, opened func(most int)) {
	query = url.Values{}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.kind.events && v.random.IntN(2) == 0 { // it can choose only here
		v.wish = v.kind.wish(v.random)
		v.choices++
	}
	for _, id := range v.wish.DeviceIDs {
		query.Add("device_id", id)
	}
	for _, filter := range v.wish.Topics {
		query.Add("topic", filter)
	}
	wants, least := v.wants(v.wish), v.dialled
	if v.kind.paced {
		query.Set("interval", viewerInterval)
	}
	another := v.random.IntN(10)
	switch {
	case v.last != "" && another > 2:
		query.Set("last_event_id", v.last)
		if number := v.lastNumber; !v.kind.paced {
			return query, func(int) {
				v.resumed++
				v.account.goOn(wants, number)
			}
		}
		v.resumed++ // what it gets are the last values
	case another == 1 && !v.kind.calm && !v.kind.paced:
		query.Set("latest", "false")
		return query, func(most int) { v.account.live(wants, least, most) }
	case another == 2 && !v.kind.calm && !v.kind.paced && v.path != pathOpen:
		query.Set("rewind", "20s")
		return query, func(int) { v.account.rewound(wants, least) }
	}
	return query, func(most int) { v.account.begin(wants, least, most) }
}

// line is what a client reads from, and writes to.
type line interface {
	read(ctx context.Context) ([]byte, error)
	cut()
}

type webSocketLine struct{ *websocket.Conn }

func (l webSocketLine) read(ctx context.Context) ([]byte, error) {
	_, data, err := l.Read(ctx)
	return data, err
}

func (l webSocketLine) cut() { _ = l.CloseNow() }

type eventLine struct {
	res *http.Response
	in  *bufio.Reader
}

func (l *eventLine) read(context.Context) ([]byte, error) {
	for {
		text, err := l.in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if data, ok := strings.CutPrefix(text, "data: "); ok {
			return []byte(data), nil
		}
	}
}

func (l *eventLine) cut() { _ = l.res.Body.Close() }

// narrow are connections that hold little, so that a client that does not read is slow
// soon.
var narrow = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialNarrow}}

func dialNarrow(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		err = nc.(*net.TCPConn).SetReadBuffer(8 << 10)
	}
	return nc, err
}

func (v *viewer) dial(ctx context.Context, query url.Values) (line, error) {
	header := http.Header{}
	if v.claim != nil {
		token, err := jwtlib.NewWithClaims(jwtlib.SigningMethodHS256, jwtlib.MapClaims{
			"exp": time.Now().Add(time.Hour).Unix(), "devices": append(append([]string{}, v.claim.DeviceIDs...), v.claim.Topics...),
		}).SignedString([]byte(liveSecret))
		if err != nil {
			return nil, err
		}
		header.Set("Authorization", "Bearer "+token)
	}
	address := "http://" + v.live.node.gateway + v.path + "?" + query.Encode()
	if !v.kind.events {
		options := &websocket.DialOptions{HTTPHeader: header, HTTPClient: narrow, CompressionMode: websocket.CompressionDisabled}
		if v.random.IntN(2) == 0 {
			options.CompressionMode = websocket.CompressionNoContextTakeover
		}
		dialing, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		c, _, err := websocket.Dial(dialing, address, options)
		if err != nil {
			return nil, err
		}
		c.SetReadLimit(-1)
		return webSocketLine{c}, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Header.Set("Accept", "text/event-stream")
	res, err := narrow.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, errors.New(res.Status)
	}
	return &eventLine{res: res, in: bufio.NewReader(res.Body)}, nil
}

// connection is one connection, until it is lost.
func (v *viewer) connection(ctx, calm context.Context) {
	v.dialled = v.broadcast()
	query, opened := v.query()
	l, err := v.dial(ctx, query)
	if err != nil {
		if ctx.Err() == nil {
			v.fail("connecting: %v", err)
			sleep(ctx, time.Second)
		}
		return
	}
	v.mu.Lock()
	v.connections++
	v.asked, v.open = nil, true
	v.greeting = query.Has("device_id") || query.Has("topic")
	v.due = v.live.publisher.Sent() - 1
	opened(v.due)
	v.mu.Unlock()
	var stalled sync.Mutex // held while it does not read
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			stalled.Lock()
			stalled.Unlock() //nolint:gocritic,staticcheck // a turnstile
			data, err := l.read(ctx)
			if err != nil {
				return
			}
			v.take(data)
		}
	}()
	v.mischief(calm, l, &stalled, ended)
	select {
	case <-ended:
	default:
		if calm.Err() == nil {
			break
		}
		select { // it stays until all is over
		case <-ended:
		case <-ctx.Done():
		}
	}
	l.cut()
	<-ended
	v.mu.Lock()
	v.open = false
	v.mu.Unlock()
}

// mischief returns when the connection is to be cut, was lost, or all is to be calm.
func (v *viewer) mischief(calm context.Context, l line, stalled *sync.Mutex, ended chan struct{}) {
	for {
		pause := time.Duration(v.random.Int64N(int64(4 * time.Second)))
		what := v.random.IntN(4)
		if v.kind.calm {
			what = -1
		}
		select {
		case <-time.After(pause):
		case <-ended:
			return
		case <-calm.Done():
			return
		}
		switch what {
		case 0:
			return
		case 1:
			stalled.Lock()
			sleep(calm, time.Duration(v.random.Int64N(int64(4*time.Second))))
			stalled.Unlock()
		case 2, 3:
			if ws, ok := l.(webSocketLine); ok {
				v.choose(calm, ws)
			}
		}
	}
}

// choose asks for another choice, if the client has all that it had to get first: the
// history or the last values, of which the rest would come by the other one.
func (v *viewer) choose(ctx context.Context, ws webSocketLine) {
	least := v.broadcast()
	v.mu.Lock()
	rewinding := v.account.past && v.lastNumber <= v.due
	if len(v.asked) > 0 || v.account.lacks(v.due) != "" || rewinding {
		v.mu.Unlock()
		return
	}
	q := question{wish: v.kind.wish(v.random), least: least}
	v.asked = append(v.asked, q)
	v.mu.Unlock()
	text, _ := json.Marshal(map[string]wish{"watch": q.wish})
	_ = ws.Write(ctx, websocket.MessageText, text) // or it is lost
}

// take enters what has come in the account.
func (v *viewer) take(data []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var e struct {
		subscriber.Envelope
		Watch *wish           `json:"watch"`
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(data, &e); err != nil || e.Error != nil {
		v.account.fail("got %.300q: %v", data, err)
		return
	}
	a := &v.account
	switch {
	case e.Gap != nil && e.Gap.Reason == "history":
		a.told++
		a.begin(v.wants(v.wish), v.dialled, v.live.publisher.Sent()-1)
	case e.Gap != nil && a.lossy:
		a.gap()
	case e.Gap != nil:
		a.fail("a gap of its own making: %s", data)
	case e.Watch != nil && v.greeting:
		v.greeting = false
	case e.Watch != nil && len(v.asked) == 0:
		a.fail("an answer to no question: %s", data)
	case e.Watch != nil:
		q := v.asked[0]
		v.asked = v.asked[1:]
		a.end(q.least)
		v.wish, v.dialled = q.wish, q.least
		v.choices++
		v.due = v.live.publisher.Sent() - 1
		a.begin(v.wants(v.wish), q.least, v.due)
	}
	for _, m := range e.Messages {
		n, err := strconv.Atoi(strings.TrimRight(string(m.Details.Payload), " "))
		if err != nil {
			a.fail("payload %q was never sent", m.Details.Payload)
			continue
		}
		a.take(n, m.Details.Topic)
		v.last, v.lastNumber = m.EventMetadata.EventID, n
		v.top = max(v.top, n)
	}
}

// has reports whether the client has the last value of all that it watches.
func (v *viewer) has(n int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.open && len(v.asked) == 0 && v.account.lacks(n) == ""
}

func (v *viewer) lacks(n int) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return fmt.Sprintf("%s (connected: %t, choices without an answer: %d)", v.account.lacks(n), v.open, len(v.asked))
}

func (v *viewer) fail(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.account.fail(format, args...)
}
