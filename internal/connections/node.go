package connections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/iotcast/iotcast/internal/access"
)

// What one node asks of another.
const (
	methodGet        = "get"
	methodSend       = "send"
	methodDisconnect = "disconnect"
	methodList       = "list"
	methodBroadcast  = "broadcast"
)

// nodeRequest is how it asks, in JSON.
type nodeRequest struct {
	Method       string `json:"method"`
	ConnectionID string `json:"connection_id,omitempty"` // to get, send and disconnect
	Query        *Query `json:"query,omitempty"`         // to list
	Gateway      string `json:"gateway,omitempty"`       // to broadcast
	Path         string `json:"path,omitempty"`          // to broadcast
	Text         bool   `json:"text,omitempty"`          // of a message, or else it is binary
	Data         []byte `json:"data,omitempty"`          // base64
}

// nodeAnswer is what it gets.
type nodeAnswer struct {
	Status      int    `json:"status"` // of HTTP
	Error       string `json:"error,omitempty"`
	Connection  *Info  `json:"connection,omitempty"`  // that was asked for
	Connections []Info `json:"connections,omitempty"` // of a list
	Sent        int    `json:"sent,omitempty"`        // connections that a broadcast goes to
}

// err is the error that an answer stands for.
func (a *nodeAnswer) err(method string) error {
	switch {
	case a.Status == http.StatusOK && (a.Connection != nil || method != methodGet):
		return nil
	case a.Status == http.StatusNotFound:
		return fmt.Errorf("%w: %s", ErrNotFound, a.Error)
	case a.Status == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: %s", ErrTooLarge, a.Error)
	}
	return fmt.Errorf("a node answered %d: %.300q", a.Status, a.Error)
}

// Allowed says why something may not be done that takes a role on a gateway, nil if it
// may.
type Allowed func(gateway string, role access.Role) error

// Answer does what another node, or a pipeline, asks of the connections in the
// directory. All is allowed if allowed is nil.
func Answer(ctx context.Context, d Directory, request []byte, allowed Allowed) []byte {
	if allowed == nil {
		allowed = func(string, access.Role) error { return nil }
	}
	a, err := answer(ctx, d, request, allowed)
	if a.Status = statusOf(err); err != nil {
		a = nodeAnswer{Status: a.Status, Error: err.Error()}
	}
	content, err := json.Marshal(a)
	if err != nil { // of our own types: cannot be
		return fmt.Appendf(nil, `{"status":%d}`, http.StatusInternalServerError)
	}
	return content
}

// Errors of answer, beside those of a Directory.
var (
	errBadRequest = errors.New("bad request")
	errForbidden  = errors.New("forbidden")
)

func answer(ctx context.Context, d Directory, request []byte, allowed Allowed) (a nodeAnswer, err error) {
	var q nodeRequest
	if err := json.Unmarshal(request, &q); err != nil {
		return a, fmt.Errorf("%w: the request is not the JSON that it must be: %w", errBadRequest, malformed(err))
	}
	may := func(gateway string, role access.Role) error {
		if err := allowed(gateway, role); err != nil {
			return fmt.Errorf("%w: %w", errForbidden, err)
		}
		return nil
	}
	switch q.Method {
	case methodGet, methodSend, methodDisconnect:
		return answerOfOne(ctx, d, &q, may)
	case methodList:
		return answerOfMany(ctx, d, q.Query, may)
	case methodBroadcast:
		if err := may(q.Gateway, access.Broadcaster); err != nil {
			return a, err
		}
		a.Sent, _, err = d.Broadcast(ctx, q.Gateway, q.Path, Message{Text: q.Text, Data: q.Data})
		return a, err
	}
	return a, fmt.Errorf("%w: method is %.50q, and must be get, send, disconnect, list or broadcast", errBadRequest, q.Method)
}

// answerOfOne is about one connection.
func answerOfOne(ctx context.Context, d Directory, q *nodeRequest, may Allowed) (a nodeAnswer, err error) {
	c, err := d.Connection(ctx, q.ConnectionID)
	if err != nil {
		return a, err
	}
	found, role := c.Info(), access.Writer
	if q.Method == methodGet {
		role = access.Viewer
	}
	if err := may(found.Gateway, role); err != nil {
		return a, err
	}
	switch q.Method {
	case methodSend:
		err = c.Send(ctx, Message{Text: q.Text, Data: q.Data})
	case methodDisconnect:
		err = c.Disconnect(ctx)
	}
	a.Connection = &found
	return a, err
}

// answerOfMany is a list.
func answerOfMany(ctx context.Context, d Directory, q *Query, may Allowed) (a nodeAnswer, err error) {
	if q == nil || q.Limit < 1 || q.Limit > MaxLimit {
		return a, fmt.Errorf("%w: a list needs a query with gateways, and a limit of 1 to %d", errBadRequest, MaxLimit)
	}
	for _, gateway := range q.Gateways {
		if err := may(gateway, access.Viewer); err != nil {
			return a, err
		}
	}
	a.Connections, _, err = d.List(ctx, *q)
	return a, err
}

func statusOf(err error) int {
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errBadRequest):
		return http.StatusBadRequest
	case errors.Is(err, errForbidden):
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}
