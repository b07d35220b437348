package connectionapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/iotcast/iotcast/internal/gateway"
)

// Forward carries a request to the node with the given name, whose [Answer] it
// returns. It fails if the node does not answer.
type Forward func(ctx context.Context, node string, request []byte) (answer []byte, err error)

// Cluster is the directory of the gateways of this process, and of the connections
// that other nodes hold: their IDs say which. It lists, and broadcasts to, those of
// this process only.
func Cluster(set *gateway.Set, forward Forward, log *slog.Logger) Directory {
	return cluster{local{set}, forward, log}
}

type cluster struct {
	local
	forward Forward
	log     *slog.Logger
}

// Connection implements Directory.
func (c cluster) Connection(ctx context.Context, id string) (Connection, error) {
	node := gateway.NodeOf(id)
	if node == "" || c.set.IsNode(node) {
		return c.local.Connection(ctx, id)
	}
	r := &remoteConnection{cluster: c, node: node, id: id}
	a, err := r.ask(ctx, nodeRequest{Method: get.name})
	if err != nil {
		return nil, err
	}
	r.info = a.Connection.info()
	return r, nil
}

// remoteConnection is a connection that another node holds.
type remoteConnection struct {
	cluster  cluster
	node, id string
	info     Info
}

var _ Connection = (*remoteConnection)(nil)

// Info implements Connection. It is as it was when the connection was found.
func (r *remoteConnection) Info() Info { return r.info }

// Send implements Connection.
func (r *remoteConnection) Send(ctx context.Context, m Message) error {
	_, err := r.ask(ctx, nodeRequest{Method: send.name, Text: m.Text, Data: m.Data})
	return err
}

// Disconnect implements Connection.
func (r *remoteConnection) Disconnect(ctx context.Context) error {
	_, err := r.ask(ctx, nodeRequest{Method: disconnect.name})
	return err
}

// ask forwards a request. A node that does not answer is one whose connections are
// gone, or will be.
func (r *remoteConnection) ask(ctx context.Context, q nodeRequest) (a nodeAnswer, err error) {
	q.ConnectionID = r.id
	request, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	answer, err := r.cluster.forward(ctx, r.node, request)
	if err != nil {
		r.cluster.log.Warn("A node does not answer: its connections count as not open", "node", r.node, "connection_id", r.id, "error", err)
		return a, fmt.Errorf("%w: node %q does not answer", ErrNotFound, r.node)
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return a, fmt.Errorf("reading the answer of node %q: %w", r.node, err)
	}
	err = a.err(q.Method)
	return a, err
}

// nodeRequest is what one node asks of another, in JSON.
type nodeRequest struct {
	Method       string `json:"method"` // get, send or disconnect
	ConnectionID string `json:"connection_id"`
	Text         bool   `json:"text,omitempty"` // of a message to send, or else it is binary
	Data         []byte `json:"data,omitempty"` // base64
}

// nodeAnswer is what it gets.
type nodeAnswer struct {
	Status     int             `json:"status"` // of HTTP
	Error      string          `json:"error,omitempty"`
	Connection *nodeConnection `json:"connection,omitempty"` // with status 200
}

type nodeConnection struct {
	ID           string    `json:"id"`
	Gateway      string    `json:"gateway"`
	Path         string    `json:"path"`
	SourceIP     string    `json:"source_ip"`
	UserAgent    string    `json:"user_agent"`
	ConnectedAt  time.Time `json:"connected_at"`
	LastActiveAt time.Time `json:"last_active_at"`
}

func (n *nodeConnection) info() Info {
	return Info{
		ID: n.ID, Gateway: n.Gateway, Path: n.Path, SourceIP: n.SourceIP, UserAgent: n.UserAgent,
		ConnectedAt: n.ConnectedAt, LastActiveAt: n.LastActiveAt,
	}
}

// err is the error that an answer stands for.
func (a *nodeAnswer) err(method string) error {
	switch {
	case a.Status == http.StatusOK && (a.Connection != nil || method != get.name):
		return nil
	case a.Status == http.StatusNotFound:
		return fmt.Errorf("%w: %s", ErrNotFound, a.Error)
	case a.Status == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: %s", ErrTooLarge, a.Error)
	}
	return fmt.Errorf("a node answered %d: %s", a.Status, a.Error)
}

// Answer does what another node, or a pipeline, asks of the connections in the
// directory. Allowed says whether it may, of a connection and for changing it or
// only seeing it; nil: always.
func Answer(ctx context.Context, d Directory, request []byte, allowed func(i Info, change bool) error) []byte {
	status, i, err := answer(ctx, d, request, allowed)
	a := nodeAnswer{Status: status}
	if err != nil {
		a.Error = err.Error()
	} else {
		a.Connection = &nodeConnection{
			ID: i.ID, Gateway: i.Gateway, Path: i.Path, SourceIP: i.SourceIP, UserAgent: i.UserAgent,
			ConnectedAt: i.ConnectedAt.UTC(), LastActiveAt: i.LastActiveAt.UTC(),
		}
	}
	content, err := json.Marshal(a)
	if err != nil { // of our own types: cannot be
		return fmt.Appendf(nil, `{"status":%d}`, http.StatusInternalServerError)
	}
	return content
}

func answer(ctx context.Context, d Directory, request []byte, allowed func(Info, bool) error) (status int, i Info, err error) {
	var q nodeRequest
	if err := json.Unmarshal(request, &q); err != nil {
		return http.StatusBadRequest, i, fmt.Errorf("the request is not the JSON that it must be: %w", err)
	}
	switch q.Method {
	case get.name, send.name, disconnect.name:
	default:
		return http.StatusBadRequest, i, fmt.Errorf("method is %.50q, and must be get, send or disconnect", q.Method)
	}
	c, err := d.Connection(ctx, q.ConnectionID)
	if err == nil {
		i = c.Info()
		if allowed != nil {
			if err := allowed(i, q.Method != get.name); err != nil {
				return http.StatusForbidden, i, err
			}
		}
	}
	switch {
	case err != nil:
	case q.Method == send.name:
		err = c.Send(ctx, Message{Text: q.Text, Data: q.Data})
	case q.Method == disconnect.name:
		err = c.Disconnect(ctx)
	}
	return statusOf(err), i, err
}

func statusOf(err error) int {
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusInternalServerError
}
