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
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/connections"
)

// extensions are of no published type: to list connections, and to broadcast.
var extensions = []Route{
	{
		Verb: http.MethodGet, Path: "/apigateways/websocket/v1/connections",
		Method: "/" + websocket.ConnectionService_ServiceDesc.ServiceName + "/List",
	},
	{
		Verb: http.MethodPost, Path: "/apigateways/websocket/v1/gateways/{gateway_id}:broadcast", Body: true,
		Method: "/" + websocket.ConnectionService_ServiceDesc.ServiceName + "/Broadcast",
	},
}

func init() {
	for i := range extensions {
		extensions[i].pattern = patternOfPath(extensions[i].Path, "[^/]+")
	}
}

// extended is a handler with the extensions before it. They pass the interceptor of the services, too.
func (s connectionService) extended(next http.Handler, c *calls) http.Handler {
	do := []func(context.Context, *http.Request, string) (any, error){s.list, s.broadcast}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i, one := range extensions {
			match := one.pattern.FindStringSubmatch(r.URL.Path)
			if match == nil {
				continue
			}
			if r.Method != one.Verb {
				w.Header().Set("Allow", one.Verb)
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			answer, err := c.intercept(r.Context(), nil, &grpc.UnaryServerInfo{FullMethod: one.Method}, func(ctx context.Context, _ any) (any, error) {
				name, err := url.PathUnescape(match[len(match)-1])
				if err != nil {
					return nil, status.Error(codes.NotFound, "the path is malformed")
				}
				answer, err := do[i](ctx, r, name)
				return answer, failed(err)
			})
			if err != nil {
				failure := status.Convert(err)
				refuse(w, r, statusOf(failure.Code()), failure.Code(), failure.Message())
				return
			}
			w.Header().Set("Content-Type", "application/json")
			content, _ := json.Marshal(answer) // of types of ours
			_, _ = w.Write(content)
			return
		}
		next.ServeHTTP(w, r)
	})
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
}

func (s connectionService) list(ctx context.Context, r *http.Request, _ string) (any, error) {
	q, gateway, err := queryOf(r)
	if err != nil {
		return nil, err
	}
	if q.Gateways, err = s.visible(callOf(ctx), gateway); err != nil {
		return nil, err
	}
	size := q.Limit
	q.Limit++ // so that it is known whether there is a next page
	found, unreachable, err := s.directory.List(ctx, q)
	if err != nil {
		return nil, err
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
		page.Connections = append(page.Connections, one)
	}
	return page, nil
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
		case "pageToken":
			q.After = value[0]
		case "pageSize":
			if q.Limit, err = strconv.Atoi(value[0]); err != nil || q.Limit < 1 || q.Limit >= connections.MaxLimit {
				return q, "", status.Errorf(codes.InvalidArgument, "pageSize must be 1 to %d", connections.MaxLimit-1)
			}
		default:
			return q, "", status.Errorf(codes.InvalidArgument, "there is no parameter %.50q, but gatewayId, path, sourceIp, pageSize and pageToken", name)
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

func (s connectionService) broadcast(ctx context.Context, r *http.Request, gateway string) (any, error) {
	if err := s.authorise(callOf(ctx), gateway, access.Broadcaster); err != nil {
		return nil, err
	}
	path, request, err := s.broadcastOf(r)
	if err != nil {
		return nil, err
	}
	m, err := s.message(request)
	if err != nil {
		return nil, err
	}
	n, unreachable, err := s.directory.Broadcast(ctx, gateway, path, m)
	return struct {
		Connections int                     `json:"connections"`
		Unreachable connections.Unreachable `json:"unreachable,omitempty"`
	}{n, unreachable}, err
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
