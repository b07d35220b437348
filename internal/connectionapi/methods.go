package connectionapi

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/iotcast/iotcast/internal/access"
)

// connection is a connection as the original service shows it.
type connection struct {
	ID           string    `json:"id"`
	GatewayID    string    `json:"gatewayId"`
	Path         string    `json:"path,omitempty"` // ours, in lists only
	Identity     identity  `json:"identity"`
	ConnectedAt  time.Time `json:"connectedAt"`
	LastActiveAt time.Time `json:"lastActiveAt"`
}

type identity struct {
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

func shown(i Info) connection {
	return connection{
		ID: i.ID, GatewayID: i.Gateway, Identity: identity{i.SourceIP, i.UserAgent},
		ConnectedAt: i.ConnectedAt.UTC(), LastActiveAt: i.LastActiveAt.UTC(),
	}
}

// find returns the connection that the call is about, if the caller has the role.
func (a *api) find(c *call, need access.Role) (Connection, error) {
	found, err := a.directory.Connection(c.req.Context(), c.name)
	if errors.Is(err, ErrNotFound) {
		return nil, notFound("connection %.50q is not open", c.name)
	}
	if err != nil {
		return nil, err
	}
	return found, a.authorise(c.caller, found.Info().Gateway, need)
}

func (a *api) get(c *call) (any, error) {
	found, err := a.find(c, access.Viewer)
	if err != nil {
		return nil, err
	}
	return shown(found.Info()), nil
}

func (a *api) send(c *call) (any, error) {
	found, err := a.find(c, access.Writer)
	if err != nil {
		return nil, err
	}
	var body outgoing
	if err := a.decode(c.req, &body); err != nil {
		return nil, err
	}
	m, err := body.message(a.maxMessageBytes)
	if err != nil {
		return nil, err
	}
	return struct{}{}, found.Send(c.req.Context(), m)
}

func (a *api) disconnect(c *call) (any, error) {
	found, err := a.find(c, access.Writer)
	if err != nil {
		return nil, err
	}
	return struct{}{}, found.Disconnect(c.req.Context())
}

func (a *api) broadcast(c *call) (any, error) {
	if err := a.authorise(c.caller, c.name, access.Broadcaster); err != nil {
		return nil, err
	}
	var body struct {
		Path *string `json:"path"`
		outgoing
	}
	if err := a.decode(c.req, &body); err != nil {
		return nil, err
	}
	if body.Path == nil {
		return nil, invalid("path is needed: the path of the gateway to broadcast on")
	}
	m, err := body.message(a.maxMessageBytes)
	if err != nil {
		return nil, err
	}
	n, unreachable, err := a.directory.Broadcast(c.req.Context(), c.name, *body.Path, m)
	return struct {
		Connections int         `json:"connections"`
		Unreachable Unreachable `json:"unreachable,omitempty"`
	}{n, unreachable}, err
}

// Sizes of a page of a list.
const (
	defaultPageSize = 100
	maxPageSize     = 1000
)

func (a *api) list(c *call) (any, error) {
	q, size, err := a.query(c)
	if err != nil {
		return nil, err
	}
	found, unreachable, err := a.directory.List(c.req.Context(), q)
	if err != nil {
		return nil, err
	}
	page := struct {
		Connections   []connection `json:"connections"`
		NextPageToken string       `json:"nextPageToken,omitempty"`
		Unreachable   Unreachable  `json:"unreachable,omitempty"`
	}{Connections: []connection{}, Unreachable: unreachable}
	if len(found) > size {
		found = found[:size]
		page.NextPageToken = found[size-1].ID
	}
	for _, i := range found {
		entry := shown(i)
		entry.Path = i.Path
		page.Connections = append(page.Connections, entry)
	}
	return page, nil
}

// query reads what a list is asked for: one more than the page holds, so that it
// is known whether there is a next.
func (a *api) query(c *call) (q Query, size int, err error) {
	values, err := url.ParseQuery(c.req.URL.RawQuery)
	if err != nil {
		return q, 0, invalid("the query of the URL is malformed")
	}
	size = defaultPageSize
	gateway := ""
	for name, value := range values {
		if len(value) > 1 {
			return q, 0, invalid("parameter %.50q is there more than once", name)
		}
		switch name {
		case "gatewayId":
			gateway = value[0]
		case "path":
			q.Path = value[0]
		case "sourceIp":
			q.SourceIP = value[0]
		case "pageToken":
			q.After = value[0]
		case "pageSize":
			size, err = strconv.Atoi(value[0])
			if err != nil || size < 1 || size > maxPageSize {
				return q, 0, invalid("pageSize must be 1 to %d", maxPageSize)
			}
		default:
			return q, 0, invalid("there is no parameter %.50q, but gatewayId, path, sourceIp, pageSize and pageToken", name)
		}
	}
	q.Limit = size + 1
	q.Gateways, err = a.visible(c.caller, gateway)
	return q, size, err
}

// visible are the gateways whose connections the caller may see: the one that is
// asked for, or all such.
func (a *api) visible(who caller, gateway string) ([]string, error) {
	if gateway != "" {
		return []string{gateway}, a.authorise(who, gateway, access.Viewer)
	}
	var labels []string
	all := a.directory.Bindings()
	for label, bindings := range all {
		if a.may(who, bindings, access.Viewer) {
			labels = append(labels, label)
		}
	}
	slices.Sort(labels)
	if len(labels) == 0 && len(all) > 0 {
		return nil, forbidden("service account %q has the role %s on no gateway: add it to access_bindings of one", who.account, access.Viewer)
	}
	return labels, nil
}
