package control

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/iotcast/iotcast/internal/staticfile"
)

const (
	// eventHeartbeat is how often a client gets a sign of life, and is asked again whether its token is still good.
	eventHeartbeat = 10 * time.Second
	// eventPatience is how long a client may take for eventChunk bytes. What is to be told meanwhile waits elsewhere.
	eventPatience = time.Minute
	eventChunk    = 64 << 10
	// eventFarewell is how long it may take for the end, for which nobody should wait.
	eventFarewell = time.Second
	// eventInterval is the time from one event to the next, at least.
	eventInterval = 100 * time.Millisecond
)

// closingKey is under which the contexts of requests have the one that ends when their server begins to.
type closingKey struct{}

// serveEvents answers with server-sent events (WHATWG HTML, section 9.2), each of them what next returns, in JSON. It ends with
// the client, with its token, with the server, or when next fails. Next is called again when an event is written, and not
// before the interval is over, so it may gather.
func serveEvents(
	ctx context.Context, w http.ResponseWriter, r *http.Request, heartbeat time.Duration, next func(context.Context) (any, error),
) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if closing, ok := ctx.Value(closingKey{}).(context.Context); ok {
		defer context.AfterFunc(closing, stop)()
	}
	out := newEventWriter(ctx, w, r)
	defer out.close()
	comment := []byte(":\n\n")
	if !out.write(comment) { // so that the client knows that it is let in
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
	for {
		select {
		case event, more := <-events:
			text, err := json.Marshal(event)
			if !more || err != nil || !out.write(slices.Concat([]byte("data: "), text, []byte("\n\n"))) {
				return
			}
		case <-beat.C:
			if !out.write(comment) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// eventWriter writes events, compressed if the client takes that, as long as it may have them.
type eventWriter struct {
	ctx    context.Context
	r      *http.Request
	w      http.ResponseWriter
	out    *http.ResponseController
	asked  time.Time // whether the token is still good
	failed bool

	compressed *gzip.Writer // nil: nothing is
}

func newEventWriter(ctx context.Context, w http.ResponseWriter, r *http.Request) *eventWriter {
	e := &eventWriter{ctx: ctx, r: r, w: w, out: http.NewResponseController(w), asked: time.Now()}
	_ = e.out.SetReadDeadline(time.Time{}) // that of the server is for requests, and would end this one
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	h.Add("Vary", "Accept-Encoding")
	if staticfile.TakesGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		e.compressed, _ = gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is valid
	}
	return e
}

// write reports whether the client has got all of a text, and may get more.
func (e *eventWriter) write(text []byte) bool {
	for part := range slices.Chunk(text, eventChunk) { // a client on a slow link reads, too
		if e.ctx.Err() != nil || !e.known() {
			return false
		}
		_ = e.out.SetWriteDeadline(time.Now().Add(eventPatience))
		if e.send(part) != nil || e.out.Flush() != nil {
			e.failed = true
			return false
		}
	}
	return true
}

func (e *eventWriter) send(part []byte) (err error) {
	if e.compressed == nil {
		_, err = e.w.Write(part)
		return err
	}
	if _, err = e.compressed.Write(part); err != nil {
		return err
	}
	return e.compressed.Flush()
}

// known reports whether the caller may stay: a token may have run out meanwhile.
func (e *eventWriter) known() bool {
	if time.Since(e.asked) < eventHeartbeat {
		return true
	}
	e.asked = time.Now()
	return callerOf(e.ctx).again(e.ctx, e.r.Header) == nil
}

// close ends what is compressed, where the client is still there.
func (e *eventWriter) close() {
	if e.compressed != nil && !e.failed {
		_ = e.out.SetWriteDeadline(time.Now().Add(eventFarewell))
		_ = e.compressed.Close()
	}
}
