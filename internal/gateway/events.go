package gateway

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// wantsEvents reports whether a request is for server-sent events (WHATWG HTML,
// section 9.2) and not for a WebSocket.
func wantsEvents(req *http.Request) bool {
	if req.Method != http.MethodGet || req.Header.Get("Upgrade") != "" {
		return false
	}
	for _, line := range req.Header.Values("Accept") {
		for one := range strings.SplitSeq(line, ",") {
			if kind, _, err := mime.ParseMediaType(one); err == nil && kind == eventStreamType {
				return true
			}
		}
	}
	return false
}

const (
	eventStreamType   = "text/event-stream"
	headerLastEventID = "Last-Event-Id" // by it a browser goes on where it left off
)

// share lets a page read the answer to its request (Fetch, section 3.2): a stream, or why
// there is no connection. The caller must have checked that the origin may connect. A
// request with cookies may be read, too, since a handshake has them.
func share(h http.Header, req *http.Request) {
	if from := req.Header.Get("Origin"); from != "" {
		h.Set("Access-Control-Allow-Origin", from)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Vary", "Origin")
	}
}

// openEvents answers a visitor who may connect with a stream of events, which ends with
// the connection. Whoever reads it is a connection like others, but sends nothing.
func openEvents(w http.ResponseWriter, v *verdict, id string, to door) *refusal {
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return v.withoutSocket(err)
	}
	h := w.Header()
	h.Set("Content-Type", eventStreamType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	h.Set("Connection", "close")     // its end is that of the stream (RFC 9112, section 6.3)
	h.Set(headerConnectionID, id)
	share(h, v.req) // authorise has checked the origin
	var answer bytes.Buffer
	fmt.Fprintf(&answer, "HTTP/1.1 200 %s\r\n", http.StatusText(http.StatusOK))
	_ = h.Write(&answer)            // into memory
	answer.WriteString("\r\n:\n\n") // and a comment: nginx with HTTP/2 holds the header back until something follows
	to.client.Prelude, to.client.Events = answer.Bytes(), true
	to.hub.Attach(nc, to.client)
	return nil
}
