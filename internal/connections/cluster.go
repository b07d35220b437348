package connections

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/iotcast/iotcast/internal/gateway"
)

// Forward carries a request to the node with the given name, whose [Answer] it
// returns. It fails if the node does not answer.
type Forward func(ctx context.Context, node string, request []byte) (answer []byte, err error)

// Cluster is the directory of the gateways of this process, and of the connections
// that other nodes hold: their IDs say which. It lists, and broadcasts to, those of
// the named nodes, of which this process may be one.
func Cluster(set *gateway.Set, nodes []string, forward Forward, log *slog.Logger) Directory {
	c := cluster{local: local{set}, forward: forward, troubles: newTroubles(log)}
	for _, node := range slices.Sorted(slices.Values(nodes)) {
		if !set.IsNode(node) && !slices.Contains(c.others, node) {
			c.others = append(c.others, node)
		}
	}
	return c
}

type cluster struct {
	local
	others   []string // nodes
	forward  Forward
	troubles *troubles
}

// Connection implements Directory.
func (c cluster) Connection(ctx context.Context, id string) (Connection, error) {
	node := gateway.NodeOf(id)
	if node == "" || c.set.IsNode(node) {
		return c.local.Connection(ctx, id)
	}
	if len(c.others) > 0 && !slices.Contains(c.others, node) { // whatever a caller writes is not sent around
		return nil, ErrNotFound
	}
	r := &remoteConnection{cluster: c, node: node, id: id}
	a, err := r.ask(ctx, nodeRequest{Method: methodGet})
	if err != nil {
		return nil, err
	}
	r.info = *a.Connection
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
	_, err := r.ask(ctx, nodeRequest{Method: methodSend, Text: m.Text, Data: m.Data})
	return err
}

// Disconnect implements Connection.
func (r *remoteConnection) Disconnect(ctx context.Context) error {
	_, err := r.ask(ctx, nodeRequest{Method: methodDisconnect})
	return err
}

// ask forwards a request. A node that does not answer is one whose connections are
// gone, or will be.
func (r *remoteConnection) ask(ctx context.Context, q nodeRequest) (a nodeAnswer, err error) {
	q.ConnectionID = r.id
	a, answered, err := r.cluster.ask(ctx, r.node, q)
	if !answered {
		return a, fmt.Errorf("%w: node %q does not answer", ErrNotFound, r.node)
	}
	return a, err
}

// List implements Directory.
func (c cluster) List(ctx context.Context, q Query) (found []Info, _ Unreachable, err error) {
	if found, _, err = c.local.List(ctx, q); err != nil {
		return nil, nil, err
	}
	answers, unreachable := c.askOthers(ctx, nodeRequest{Method: methodList, Query: &q})
	for _, a := range answers {
		for _, info := range a.Connections {
			if q.chosen(info) { // an earlier release may not know what is asked for
				found = append(found, info)
			}
		}
	}
	slices.SortFunc(found, func(a, b Info) int { return strings.Compare(a.ID, b.ID) })
	return found[:min(len(found), q.Limit)], unreachable, nil
}

// Broadcast implements Directory.
func (c cluster) Broadcast(ctx context.Context, label, path string, m Message) (n int, _ Unreachable, err error) {
	if n, _, err = c.local.Broadcast(ctx, label, path, m); err != nil {
		return 0, nil, err // and the others have the same config
	}
	answers, unreachable := c.askOthers(ctx, nodeRequest{
		Method: methodBroadcast, Gateway: label, Path: path, Text: m.Text, Data: m.Data,
	})
	for _, a := range answers {
		n += a.Sent
	}
	return n, unreachable, nil
}

// silentFor is for how long it counts that a node did not answer, when nobody asks again.
const silentFor = 5 * time.Minute

// Silent implements Directory.
func (c cluster) Silent() (nodes Unreachable) {
	since := time.Now().Add(-silentFor)
	for _, node := range c.others {
		if c.troubles.silentSince(since, node) {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// askOthers asks all other nodes at once.
func (c cluster) askOthers(ctx context.Context, q nodeRequest) (answers []nodeAnswer, unreachable Unreachable) {
	all, answered, errs := make([]nodeAnswer, len(c.others)), make([]bool, len(c.others)), make([]error, len(c.others))
	var asked sync.WaitGroup
	for i, node := range c.others {
		asked.Go(func() { all[i], answered[i], errs[i] = c.ask(ctx, node, q) })
	}
	asked.Wait()
	for i, node := range c.others {
		if errs[i] != nil {
			if answered[i] {
				c.troubles.refused(node, q.Method, all[i].Status, errs[i])
			}
			unreachable = append(unreachable, node)
			continue
		}
		answers = append(answers, all[i])
	}
	return answers, unreachable
}

// ask forwards a request to a node.
func (c cluster) ask(ctx context.Context, node string, q nodeRequest) (a nodeAnswer, answered bool, err error) {
	request, err := json.Marshal(q)
	if err != nil {
		return a, true, err
	}
	answer, err := c.forward(ctx, node, request)
	if err != nil {
		if ctx.Err() == nil { // or else it is the caller who has left
			c.troubles.silent(node, err)
		}
		return a, false, err
	}
	c.troubles.answers(node)
	if err := json.Unmarshal(answer, &a); err != nil {
		return a, true, fmt.Errorf("reading the answer of node %q: %w", node, err)
	}
	err = a.err(q.Method)
	return a, true, err
}
