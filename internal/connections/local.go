package connections

import (
	"context"
	"fmt"
	"slices"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
)

// Local is the directory of the gateways of this process.
func Local(set *gateway.Set) Directory { return local{set} }

type local struct{ set *gateway.Set }

// Bindings implements Directory.
func (l local) Bindings() map[string]access.Bindings {
	all := map[string]access.Bindings{}
	for _, g := range l.set.All() {
		all[g.Label()] = g.Bindings()
	}
	return all
}

// Connection implements Directory.
func (l local) Connection(_ context.Context, id string) (Connection, error) {
	c, ok := l.set.Connection(id)
	if !ok {
		return nil, ErrNotFound
	}
	return localConnection{l, c}, nil
}

// List implements Directory.
func (l local) List(_ context.Context, q Query) ([]Info, Unreachable, error) {
	found := []Info{}
	for _, c := range l.set.Connections() {
		if len(found) == q.Limit {
			break
		}
		i := c.Info()
		if i.ID <= q.After || !slices.Contains(q.Gateways, i.Gateway) ||
			q.Path != "" && q.Path != i.Path || q.SourceIP != "" && q.SourceIP != i.SourceIP {
			continue
		}
		if info := infoOf(c, i); q.chosen(info) {
			found = append(found, info)
		}
	}
	return found, nil, nil
}

// Broadcast implements Directory.
func (l local) Broadcast(_ context.Context, label, path string, m Message) (int, Unreachable, error) {
	r, err := l.room(label, path, m)
	if err != nil {
		return 0, nil, err
	}
	n, err := r.Broadcast(fanout.Message{Opcode: opcode(m), Payload: m.Data})
	if err != nil { // it was removed just now
		return 0, nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return n, nil, nil
}

// Silent implements Directory.
func (l local) Silent() Unreachable { return nil }

// room finds the route, and makes sure that it can take the message: one that is
// larger than all that may wait for a connection would end each that it goes to.
func (l local) room(label, path string, m Message) (*gateway.Route, error) {
	r, err := l.set.Route(label, path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if limit := r.MessageBytes(); int64(len(m.Data)) > limit {
		return nil, fmt.Errorf("%w: queue_bytes of the gateway lets %d bytes wait for a connection", ErrTooLarge, limit)
	}
	return r, nil
}

func opcode(m Message) fanout.Opcode {
	if m.Text {
		return fanout.Text
	}
	return fanout.Binary
}

type localConnection struct {
	directory local
	*gateway.Connection
}

// Info implements Connection.
func (c localConnection) Info() Info { return infoOf(c.Connection, c.Connection.Info()) }

// Send implements Connection.
func (c localConnection) Send(_ context.Context, m Message) error {
	info := c.Connection.Info()
	if _, err := c.directory.room(info.Gateway, info.Path, m); err != nil {
		return err
	}
	if err := c.Connection.Send(m.Text, m.Data); err != nil {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return nil
}

// Disconnect implements Connection.
func (c localConnection) Disconnect(context.Context) error {
	c.Connection.Disconnect()
	return nil
}

func infoOf(c *gateway.Connection, i gateway.Info) Info {
	d := c.Details()
	info := Info{
		ID: i.ID, Gateway: i.Gateway, Path: i.Path, SourceIP: i.SourceIP, UserAgent: i.UserAgent,
		ConnectedAt: i.ConnectedAt, LastActiveAt: i.LastActiveAt,
		Subject: d.Subject, QueuedBytes: d.QueuedBytes, Dropped: d.Dropped, Protocol: "websocket",
	}
	if d.Events {
		info.Protocol = "sse"
	}
	if d.Watch != nil {
		list := func(all []string) []string { return append([]string{}, all...) } // not null
		info.Watch = &Watch{list(d.Watch.DeviceIDs), list(d.Watch.Topics)}
	}
	return info
}
