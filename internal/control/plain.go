package control

import (
	"context"
	"net"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// plain is a method that no published type describes, over HTTP alone, with all that the others have: tokens, roles, and the
// audit log. Its name is one of a service, such as /iotcast.State/Get.
func (c *calls) plain(name string, do func(context.Context, http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		this := &call{ids: map[string]string{}}
		ctx := metadata.NewIncomingContext(r.Context(), metadata.MD{"authorization": r.Header.Values("Authorization")})
		if address, err := net.ResolveTCPAddr("tcp", r.RemoteAddr); err == nil {
			ctx = peer.NewContext(ctx, &peer.Peer{Addr: address})
		}
		ctx = context.WithValue(ctx, callKey{}, this)
		err := c.admit(ctx, this, name)
		if err == nil {
			err = do(ctx, w, r)
		}
		err = c.translated(name, err)
		c.record(ctx, this, name, err)
		if err != nil {
			s := status.Convert(err)
			if s.Code() == codes.Unauthenticated {
				w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750, section 3
			}
			refuse(w, httpStatus(s.Code()), s.Code(), s.Message())
		}
	}
}

// httpStatus is that of an error, by google/rpc/code.proto.
func httpStatus(code codes.Code) int {
	switch code {
	case codes.InvalidArgument, codes.FailedPrecondition:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
