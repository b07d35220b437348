package control

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/guard"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/token"
)

// calls is what all requests begin and end with: who calls, whether they may, and the audit log.
type calls struct {
	verifier  *token.Verifier // nil: callers are of this machine
	grants    access.Grants
	directory *registry.Directory
	observe   func(method, code string)
	log       *slog.Logger
}

// call is one request, in its context.
type call struct {
	method  protoreflect.MethodDescriptor
	account string // of the caller; empty where there are no tokens: the caller is of this machine
	ids     map[string]string
	may     func(role string, resources ...string) bool
}

type callKey struct{}

// callOf is the call of a context that intercept has made.
func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// caller names who calls, for people.
func (c *call) caller() string {
	if c.account == "" {
		return "local"
	}
	return c.account
}

// intercept is the grpc.UnaryServerInterceptor.
func (c *calls) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (answer any, err error) {
	this := &call{method: methodOf(info.FullMethod), ids: idsOf(req)}
	defer func() {
		if why := recover(); why != nil {
			c.log.Error("Management API failed", "method", short(info.FullMethod), "error", why, "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "the request failed, the log says why")
		}
		err = c.translated(info.FullMethod, err)
		c.record(ctx, this, info.FullMethod, err)
	}()
	if err := c.admit(ctx, this, info.FullMethod); err != nil {
		return nil, err
	}
	return handler(context.WithValue(ctx, callKey{}, this), req)
}

// interceptStream is the grpc.StreamServerInterceptor: reflection, for who may see anything.
func (c *calls) interceptStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	this := new(call)
	err := c.admit(stream.Context(), this, info.FullMethod)
	if err == nil {
		err = handler(srv, stream)
	}
	c.record(stream.Context(), this, info.FullMethod, err)
	return err
}

// admit finds out who calls, and whether they may.
func (c *calls) admit(ctx context.Context, this *call, method string) (err error) {
	this.may = func(string, ...string) bool { return true }
	if c.verifier == nil {
		return nil
	}
	if open(method) {
		return nil
	}
	if this.account, err = c.authenticate(ctx); err != nil {
		return err
	}
	this.may = func(role string, resources ...string) bool { return c.grants.Allow(this.account, role, resources...) }
	return c.authorise(this, method)
}

// authenticate returns the service account that the token is about.
func (c *calls) authenticate(ctx context.Context) (account string, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	account, err, cause := guard.Account(ctx, c.verifier, http.Header{"Authorization": md.Get("authorization")})
	switch {
	case errors.Is(err, guard.ErrUnavailable):
		c.log.Warn("A token cannot be verified", "error", cause)
		return "", status.Error(codes.Unavailable, err.Error())
	case err != nil:
		return "", status.Error(codes.Unauthenticated, err.Error())
	}
	return account, nil
}

// translated keeps errors that are nobody's business in the log.
func (c *calls) translated(method string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	c.log.Error("Management API failed", "method", short(method), "error", err)
	return status.Error(codes.Internal, "the request failed, the log says why")
}

// record is the audit log: a line for each change, and for each try that was refused, and, where debugging is wished for,
// for each look and each message.
func (c *calls) record(ctx context.Context, this *call, method string, err error) {
	code := status.Code(err)
	c.observe(short(method), code.String())
	level := slog.LevelInfo
	switch {
	case code == codes.PermissionDenied || code == codes.Unauthenticated:
		level = slog.LevelWarn
	case reads(method), code == codes.OK && need(method) == access.DevicesWriter:
		level = slog.LevelDebug
	}
	attributes := []any{"method", short(method), "service_account_id", this.caller(), "code", code.String()}
	for _, name := range idFields {
		if id := this.ids[name]; id != "" {
			attributes = append(attributes, name, id)
		}
	}
	if p, ok := peer.FromContext(ctx); ok {
		attributes = append(attributes, "remote_address", p.Addr.String())
	}
	if err != nil {
		attributes = append(attributes, "reason", status.Convert(err).Message())
	}
	c.log.Log(ctx, level, "Management API", attributes...)
}

// short is a method without its package: RegistryService/Create.
func short(method string) string {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	return service[strings.LastIndexByte(service, '.')+1:] + "/" + name
}

// methodOf is the description of a method, nil if it has none.
func methodOf(full string) protoreflect.MethodDescriptor {
	name := strings.ReplaceAll(strings.TrimPrefix(full, "/"), "/", ".")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil
	}
	method, _ := found.(protoreflect.MethodDescriptor)
	return method
}

// idFields are those by which requests name what they are about.
var idFields = []string{"registry_id", "device_id", "broker_id", "trigger_id", "connection_id", "operation_id", "fingerprint", "password_id"}

// idsOf are those of a request.
func idsOf(req any) map[string]string {
	ids := map[string]string{}
	message, ok := req.(proto.Message)
	if !ok {
		return ids
	}
	for _, name := range idFields {
		field := message.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))
		if field != nil && field.Kind() == protoreflect.StringKind && field.Cardinality() != protoreflect.Repeated {
			ids[name] = message.ProtoReflect().Get(field).String()
		}
	}
	return ids
}
