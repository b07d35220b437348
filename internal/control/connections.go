package control

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/apigateway/websocket/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/connections"
)

// connectionService is yandex.cloud.serverless.apigateway.websocket.v1.ConnectionService. What it has beside, over HTTP alone,
// is in extensions.go.
type connectionService struct {
	websocket.UnimplementedConnectionServiceServer
	directory connections.Directory
	maxBytes  int // of a message
}

func (s connectionService) Get(ctx context.Context, r *websocket.GetConnectionRequest) (*websocket.Connection, error) {
	found, err := s.find(ctx, r.ConnectionId, access.Viewer)
	if err != nil {
		return nil, err
	}
	i := found.Info()
	return &websocket.Connection{
		Id: i.ID, GatewayId: i.Gateway, Identity: &websocket.Identity{SourceIp: i.SourceIP, UserAgent: i.UserAgent},
		ConnectedAt: timestamppb.New(i.ConnectedAt), LastActiveAt: timestamppb.New(i.LastActiveAt),
	}, nil
}

func (s connectionService) Send(ctx context.Context, r *websocket.SendToConnectionRequest) (*websocket.SendToConnectionResponse, error) {
	found, err := s.find(ctx, r.ConnectionId, access.Writer)
	if err != nil {
		return nil, err
	}
	m, err := s.message(r)
	if err != nil {
		return nil, err
	}
	return &websocket.SendToConnectionResponse{}, failed(found.Send(ctx, m))
}

func (s connectionService) Disconnect(ctx context.Context, r *websocket.DisconnectRequest) (*websocket.DisconnectResponse, error) {
	found, err := s.find(ctx, r.ConnectionId, access.Writer)
	if err != nil {
		return nil, err
	}
	return &websocket.DisconnectResponse{}, failed(found.Disconnect(ctx))
}

// find returns the connection that a request is about, if the caller has the role.
func (s connectionService) find(ctx context.Context, id string, need access.Role) (connections.Connection, error) {
	found, err := s.directory.Connection(ctx, id)
	if errors.Is(err, connections.ErrNotFound) {
		return nil, status.Errorf(codes.NotFound, "connection %.50q is not open", id)
	}
	if err != nil {
		return nil, err
	}
	return found, s.authorise(callOf(ctx), found.Info().Gateway, need)
}

// authorise fails unless the caller may do on the gateway what needs the role.
func (s connectionService) authorise(this *call, gateway string, need access.Role) error {
	this.ids["gateway_id"] = gateway
	bindings, ok := s.directory.Bindings()[gateway]
	switch {
	case !ok:
		return status.Errorf(codes.NotFound, "gateway %q does not exist", gateway)
	case may(this, gateway, bindings, need):
		return nil
	case this.account == "":
		return status.Errorf(codes.PermissionDenied, "gateway %q has access_bindings: set tokens for the connection API, so that service accounts can be told apart", gateway)
	}
	return status.Errorf(codes.PermissionDenied, "service account %q lacks the role %s on gateway %q: add it to access_bindings there", this.account, need, gateway)
}

// may tells whether the caller has a role on a gateway: by its bindings, or by those of the API. With no bindings, this
// machine has them all, but whoever has a token has none: a new gateway must not be open to everyone for whom tokens are made.
func may(this *call, gateway string, b access.Bindings, need access.Role) bool {
	return (b.Len() > 0 || this.account == "") && b.Allows(this.account, need) || this.may(need.String(), gateway)
}

// message checks a message.
func (s connectionService) message(r *websocket.SendToConnectionRequest) (m connections.Message, err error) {
	m = connections.Message{Data: r.Data, Text: r.Type == websocket.SendToConnectionRequest_TEXT}
	switch {
	case len(r.Data) > s.maxBytes:
		return m, invalid(wrong("data", "has %d bytes, and a message may have %d", len(r.Data), s.maxBytes))
	case websocket.SendToConnectionRequest_DataType_name[int32(r.Type)] == "":
		return m, invalid(wrong("type", "is %d, and must be BINARY or TEXT", r.Type))
	case m.Text && !utf8.Valid(r.Data): // clients would have to fail their connections (RFC 6455, section 8.1)
		return m, invalid(wrong("data", "is not UTF-8, and type is TEXT"))
	}
	return m, nil
}

// failed is the error of a directory for callers.
func failed(err error) error {
	switch {
	case errors.Is(err, connections.ErrTooLarge):
		return status.Errorf(codes.InvalidArgument, "data: %v", err)
	case errors.Is(err, connections.ErrNotFound):
		return status.Error(codes.NotFound, err.Error())
	}
	return err
}
