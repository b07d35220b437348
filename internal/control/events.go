package control

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

const (
	// eventHeartbeat is how often a client gets a sign of life, and is asked again whether its token is still good.
	eventHeartbeat = 10 * time.Second
	// eventPatience is how long a client may take for eventChunk bytes. What is to be told meanwhile waits elsewhere.
	eventPatience = time.Minute
	eventChunk    = 64 << 10
	// eventInterval is the time from one event to the next, at least.
	eventInterval = 100 * time.Millisecond
)

// closingKey is under which the contexts of requests have the one that ends when their server begins to.
type closingKey struct{}

// serveEvents answers with server-sent events (WHATWG HTML, section 9.2), each of them what next returns, in JSON. It ends with
// the client, with its token, with the server, or when next fails. Next is called again when an event is written, and not
// before the interval is over, so it may gather.
func serveEvents(ctx context.Context, w http.ResponseWriter, r *http.Request, heartbeat time.Duration, next func(context.Context) (any, error)) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if closing, ok := ctx.Value(closingKey{}).(context.Context); ok {
		defer context.AfterFunc(closing, stop)()
	}
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // that of the server is for requests, and would end this one
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	write := func(text []byte) bool {
		for part := range slices.Chunk(text, eventChunk) { // a client on a slow link reads, too
			_ = out.SetWriteDeadline(time.Now().Add(eventPatience))
			if _, err := w.Write(part); err != nil || out.Flush() != nil {
				return false
			}
		}
		return true
	}
	comment := []byte(":\n\n")
	if !write(comment) { // so that the client knows that it is let in
		return
	}
	events := make(chan any)
	go func() {
		defer close(events)
		for {
			event, err := next(ctx)
			if err != nil {
				return
			}
			select {
			case events <- event:
			case <-ctx.Done():
				return
			}
			if !pause(ctx, eventInterval) {
				return
			}
		}
	}()
	defer func() { // next is not to be called any more
		stop()
		for range events { // it ends at once
		}
	}()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	asked := time.Now()
	known := func() bool { // a token may have run out meanwhile
		if time.Since(asked) < eventHeartbeat {
			return true
		}
		asked = time.Now()
		return callerOf(ctx).again(ctx, r.Header) == nil
	}
	for {
		select {
		case event, more := <-events:
			if ctx.Err() != nil || !known() {
				return
			}
			text, err := json.Marshal(event)
			if !more || err != nil || !write(slices.Concat([]byte("data: "), text, []byte("\n\n"))) {
				return
			}
		case <-beat.C:
			if !write(comment) {
				return
			}
		case <-ctx.Done():
			return
		}
		if !known() {
			return
		}
	}
}
