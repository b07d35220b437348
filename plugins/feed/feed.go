// Package feed receives the messages of an iotcast gateway's path: one WebSocket
// after another, as if it were one that never breaks. It needs nothing of Benthos.
//
//	f, err := feed.New("wss://gateway.example/telemetry", feed.Options{})
//	if err != nil {
//		return err
//	}
//	for event, err := range f.Events(ctx) {
//		if err != nil {
//			return err // ctx is done, or the gateway refuses for good
//		}
//		switch e := event.(type) {
//		case feed.Message:
//			payload, err := e.Payload()
//			…
//		case feed.Gap:
//			… // messages are missing here
//		}
//	}
package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/version"
)

const (
	attempt = 20 * time.Second // for the token and the handshake
	proven  = 5 * time.Second  // open, after which the next loss is a new one: until then the waits go on growing
	denials = 5                // with 401 in a row, after which the tokens of a function are taken for no good
	expired = websocket.StatusCode(4401)
)

// ErrNotConnected is the error of Send while there is no connection.
var ErrNotConnected = errors.New("feed: there is no connection now, and nothing was sent")

// Feed is the messages of a path. Its methods may be called by any goroutine, but
// only one at a time ranges over Events.
type Feed struct {
	url     *url.URL
	options Options
	seen    recent // of the goroutine that ranges over Events

	sending sync.Mutex // keeps one choice from overtaking the other
	mu      sync.Mutex
	choice  Choice   // the newest that was not refused
	granted Choice   // the newest that was accepted
	asked   []Choice // those that the connection was told and has not answered
	conn    *websocket.Conn
	last    string
}

// New checks the URL and the options. The URL is that of the path: ws:, wss:,
// http: or https:, with more parameters if need be.
func New(address string, options Options) (*Feed, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss" && u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("feed: %q is no URL of a WebSocket: it begins with ws:// or wss://", u.Redacted())
	case options.Interval < 0 || options.Rewind < 0 || options.MinWait < 0 || options.MaxWait < 0:
		return nil, errors.New("feed: a duration in the options is negative")
	}
	if options.Heartbeat == 0 {
		options.Heartbeat = 30 * time.Second
	}
	if options.MinWait == 0 {
		options.MinWait = time.Second
	}
	if options.MaxWait == 0 {
		options.MaxWait = 30 * time.Second
	}
	u.Fragment = ""
	return &Feed{url: u, options: options, choice: options.Choice, granted: options.Choice, last: options.LastEventID}, nil
}

// LastEventID is the event ID behind which the next connection goes on. Keep it
// to go on after the program was started anew.
func (f *Feed) LastEventID() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Choose changes whose messages come, without another connection. The answer is
// an event, Watching or ChoiceRefused; after that the choice before is in force still. Without a
// connection the next one asks for this choice.
func (f *Feed) Choose(ctx context.Context, choice Choice) error {
	f.sending.Lock()
	defer f.sending.Unlock()
	f.mu.Lock()
	f.choice = choice
	conn := f.conn
	if conn != nil {
		f.asked = append(f.asked, choice)
	}
	f.mu.Unlock()
	if conn == nil {
		return nil
	}
	// If this fails, the connection is lost, and the next one asks for the choice.
	_ = conn.Write(ctx, websocket.MessageText, choice.message())
	return ctx.Err()
}

// Send sends a text message to the path's handlers.
func (f *Feed) Send(ctx context.Context, text string) error {
	f.mu.Lock()
	conn := f.conn
	f.mu.Unlock()
	if conn == nil {
		return ErrNotConnected
	}
	return conn.Write(ctx, websocket.MessageText, []byte(text))
}

// Events connects, and again whenever the connection is lost, until ctx is done,
// the loop ends or the gateway refuses for good; the error is the last of it then. No
// connection and no goroutine outlives the loop. Another loop goes on behind the last event.
// To leave the loop says goodbye to the gateway, which has 5 s for its answer;
// ctx cuts the connection at once.
//
// While the body of the loop works, nothing is read, not even pings: what takes
// longer than the gateway's ping_timeout belongs elsewhere.
func (f *Feed) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		failed, denied, opened := 0, 0, false
		for {
			conn, asked, err := f.dial(ctx)
			if err == nil {
				began := time.Now()
				goOn := yield(Connected{}, nil)
				if opened && f.LastEventID() == "" {
					goOn = goOn && yield(Gap{Reason: "no_event_id"}, nil)
				}
				opened, denied = true, 0
				if goOn {
					goOn, err = f.receive(ctx, conn, asked, yield)
				}
				f.leave(conn)
				if !goOn {
					return
				}
				if time.Since(began) >= proven {
					failed = 0
				}
			}
			if ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			if refused := (*RefusedError)(nil); errors.As(err, &refused) {
				if refused.Status == http.StatusUnauthorized {
					denied++
				}
				if refused.Status == http.StatusBadRequest && f.giveUp(asked) {
					if !yield(ChoiceRefused{"watch", refused.Reason}, nil) {
						return
					}
				} else if refused.Status != http.StatusUnauthorized || f.options.Token == nil || denied >= denials {
					yield(nil, refused)
					return
				}
			}
			// Full jitter: many clients that lost the same server come back one by one.
			limit := min(f.options.MaxWait, f.options.MinWait<<min(failed, 20))
			wait := time.Duration(rand.Float64() * float64(limit))
			failed++
			if !yield(Lost{Err: err, Wait: wait}, nil) {
				return
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
	}
}

// dial also returns the choice that it has asked for.
func (f *Feed) dial(ctx context.Context) (*websocket.Conn, Choice, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	header := f.options.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", version.UserAgent())
	}
	if f.options.Token != nil {
		token, err := f.options.Token(ctx)
		if err != nil {
			return nil, Choice{}, fmt.Errorf("feed: getting a token: %w", err)
		}
		header.Set("Authorization", "Bearer "+token)
	}
	f.mu.Lock()
	choice, last := f.choice, f.last
	f.mu.Unlock()
	target := *f.url
	query := f.query(choice, last)
	target.RawQuery = query.Encode()
	options := &websocket.DialOptions{HTTPClient: f.options.HTTPClient, HTTPHeader: header}
	conn, response, err := websocket.Dial(ctx, target.String(), options)
	if err == nil {
		conn.SetReadLimit(-1) // an envelope is as large as the trigger makes it
		f.mu.Lock()
		f.granted, f.asked = choice, nil
		if query.Has("device_id") || query.Has("topic") { // which is answered, too
			f.asked = []Choice{choice}
		}
		f.mu.Unlock()
		return conn, choice, nil
	}
	if response != nil {
		switch response.StatusCode {
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
			reason, _ := io.ReadAll(io.LimitReader(response.Body, 200)) // Dial keeps the beginning, and has closed the body
			return nil, choice, &RefusedError{response.StatusCode, strings.TrimSpace(string(reason))}
		}
	}
	return nil, choice, fmt.Errorf("feed: connecting: %w", err)
}

func (f *Feed) query(choice Choice, last string) url.Values {
	query := f.url.Query()
	for _, id := range choice.DeviceIDs {
		query.Add("device_id", id)
	}
	for _, filter := range choice.Topics {
		query.Add("topic", filter)
	}
	if f.options.Interval > 0 {
		query.Set("interval", f.options.Interval.String())
	}
	if f.options.NoLatest {
		query.Set("latest", "false")
	}
	if f.options.Heartbeat > 0 {
		query.Set("heartbeat", f.options.Heartbeat.String())
	}
	if last != "" {
		query.Set("last_event_id", last)
	} else if f.options.Rewind > 0 {
		query.Set("rewind", f.options.Rewind.String())
	}
	return query
}

// receive yields what comes until the connection is lost, which err says, or the loop ends.
func (f *Feed) receive(ctx context.Context, conn *websocket.Conn, asked Choice, yield func(Event, error) bool) (goOn bool, err error) {
	f.sending.Lock()
	f.mu.Lock()
	f.conn = conn
	newest := f.choice
	if !newest.equal(asked) {
		f.asked = append(f.asked, newest)
	}
	f.mu.Unlock()
	if !newest.equal(asked) { // chosen during the handshake
		_ = conn.Write(ctx, websocket.MessageText, newest.message()) // the loss is Read's to tell
	}
	f.sending.Unlock()
	beats := false // a server that does not know the parameter never sends heartbeats
	for {
		data, err := f.read(ctx, conn, beats)
		if err != nil {
			if websocket.CloseStatus(err) == expired && f.options.Token == nil {
				return true, &RefusedError{int(expired), "the token has expired"}
			}
			return true, err
		}
		answer, ok := parse(data)
		if !ok {
			if !yield(Data(data), nil) {
				return false, nil
			}
			continue
		}
		beats = beats || answer.beat()
		if answer.Watch != nil || answer.Error != nil {
			f.answered(answer.Error == nil)
		}
		for _, event := range answer.events() {
			if !yield(event, nil) {
				return false, nil
			}
		}
		if !f.give(answer.Messages, answer.Position, yield) {
			return false, nil
		}
	}
}

func (f *Feed) read(ctx context.Context, conn *websocket.Conn, beats bool) ([]byte, error) {
	if beats {
		silence := f.options.Heartbeat * 5 / 2
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, silence, fmt.Errorf("feed: nothing came for %v, the link is taken for dead", silence))
		defer cancel()
	}
	_, data, err := conn.Read(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return data, err
}

// answered takes the gateway's answer to the first of the choices that wait for one.
func (f *Feed) answered(accepted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.asked) == 0 {
		return
	}
	first := f.asked[0]
	f.asked = f.asked[1:]
	if accepted {
		f.granted = first
	} else if f.choice.equal(first) {
		f.choice = f.granted
	}
}

// giveUp goes back to the choice before one with which the gateway has refused a
// connection. It is false if there was none: then something else is wrong.
func (f *Feed) giveUp(asked Choice) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if asked.equal(f.granted) {
		return false
	}
	if f.choice.equal(asked) {
		f.choice = f.granted
	}
	return true
}

// goOnBehind notes an event ID behind which to go on, if there is one.
func (f *Feed) goOnBehind(id string) {
	if id == "" {
		return
	}
	f.mu.Lock()
	f.last = id
	f.mu.Unlock()
}

// give yields the messages that were not seen before. The server resumes behind a
// whole envelope: nothing of it counts as seen before its last message. Behind last
// values, which may be old, it says the position.
func (f *Feed) give(all []wire, position string, yield func(Event, error) bool) bool {
	fresh := make([]wire, 0, len(all))
	for _, m := range all {
		if !f.seen.has(m.Metadata.EventID) {
			fresh = append(fresh, m)
		}
	}
	if len(fresh) == 0 {
		f.goOnBehind(position)
	}
	for i, m := range fresh {
		if i == len(fresh)-1 {
			f.goOnBehind(cmp.Or(position, all[len(all)-1].Metadata.EventID))
		}
		if f.seen.has(m.Metadata.EventID) { // twice in this envelope
			continue
		}
		f.seen.add(m.Metadata.EventID)
		if !yield(m.message(f.options.JSON), nil) {
			return false
		}
	}
	return true
}

// leave closes the connection for all who may still write to it.
func (f *Feed) leave(conn *websocket.Conn) {
	f.mu.Lock()
	f.conn = nil
	f.mu.Unlock()
	_ = conn.Close(websocket.StatusNormalClosure, "") // a lost one is closed already
}
