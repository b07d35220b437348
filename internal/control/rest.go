package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"connectrpc.com/vanguard"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/apigateway/websocket/v1"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxAnswerBytes is far above a page of a thousand resources that are as long as they may be.
const maxAnswerBytes = 64 << 20

// restOptions say how REST is made of gRPC. The library has one bound for requests and answers: those of requests are bounded by
// limited.
func restOptions() []vanguard.TranscoderOption {
	return []vanguard.TranscoderOption{
		vanguard.WithDefaultServiceOptions(vanguard.WithMaxMessageBufferBytes(maxAnswerBytes)),
		vanguard.WithCodec(func(types vanguard.TypeResolver) vanguard.Codec {
			return strictJSON{vanguard.JSONCodec{
				MarshalOptions:   protojson.MarshalOptions{Resolver: types},
				UnmarshalOptions: protojson.UnmarshalOptions{Resolver: types},
			}}
		}),
		vanguard.WithUnknownHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			refuse(w, r, http.StatusNotFound, codes.NotFound, "there is nothing at this path, /openapi.yaml says what there is")
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

// malformed is the error about a body.
func malformed(err error) error {
	if err == nil {
		return nil
	}
	return connect.NewError(connect.CodeInvalidArgument, errors.New(misread(err)))
}

// plainText is that of an error of the library, which puts spaces of one kind or another into its texts, so that nobody compares
// them.
func plainText(err error) string {
	return strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
}

// misread says what is wrong with a body.
func misread(err error) string {
	text := strings.Replace(plainText(err), "invalid value for bytes field", "invalid base64 for field", 1)
	return fmt.Sprintf("the body is not the JSON that it must be: %.300s", text)
}

// MarshalAppend implements vanguard.Codec. An error has details, if only none, as in the original, and of a connection there is
// what is known, if only that it is empty.
func (c strictJSON) MarshalAppend(base []byte, m proto.Message) ([]byte, error) {
	switch m := m.(type) {
	case *rpc.Status:
		c.MarshalOptions.EmitUnpopulated = len(m.Details) == 0
	case *websocket.Connection:
		c.MarshalOptions.EmitUnpopulated = true
	}
	return c.JSONCodec.MarshalAppend(base, m)
}

// limited bounds the bodies of requests, but for those of gRPC, which has its own way.
func (c *calls) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if kind := r.Header.Get("Content-Type"); !isGRPC(r) || strings.HasPrefix(kind, "application/grpc-web") {
			whole := r.Body
			r.Body = &bounded{ReadCloser: whole, left: c.maxBytes, who: callerOf(r.Context())}
			defer func() { r.Body = whole }()
		}
		next.ServeHTTP(w, r)
	})
}

// bounded is a body of which not more is read than may be.
type bounded struct {
	io.ReadCloser
	left int64
	who  *caller
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		b.who.large = true
		return 0, errors.New("the body is too large")
	}
	return n, err
}

func tooLarge(maxBytes int64) string {
	return fmt.Sprintf("the body has more than the %d bytes that a request may have", maxBytes)
}

// isGRPC tells requests of gRPC from those of REST.
func isGRPC(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// colons are written either way.
var colons = strings.NewReplacer("%3A", ":", "%3a", ":")

// rest is what the library lacks for REST: it takes a path for what it may stand for, and not as it is written; of two ways to
// say nothing, an empty body and an empty object, it takes one only for each method; and what is the caller's fault it calls
// its own, or answers as text.
func (c *calls) rest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isGRPC(r) {
			next.ServeHTTP(w, r)
			return
		}
		// The library decodes the values of fields itself.
		r.URL.Path, r.URL.RawPath = colons.Replace(r.URL.EscapedPath()), ""
		if r.Method == http.MethodPost || r.Method == http.MethodPatch {
			if route := routeTo(c.routes, r.Method, r.URL.Path); route != nil {
				nothing(r, route.Body)
			}
		}
		answer := &answer{ResponseWriter: w}
		next.ServeHTTP(answer, r)
		answer.finish(r, c.maxBytes)
	})
}

// nothing is an empty object where a method has a body, and an empty body where it has none.
func nothing(r *http.Request, hasBody bool) {
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
	if len(text) == 0 && hasBody {
		text = []byte("{}")
		r.Header.Set("Content-Type", "application/json")
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
}

// maxDrained is how much of a body is read that is too large.
const maxDrained = 4 << 20

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

// Flush implements http.Flusher. What the library answers is not streamed.
func (a *answer) Flush() {}

// FlushError is for those whose answer is: http.ResponseController calls it.
func (a *answer) FlushError() error { return http.NewResponseController(a.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// finish sends an error. Who is not known learns from it nothing but that. The services have no code UNKNOWN: it is the
// library's, about a request that it cannot read.
func (a *answer) finish(r *http.Request, maxBytes int64) {
	if a.status == 0 {
		return
	}
	var body struct {
		Code    codes.Code `json:"code"`
		Message string     `json:"message"`
	}
	a.Header().Del("Content-Length")
	who := callerOf(r.Context())
	unread := !who.reached.Load()
	switch err := json.Unmarshal(a.text.Bytes(), &body); {
	case unread && who.err != nil:
		unknown := status.Convert(who.err)
		refuse(a.ResponseWriter, r, httpStatus(unknown.Code()), unknown.Code(), unknown.Message())
	case who.large:
		// Who has sent much more than is read sees the connection break, and not the answer.
		_, _ = io.CopyN(io.Discard, r.Body, maxDrained)
		refuse(a.ResponseWriter, r, http.StatusBadRequest, codes.InvalidArgument, tooLarge(maxBytes))
	case err != nil && a.status == http.StatusMethodNotAllowed:
		verbs := strings.FieldsFunc(a.Header().Get("Allow"), func(c rune) bool { return c == ',' || c == ' ' })
		slices.Sort(verbs)
		a.Header().Set("Allow", strings.Join(verbs, ", "))
		refuse(a.ResponseWriter, r, a.status, codes.Unimplemented, "this path has other methods: "+a.Header().Get("Allow"))
	case err != nil:
		refuse(a.ResponseWriter, r, a.status, codes.InvalidArgument, strings.TrimSpace(a.text.String()))
	case body.Code == codes.Unknown:
		refuse(a.ResponseWriter, r, http.StatusBadRequest, codes.InvalidArgument, "the request cannot be read: "+body.Message)
	case unread:
		refuse(a.ResponseWriter, r, a.status, body.Code, body.Message)
	default:
		if a.status == http.StatusUnauthorized {
			a.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750, section 3
		}
		a.ResponseWriter.WriteHeader(a.status)
		_, _ = a.ResponseWriter.Write(a.text.Bytes())
	}
}
