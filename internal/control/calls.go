package control

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/guard"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/state"
	"github.com/iotcast/iotcast/internal/token"
)

// calls is what all requests begin and end with: who calls, whether they may, and the audit log.
type calls struct {
	name      string          // of the API, for the log
	verifier  *token.Verifier // nil: callers are of this machine
	grants    access.Grants
	bound     bool                // callers of this machine, too, by the access_bindings of gateways: there are no grants
	directory *registry.Directory // nil: there is none
	routes    []Route
	maxBytes  int64 // of a request
	observe   func(method string, code codes.Code, status int)
	log       *slog.Logger
}

// caller is who makes a request over HTTP, in its context.
type caller struct {
	account string // empty where there are no tokens: the caller is of this machine
	err     error  // why it is not known who calls
	remote  string
	again   func(context.Context, http.Header) error // whether it is still known who calls, who may stay for long
	reached atomic.Bool                              // a method, whose interceptor records the request
	refused error                                    // with this, where no method is reached
	status  int                                      // of HTTP, to refused
	large   bool                                     // the body has more bytes than it may have
}

type callerKey struct{}

// unknown is the method of requests for what there is not.
const unknown = "unknown"

// callerOf is the caller of a context that known has made.
func callerOf(ctx context.Context) *caller { return ctx.Value(callerKey{}).(*caller) }

// known finds out who calls, and records what reaches no method.
func (c *calls) known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := &caller{remote: r.RemoteAddr, again: c.stillKnown}
		if c.verifier != nil {
			who.account, who.err = c.authenticate(r.Context(), r.Header)
		}
		ctx := context.WithValue(r.Context(), callerKey{}, who)
		method := c.methodOf(r)
		if who.err != nil && !open(method) { // before a body is read that nobody answers for
			refuseUnknown(w, r.WithContext(ctx), who.err)
		} else {
			next.ServeHTTP(w, r.WithContext(ctx))
		}
		if who.reached.Load() {
			return
		}
		if who.refused == nil {
			who.refused, who.status = status.Error(codes.Canceled, "the request broke off"), httpStatus(codes.Canceled)
		}
		c.record(ctx, &call{account: who.account}, method, who.refused, who.status)
	})
}

// methodOf is what a request is for, or unknown.
func (c *calls) methodOf(r *http.Request) string {
	if route := routeTo(c.routes, r.Method, colons.Replace(r.URL.EscapedPath())); route != nil {
		return route.Method
	}
	if methodOf(r.URL.Path) != nil {
		return r.URL.Path
	}
	return unknown
}

// refuseUnknown refuses a request of nobody. Clients of gRPC are told by headers alone, as they are of errors that come before
// any answer.
func refuseUnknown(w http.ResponseWriter, r *http.Request, err error) {
	s := status.Convert(err)
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		if r.ProtoMajor == 1 && r.ContentLength != 0 {
			w.Header().Set("Connection", "close") // or the answer would wait for the rest of the body
		}
		refuse(w, r, httpStatus(s.Code()), s.Code(), s.Message())
		return
	}
	who := callerOf(r.Context())
	who.refused, who.status = err, httpStatus(s.Code())
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Grpc-Status", strconv.Itoa(int(s.Code())))
	w.Header().Set("Grpc-Message", url.PathEscape(s.Message()))
	w.WriteHeader(http.StatusOK)
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
			c.log.Error(c.name+" failed", "method", short(info.FullMethod), "error", why, "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "the request failed, the log says why")
		}
		err = c.translated(info.FullMethod, err)
		c.record(ctx, this, info.FullMethod, err, httpStatus(status.Code(err)))
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
	c.record(stream.Context(), this, info.FullMethod, err, httpStatus(status.Code(err)))
	return err
}

// admit fails unless it is known who calls, and they may.
func (c *calls) admit(ctx context.Context, this *call, method string) error {
	who := callerOf(ctx)
	who.reached.Store(true)
	this.account = who.account
	this.may = func(role string, resources ...string) bool {
		if c.verifier == nil {
			return !c.bound
		}
		return c.grants.Allow(who.account, role, resources...)
	}
	switch {
	case open(method):
		return nil
	case who.err != nil:
		return who.err
	}
	return c.authorise(this, method)
}

// stillKnown fails when a token that was good is no longer.
func (c *calls) stillKnown(ctx context.Context, h http.Header) error {
	if c.verifier == nil {
		return nil
	}
	_, err := c.authenticate(ctx, h)
	if status.Code(err) == codes.Unavailable { // which is not the fault of the token
		return nil
	}
	return err
}

// authenticate returns the service account that the token is about.
func (c *calls) authenticate(ctx context.Context, h http.Header) (account string, err error) {
	account, err, cause := guard.Account(ctx, c.verifier, h)
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
	c.log.Error(c.name+" failed", "method", short(method), "error", err)
	if why := unwritten(err); why != "" {
		return status.Errorf(codes.Internal, "nothing is changed, since %v: %s. See to the disk of management_api.state_dir, and try again", state.ErrNotWritten, why)
	}
	return status.Error(codes.Internal, "the request failed, the log says why")
}

// unwritten is what the system says to a state that it does not write, without the path; empty: it is another error.
func unwritten(err error) string {
	if why := syscall.Errno(0); errors.Is(err, state.ErrNotWritten) && errors.As(err, &why) {
		return why.Error()
	}
	return ""
}

// record is the audit log: a line for each change, and for each try that was refused, and, where debugging is wished for,
// for each look and each message.
func (c *calls) record(ctx context.Context, this *call, method string, err error, statusHTTP int) {
	code := status.Code(err)
	c.observe(short(method), code, statusHTTP)
	level := slog.LevelInfo
	switch {
	case code == codes.PermissionDenied || code == codes.Unauthenticated:
		level = slog.LevelWarn
	case reads(method) || method == unknown || method == checkTriggerMethod, code == codes.OK && sends(method):
		level = slog.LevelDebug
	}
	attributes := []any{"method", short(method)}
	if this.account != "" || c.verifier == nil { // else nobody knows
		attributes = append(attributes, "service_account_id", this.caller())
	}
	attributes = append(attributes, "code", code.String())
	for _, name := range idFields {
		if id := this.ids[name]; id != "" {
			attributes = append(attributes, name, id[:min(len(id), maxLogged)])
		}
	}
	attributes = append(attributes, "remote_address", callerOf(ctx).remote)
	if err != nil {
		attributes = append(attributes, "reason", status.Convert(err).Message())
	}
	c.log.Log(ctx, level, c.name, attributes...)
}

// maxLogged is how much of an ID the log has: who writes it may have made it up.
const maxLogged = 64

// short is a method without its package: RegistryService/Create.
func short(method string) string {
	service, name, ok := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if !ok {
		return method
	}
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
var idFields = []string{
	"registry_id", "device_id", "broker_id", "trigger_id", "connection_id", "operation_id", "fingerprint", "password_id", "gateway_id",
}

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
