package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"connectrpc.com/vanguard"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// restOptions say how REST is made of gRPC.
func restOptions() []vanguard.TranscoderOption {
	return []vanguard.TranscoderOption{
		vanguard.WithDefaultServiceOptions(vanguard.WithMaxMessageBufferBytes(maxRequestBytes)),
		vanguard.WithCodec(func(types vanguard.TypeResolver) vanguard.Codec {
			return strictJSON{vanguard.JSONCodec{
				MarshalOptions:   protojson.MarshalOptions{Resolver: types},
				UnmarshalOptions: protojson.UnmarshalOptions{Resolver: types},
			}}
		}),
		vanguard.WithUnknownHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusNotFound, codes.NotFound, "there is nothing at this path, /openapi.yaml says what there is")
		})),
	}
}

// strictJSON refuses fields that there are not: a misspelt one would change something else than is meant. What is wrong with
// a body is the fault of who has sent it.
type strictJSON struct{ vanguard.JSONCodec }

var _ vanguard.RESTCodec = strictJSON{}

// Unmarshal implements vanguard.Codec.
func (c strictJSON) Unmarshal(data []byte, m proto.Message) error {
	return malformed(c.JSONCodec.Unmarshal(data, m))
}

// UnmarshalField implements vanguard.RESTCodec.
func (c strictJSON) UnmarshalField(data []byte, m proto.Message, field protoreflect.FieldDescriptor) error {
	return malformed(c.JSONCodec.UnmarshalField(data, m, field))
}

// malformed says what is wrong with a body. The library puts spaces of one kind or another into its texts, so that nobody
// compares them.
func malformed(err error) error {
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
	return connect.NewError(connect.CodeInvalidArgument, errors.New("the body is not the JSON that it must be: "+text))
}

// MarshalAppend implements vanguard.Codec. An error has details, if only none, as in the original.
func (c strictJSON) MarshalAppend(base []byte, m proto.Message) ([]byte, error) {
	if _, ok := m.(*status.Status); ok {
		c.MarshalOptions.EmitUnpopulated = true
	}
	return c.JSONCodec.MarshalAppend(base, m)
}

// rest is what the library lacks for REST: of two ways to say nothing, an empty body and an empty object, it takes one only
// for each method; and what is the caller's fault it calls its own, or answers as text.
func rest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			next.ServeHTTP(w, r)
			return
		}
		nothing(r)
		answer := &answer{ResponseWriter: w}
		next.ServeHTTP(answer, r)
		answer.finish()
	})
}

// nothing is an empty object where a method has a body, and an empty body where it has none.
func nothing(r *http.Request) {
	if r.Method != http.MethodPost && r.Method != http.MethodPatch {
		return
	}
	const most = 16 // with some white space
	text := []byte{}
	if r.ContentLength != 0 {
		if r.ContentLength < 0 || r.ContentLength > most {
			return
		}
		text, _ = io.ReadAll(io.LimitReader(r.Body, most))
		if compact := strings.Join(strings.Fields(string(text)), ""); compact == "{}" {
			text = nil
		}
	}
	if bodiless := strings.HasSuffix(r.URL.Path, ":disable") || strings.HasSuffix(r.URL.Path, ":enable"); len(text) == 0 && !bodiless {
		text = []byte("{}")
		r.Header.Set("Content-Type", "application/json")
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
}

// answer is held back if it is an error.
type answer struct {
	http.ResponseWriter
	status int // of an error, or 0
	text   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if status < http.StatusBadRequest {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.status = status
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		return a.ResponseWriter.Write(p)
	}
	return a.text.Write(p)
}

// Flush implements http.Flusher. Nothing is streamed.
func (a *answer) Flush() {}

// finish sends an error. The services have no code UNKNOWN: it is the library's, about a request that it cannot read.
func (a *answer) finish() {
	if a.status == 0 {
		return
	}
	var body struct {
		Code    codes.Code `json:"code"`
		Message string     `json:"message"`
	}
	a.Header().Del("Content-Length")
	switch err := json.Unmarshal(a.text.Bytes(), &body); {
	case err != nil && a.status == http.StatusMethodNotAllowed:
		refuse(a.ResponseWriter, a.status, codes.Unimplemented, "this path has other methods: "+a.Header().Get("Allow"))
	case err != nil:
		refuse(a.ResponseWriter, a.status, codes.InvalidArgument, strings.TrimSpace(a.text.String()))
	case body.Code == codes.Unknown:
		refuse(a.ResponseWriter, http.StatusBadRequest, codes.InvalidArgument, "the request cannot be read: "+body.Message)
	default:
		if a.status == http.StatusUnauthorized {
			a.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750, section 3
		}
		a.ResponseWriter.WriteHeader(a.status)
		_, _ = a.ResponseWriter.Write(a.text.Bytes())
	}
}
