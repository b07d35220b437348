// Package connectionapi is an HTTP API over the connections of gateways: get,
// send and disconnect as in the original service, and list and broadcast. What it
// takes and answers is in openapi.yaml.
package connectionapi

import (
	_ "embed" // for the document
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/iotcast/iotcast/internal/token"
)

// base is where the methods are, as in the original service.
const base = "/apigateways/websocket/v1/"

//go:embed openapi.yaml
var document []byte

// api answers requests.
type api struct {
	directory       Directory
	verifier        *token.Verifier // nil: callers are of this machine
	maxMessageBytes int
	observe         func(method string, status int)
	pages           http.CrossOriginProtection
	log             *slog.Logger
}

// call is one request for a method of the API.
type call struct {
	caller
	req  *http.Request
	name string // of a connection or a gateway; empty for those that have none
}

// method is what the API can do.
type method struct {
	name string // for metrics and the log
	verb string // of HTTP
	do   func(*api, *call) (any, error)
}

var (
	list       = method{"list", http.MethodGet, (*api).list}
	get        = method{"get", http.MethodGet, (*api).get}
	send       = method{"send", http.MethodPost, (*api).send}
	disconnect = method{"disconnect", http.MethodDelete, (*api).disconnect}
	broadcast  = method{"broadcast", http.MethodPost, (*api).broadcast}
)

// find returns the methods that a path leads to, and the name in it. A path is
// taken as it is written: there is no other way to write it, but for what is
// percent-encoded within a part.
func find(u *url.URL) (methods []method, name string) {
	rest, ok := strings.CutPrefix(u.EscapedPath(), base)
	if !ok {
		return nil, ""
	}
	collection, encoded, one := strings.Cut(rest, "/")
	if !one {
		if collection == "connections" {
			methods = []method{list}
		}
		return methods, ""
	}
	name, err := url.PathUnescape(encoded)
	if err != nil || strings.Contains(encoded, "/") {
		return nil, ""
	}
	verb := ""
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		name, verb = name[:i], name[i:]
	}
	switch {
	case name == "":
	case collection == "connections" && verb == "":
		methods = []method{get, disconnect}
	case collection == "connections" && verb == ":send":
		methods = []method{send}
	case collection == "gateways" && verb == ":broadcast":
		methods = []method{broadcast}
	}
	return methods, name
}

// ServeHTTP implements http.Handler.
func (a *api) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/openapi.yaml" && req.Method == http.MethodGet {
		w.Header().Set("Content-Type", "application/yaml") // RFC 9512
		_, _ = w.Write(document)
		return
	}
	who, m, answer, err := a.serve(w, req)
	status := http.StatusOK
	if f := (*failure)(nil); errors.As(err, &f) {
		status = f.status
		f.write(w)
	} else {
		writeJSON(w, status, answer)
	}
	a.observe(m.name, status)
	a.log.Debug("Connection API", "method", m.name, "service_account_id", who.account, "status", status, "remote_address", req.RemoteAddr)
}

// serve does what a request asks for. Its error is a *failure.
func (a *api) serve(w http.ResponseWriter, req *http.Request) (who caller, m method, answer any, err error) {
	m.name = "unknown"
	if who, err = a.authenticate(req); err != nil {
		return who, m, nil, err
	}
	methods, name := find(req.URL)
	if len(methods) == 0 {
		return who, m, nil, notFound("there is nothing at this path, /openapi.yaml says what there is")
	}
	var verbs []string
	for _, candidate := range methods {
		if candidate.verb != req.Method {
			verbs = append(verbs, candidate.verb)
			continue
		}
		m = candidate
		answer, err = m.do(a, &call{caller: who, req: req, name: name})
		return who, m, answer, a.translate(m, err)
	}
	allowed := strings.Join(verbs, ", ")
	w.Header().Set("Allow", allowed)
	return who, m, nil, notAllowed(allowed)
}

// translate makes a failure of every error.
func (a *api) translate(m method, err error) error {
	f := (*failure)(nil)
	switch {
	case err == nil || errors.As(err, &f):
		return err
	case errors.Is(err, ErrTooLarge):
		return invalid("data: %v", err)
	case errors.Is(err, ErrNotFound):
		return notFound("%v", err)
	}
	a.log.Error("Connection API failed", "method", m.name, "error", err)
	return internal()
}
