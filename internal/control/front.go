package control

import (
	_ "embed" // for the documents
	"encoding/json"
	"mime"
	"net/http"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/iotcast/iotcast/internal/guard"
)

// front keeps out of the API what no program of a user sends: requests of web pages, requests under the name of another
// host, and bodies that a page may send to another site without asking (those of forms, and of no type).
func front(next http.Handler, g *guard.Guard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, reason := g.Check(r); status != 0 {
			refuse(w, r, status, codes.PermissionDenied, reason)
			return
		}
		if kind, bad := foreignBody(r); bad {
			refuse(w, r, http.StatusUnsupportedMediaType, codes.InvalidArgument,
				"the body has the type "+kind+": send JSON with content-type application/json, or gRPC")
			return
		}
		// What is small on the way may be large unpacked, and only that of gRPC is bounded then.
		if packed := r.Header.Get("Content-Encoding"); packed != "" && packed != "identity" && !isGRPC(r) {
			refuse(w, r, http.StatusUnsupportedMediaType, codes.InvalidArgument, "the body is compressed: send it as it is, without content-encoding")
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// types are those of bodies. gRPC has others, in which the library unpacks messages without bound.
var types = []string{
	"application/json", "application/yaml",
	"application/grpc", "application/grpc+proto", "application/grpc-web", "application/grpc-web+proto",
}

// foreignBody tells of a body that is neither JSON nor gRPC.
func foreignBody(r *http.Request) (kind string, bad bool) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Header.Get("Content-Type") == "":
		return "nothing", r.ContentLength != 0
	case err != nil:
		return "that is malformed", true
	}
	return kind, !slices.Contains(types, kind)
}

// refuse answers as the services do: a google.rpc.Status in JSON.
func refuse(w http.ResponseWriter, r *http.Request, statusHTTP int, code codes.Code, message string) {
	who := callerOf(r.Context())
	who.refused, who.status = status.Error(code, message), statusHTTP
	if statusHTTP == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750, section 3
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statusHTTP)
	body, _ := json.Marshal(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Details []any  `json:"details"`
	}{int(code), message, []any{}})
	_, _ = w.Write(body)
}

// httpStatus is that of an error, by google/rpc/code.proto.
func httpStatus(code codes.Code) int {
	switch code {
	case codes.OK:
		return http.StatusOK
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Canceled:
		return 499
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

var (
	//go:embed openapi.yaml
	managementDocument []byte
	//go:embed connections.yaml
	connectionsDocument []byte
)

// documented serves the description of the API, which is no secret.
func documented(next http.Handler, document []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/openapi.yaml" || r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/yaml") // RFC 9512
		_, _ = w.Write(document)
	})
}

// anyType takes bodies of forms, and of no type, for JSON: clients of connection_api have always been free to send them so.
func anyType(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, bad := foreignBody(r); bad {
			r.Header.Set("Content-Type", "application/json")
		}
		next.ServeHTTP(w, r)
	})
}
