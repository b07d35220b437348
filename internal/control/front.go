package control

import (
	_ "embed" // for the document
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/iotcast/iotcast/internal/guard"
)

// front keeps out of the API what no program of a user sends: requests of web pages, requests under the name of another
// host, and bodies that a page may send to another site without asking (those of forms, and of no type).
func front(next http.Handler, g *guard.Guard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, reason := g.Check(r); status != 0 {
			refuse(w, status, codes.PermissionDenied, reason)
			return
		}
		if kind, bad := foreignBody(r); bad {
			refuse(w, http.StatusUnsupportedMediaType, codes.InvalidArgument,
				"the body has the type "+kind+": send JSON with content-type application/json, or gRPC")
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
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
	return kind, kind != "application/json" && kind != "application/yaml" && kind != "application/grpc" && !strings.HasPrefix(kind, "application/grpc+") && !strings.HasPrefix(kind, "application/grpc-web")
}

// refuse answers as the services do: a google.rpc.Status in JSON.
func refuse(w http.ResponseWriter, status int, code codes.Code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body, _ := json.Marshal(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Details []any  `json:"details"`
	}{int(code), message, []any{}})
	_, _ = w.Write(body)
}

//go:embed openapi.yaml
var document []byte

// documented serves the description of the API, which is no secret.
func documented(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/openapi.yaml" || r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/yaml") // RFC 9512
		_, _ = w.Write(document)
	})
}
