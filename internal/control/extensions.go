package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/apigateway/websocket/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/connections"
)

// extensions are of no published type: to list connections, and to broadcast.
func (s connectionService) extensions() []plainRoute {
	return []plainRoute{
		plainRouteTo(http.MethodGet, "/apigateways/websocket/v1/connections", false, "/iotcast.ConnectionService/List", s.list),
		plainRouteTo(http.MethodPost, "/apigateways/websocket/v1/gateways/{gateway_id}:broadcast", true, "/iotcast.ConnectionService/Broadcast", s.broadcast),
	}
}

// listed is a connection in a list: as the published type, and with its path.
type listed struct {
	ID        string `json:"id"`
	GatewayID string `json:"gatewayId"`
	Path      string `json:"path"`
	Identity  struct {
		SourceIP  string `json:"sourceIp"`
		UserAgent string `json:"userAgent"`
	} `json:"identity"`
	ConnectedAt  time.Time `json:"connectedAt"`
	LastActiveAt time.Time `json:"lastActiveAt"`

	Subject     string `json:"subject,omitempty"`
	Watch       *watch `json:"watch,omitempty"` // nil: everything
	QueuedBytes int64  `json:"queuedBytes"`
	Dropped     uint64 `json:"dropped"`
	Protocol    string `json:"protocol,omitempty"` // empty: its node is of an earlier release
}

// watch is what a connection has chosen.
type watch struct {
	DeviceIDs []string `json:"deviceIds"`
	Topics    []string `json:"topics"`
}

func (s connectionService) list(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	q, gateway, err := queryOf(r)
	if err != nil {
		return err
	}
	if q.Gateways, err = s.visible(callOf(ctx), gateway); err != nil {
		return err
	}
	size := q.Limit
	q.Limit++ // so that it is known whether there is a next page
	found, unreachable, err := s.directory.List(ctx, q)
	if err != nil {
		return err
	}
	page := struct {
		Connections   []listed                `json:"connections"`
		NextPageToken string                  `json:"nextPageToken,omitempty"`
		Unreachable   connections.Unreachable `json:"unreachable,omitempty"`
	}{Connections: []listed{}, Unreachable: unreachable}
	if len(found) > size {
		found = found[:size]
		page.NextPageToken = found[size-1].ID
	}
	for _, i := range found {
		one := listed{ID: i.ID, GatewayID: i.Gateway, Path: i.Path, ConnectedAt: i.ConnectedAt.UTC(), LastActiveAt: i.LastActiveAt.UTC()}
		one.Identity.SourceIP, one.Identity.UserAgent = i.SourceIP, i.UserAgent
		one.Subject, one.QueuedBytes, one.Dropped, one.Protocol = i.Subject, i.QueuedBytes, i.Dropped, i.Protocol
		if i.Watch != nil {
			one.Watch = &watch{i.Watch.DeviceIDs, i.Watch.Topics}
		}
		page.Connections = append(page.Connections, one)
	}
	return answerJSON(w, page)
}

// queryOf reads what a list is asked for.
func queryOf(r *http.Request) (q connections.Query, gateway string, err error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, "", status.Error(codes.InvalidArgument, "the query of the URL is malformed")
	}
	q.Limit = defaultPageSize
	for name, value := range values {
		if len(value) > 1 {
			return q, "", status.Errorf(codes.InvalidArgument, "parameter %.50q is there more than once", name)
		}
		switch name {
		case "gatewayId":
			gateway = value[0]
		case "path":
			q.Path = value[0]
		case "sourceIp":
			q.SourceIP = value[0]
		case "deviceId":
			q.DeviceID = value[0]
		case "subject":
			q.Subject = value[0]
		case "pageToken":
			q.After = value[0]
		case "pageSize":
			if q.Limit, err = strconv.Atoi(value[0]); err != nil || q.Limit < 1 || q.Limit >= connections.MaxLimit {
				return q, "", status.Errorf(codes.InvalidArgument, "pageSize must be 1 to %d", connections.MaxLimit-1)
			}
		default:
			return q, "", status.Errorf(codes.InvalidArgument, "there is no parameter %.50q, but gatewayId, path, sourceIp, deviceId, subject, pageSize and pageToken", name)
		}
	}
	return q, gateway, nil
}

// visible are the gateways whose connections the caller may see: the one that is asked for, or all such.
func (s connectionService) visible(this *call, gateway string) (labels []string, err error) {
	if gateway != "" {
		return []string{gateway}, s.authorise(this, gateway, access.Viewer)
	}
	all := s.directory.Bindings()
	for label, bindings := range all {
		if may(this, label, bindings, access.Viewer) {
			labels = append(labels, label)
		}
	}
	slices.Sort(labels)
	if len(labels) == 0 && len(all) > 0 {
		return nil, status.Errorf(codes.PermissionDenied, "service account %q has the role %s on no gateway: add it to access_bindings of one", this.account, access.Viewer)
	}
	return labels, nil
}

func (s connectionService) broadcast(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	gateway := r.PathValue("gateway_id")
	if err := s.authorise(callOf(ctx), gateway, access.Broadcaster); err != nil {
		return err
	}
	path, request, err := s.broadcastOf(r)
	if err != nil {
		return err
	}
	m, err := s.message(request)
	if err != nil {
		return err
	}
	n, unreachable, err := s.directory.Broadcast(ctx, gateway, path, m)
	if err != nil {
		return failed(err)
	}
	return answerJSON(w, struct {
		Connections int                     `json:"connections"`
		Unreachable connections.Unreachable `json:"unreachable,omitempty"`
	}{n, unreachable})
}

// broadcastOf reads a body: that of Send, and a path beside.
func (s connectionService) broadcastOf(r *http.Request) (path string, request *websocket.SendToConnectionRequest, err error) {
	limit := requestBytes(s.maxBytes)
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return "", nil, status.Error(codes.InvalidArgument, tooLarge(limit))
	}
	fields := map[string]json.RawMessage{}
	if err == nil {
		err = json.Unmarshal(body, &fields)
	}
	if given, ok := fields["path"]; err == nil && ok {
		err = json.Unmarshal(given, &path)
	}
	if err != nil {
		return "", nil, status.Errorf(codes.InvalidArgument, "the body is not the JSON that it must be: %v", err)
	}
	delete(fields, "path")
	rest, _ := json.Marshal(fields)
	request = new(websocket.SendToConnectionRequest)
	switch err := protojson.Unmarshal(rest, request); {
	case err != nil:
		return "", nil, status.Error(codes.InvalidArgument, misread(err))
	case request.ConnectionId != "":
		return "", nil, invalid(wrong("connection_id", "has no meaning here: leave it out"))
	case path == "":
		return "", nil, status.Error(codes.InvalidArgument, "path is needed: the path of the gateway to broadcast on")
	case len(request.Data) == 0:
		return "", nil, status.Error(codes.InvalidArgument, "data is needed: the message in base64")
	}
	return path, request, nil
}

func answerJSON(w http.ResponseWriter, answer any) error {
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
	return nil
}
