package httpguard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/Jeffail/gabs/v2"
	"github.com/gorilla/mux"
	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/metricnames"
	"github.com/iotcast/iotcast/internal/streamsapi"
	"github.com/iotcast/iotcast/internal/turns"
)

const (
	maxConfigBytes = 16 << 20
	restoreTimeout = time.Minute
)

// streams stands before those paths of the API by which streams and resources
// are read and changed.
type streams struct {
	linter *linter
	names  *metricnames.Names
	turns  turns.Turns  // by stream ID: of two changes at once, Benthos leaves a stream that runs for ever and that it no longer knows
	check  func() error // of what /ready is to wait for; nil: nothing
	next   http.Handler

	isTrigger func(id string) bool // of a stream that /ready does not wait for; nil: none is
}

// newStreams routes with the router that Benthos routes with, so that both take a
// path for the same.
func newStreams(cfg Config, next http.Handler) http.Handler {
	s := &streams{linter: newLinter(cfg), names: metricnames.New(true), check: cfg.Ready, isTrigger: cfg.IsTrigger, next: next}
	router := mux.NewRouter()
	prefixes := []string{""}
	if cfg.RootPath != "" {
		prefixes = append(prefixes, cfg.RootPath)
	}
	for _, prefix := range prefixes {
		router.Path(prefix + "/streams").HandlerFunc(s.all)
		router.Path(prefix + "/streams/{id}").HandlerFunc(s.one)
		router.Path(prefix + "/resources/{type}/{id}").HandlerFunc(s.resource)
		router.Path(prefix + "/ready").HandlerFunc(s.ready)
	}
	router.NotFoundHandler = next
	return router
}

// one is about a stream.
func (s *streams) one(w http.ResponseWriter, r *http.Request) {
	id := mux.Vars(r)["id"]
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.show(w, r)
	case http.MethodPatch:
		w.Header().Set("Allow", "GET, POST, PUT, DELETE")
		http.Error(w, "PATCH is not accepted, since what it makes is not checked before the old stream ends: send the whole config by PUT, or use iotcast stream update", http.StatusMethodNotAllowed)
	case http.MethodPost, http.MethodPut:
		if err := checkID(id); err != nil {
			refuse(w, err)
			return
		}
		doc, ok := s.accept(w, r, kindStream)
		if !ok {
			return
		}
		end, err := s.turns.Take(r.Context(), id)
		if err != nil { // the sender has left
			return
		}
		defer end()
		if err := s.takeNames(r, doc); err != nil {
			refuse(w, err)
			return
		}
		s.forward(w, r, doc, id)
	default:
		end, err := s.turns.Take(r.Context(), id)
		if err != nil {
			return
		}
		defer end()
		s.next.ServeHTTP(w, r)
	}
}

func checkID(id string) error {
	if streamsapi.Reserved(id) {
		return fmt.Errorf("%q is a path of the API, and no ID for a stream", id)
	}
	return nil
}

// all is about all streams at once: POST takes a map of them.
func (s *streams) all(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		s.next.ServeHTTP(w, r)
		return
	}
	text, err := read(w, r)
	if err == nil {
		text, err = s.linter.expand(text)
	}
	var set *yaml.Node
	if err == nil {
		set, err = parse(text)
	}
	if err == nil && set.Kind != yaml.MappingNode {
		err = errors.New("the body must be an object with a config for each stream ID")
	}
	if err != nil {
		refuse(w, err)
		return
	}
	var configs []*yaml.Node
	var lints []string
	for i := 0; i < len(set.Content); i += 2 {
		config := set.Content[i+1]
		err := checkID(set.Content[i].Value)
		if err == nil {
			err = s.linter.checked(kindStream, config)
		}
		var wrong *lintError
		switch {
		case errors.As(err, &wrong):
			for _, lint := range wrong.lints {
				lints = append(lints, fmt.Sprintf("stream '%s': %s", set.Content[i].Value, lint))
			}
		case err != nil:
			refuse(w, fmt.Errorf("stream %q: %w", set.Content[i].Value, err))
			return
		}
		configs = append(configs, config)
	}
	if len(lints) > 0 {
		refuse(w, &lintError{lints})
		return
	}
	ids, err := s.running(r)
	if err != nil {
		refuse(w, err)
		return
	}
	for i := 0; i < len(set.Content); i += 2 {
		ids = append(ids, set.Content[i].Value)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	end, err := s.turns.Take(r.Context(), ids...)
	if err != nil {
		return
	}
	defer end()
	if err := s.takeNames(r, configs...); err != nil {
		refuse(w, err)
		return
	}
	s.forward(w, r, set, ids...)
}

// resource makes a component that streams may refer to.
func (s *streams) resource(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		s.next.ServeHTTP(w, r)
		return
	}
	kind := mux.Vars(r)["type"]
	if !slices.Contains([]string{"cache", "input", "output", "processor", "rate_limit"}, kind) {
		s.next.ServeHTTP(w, r) // which refuses it
		return
	}
	doc, ok := s.accept(w, r, kind)
	if !ok {
		return
	}
	if err := s.takeNames(r, doc); err != nil {
		refuse(w, err)
		return
	}
	s.forward(w, r, doc)
}

// ready answers for what Benthos does not know of, and leaves out triggers: who makes one that cannot connect is not to take
// the process of all out of its load balancer.
func (s *streams) ready(w http.ResponseWriter, r *http.Request) {
	if s.check != nil {
		if err := s.check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	answer := s.call(r, r.Method, r.URL.Path, r.URL.RawQuery, nil)
	if answer.Code == http.StatusServiceUnavailable && s.isTrigger != nil {
		if waiting, err := s.waiting(r); err == nil {
			answer = httptest.NewRecorder()
			if len(waiting) > 0 {
				http.Error(answer, fmt.Sprintf("streams %s are not connected", strings.Join(waiting, ", ")), http.StatusServiceUnavailable)
			} else {
				_, _ = answer.WriteString("OK")
			}
		}
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = answer.Body.WriteTo(w)
}

// waiting are the streams that are not connected, without triggers.
func (s *streams) waiting(r *http.Request) (ids []string, err error) {
	answer := s.call(r, http.MethodGet, "/streams", "", nil)
	all, err := gabs.ParseJSON(answer.Body.Bytes())
	if err != nil {
		return nil, err
	}
	for id, stream := range all.ChildrenMap() {
		active, _ := stream.Path("active").Data().(bool) // one that has ended has no connection to wait for
		if active && !s.isTrigger(id) && s.call(r, http.MethodGet, "/"+id+"/ready", "", nil).Code == http.StatusServiceUnavailable {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// takeNames refuses configs with metrics whose names are taken, and takes the names.
// Streams that have not come over HTTP have some, too.
func (s *streams) takeNames(r *http.Request, configs ...*yaml.Node) error {
	if !slices.ContainsFunc(configs, metricnames.In) {
		return nil
	}
	ids, err := s.running(r)
	if err != nil {
		return err
	}
	for _, id := range ids {
		text, _ := s.config(r, id)
		var config yaml.Node
		if yaml.Unmarshal(text, &config) == nil {
			s.names.Learn(&config)
		}
	}
	return s.names.Take(s.call(r, http.MethodGet, "/metrics", "", nil).Body.Bytes(), configs...)
}

// accept reads a config and refuses what must not come over HTTP.
func (s *streams) accept(w http.ResponseWriter, r *http.Request, kind string) (doc *yaml.Node, ok bool) {
	text, err := read(w, r)
	if err == nil {
		doc, err = s.linter.check(kind, text)
	}
	if err != nil {
		refuse(w, err)
		return nil, false
	}
	return doc, true
}

func read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxConfigBytes))
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	return text, nil
}

// refuse answers as Benthos does.
func refuse(w http.ResponseWriter, err error) {
	var wrong *lintError
	if !errors.As(err, &wrong) {
		http.Error(w, "Error: "+err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write(gabs.Wrap(map[string]any{"lint_errors": wrong.lints}).Bytes())
}

// forward lets Benthos make a checked config. Benthos ends and removes the old
// stream before it makes the new one, and what the linter likes may still not be
// makable. So those of ids that are gone after a refusal are put back, also for
// a caller that has left.
func (s *streams) forward(w http.ResponseWriter, r *http.Request, config *yaml.Node, ids ...string) {
	text, err := encode(config)
	if err != nil {
		refuse(w, err)
		return
	}
	before := map[string][]byte{}
	for _, id := range ids {
		if config, ok := s.config(r, id); ok {
			before[id] = config
		}
	}
	answer := s.call(r, r.Method, r.URL.Path, query(r.URL), text)
	if answer.Code != http.StatusOK {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), restoreTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		for _, id := range slices.Sorted(maps.Keys(before)) {
			if _, ok := s.config(r, id); ok {
				continue
			}
			back := s.call(r, http.MethodPost, "/streams/"+id, "chilled=true", before[id])
			if back.Code != http.StatusOK {
				fmt.Fprintf(answer.Body, "the old config of stream %q could not be put back, so that it no longer runs: %s", id, back.Body)
			}
		}
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = answer.Body.WriteTo(w)
}

// query is what Benthos may see of a query: chilled would let it pass over its
// own linter.
func query(u *url.URL) string {
	q := u.Query()
	q.Del("chilled")
	return q.Encode()
}

// call asks Benthos itself, for the sender of a request: http.basic_auth asks for
// the password behind the guard.
func (s *streams) call(from *http.Request, method, path, query string, body []byte) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	r := (&http.Request{
		Method: method, URL: &url.URL{Path: path, RawQuery: query}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Authorization": from.Header["Authorization"]},
		Body:   io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}).WithContext(from.Context())
	s.next.ServeHTTP(answer, r)
	return answer
}

// config is that of a running stream, in a form that Benthos takes back.
func (s *streams) config(r *http.Request, id string) (config []byte, ok bool) {
	answer := s.call(r, http.MethodGet, "/streams/"+id, "", nil)
	if answer.Code != http.StatusOK {
		return nil, false
	}
	stream, err := gabs.ParseJSONDecoder(number(answer.Body))
	if err != nil {
		return nil, false
	}
	return bytes.ReplaceAll(stream.Path("config").EncodeJSON(), []byte("${"), []byte(`\u0024{`)), true
}

// number keeps large numbers as they are.
func number(body io.Reader) *json.Decoder {
	d := json.NewDecoder(body)
	d.UseNumber()
	return d
}

// running are the IDs of all streams.
func (s *streams) running(r *http.Request) ([]string, error) {
	answer := s.call(r, http.MethodGet, "/streams", "", nil)
	if answer.Code != http.StatusOK {
		return nil, fmt.Errorf("reading the list of streams: %s", http.StatusText(answer.Code))
	}
	all, err := gabs.ParseJSON(answer.Body.Bytes())
	if err != nil {
		return nil, fmt.Errorf("reading the list of streams: %w", err)
	}
	return slices.Sorted(maps.Keys(all.ChildrenMap())), nil
}

// show is the config of a stream without its secrets, which may have come from
// the environment of the process.
func (s *streams) show(w http.ResponseWriter, r *http.Request) {
	answer := s.call(r, r.Method, r.URL.Path, r.URL.RawQuery, nil)
	body := answer.Body.Bytes()
	if stream, err := gabs.ParseJSONDecoder(number(answer.Body)); err == nil && answer.Code == http.StatusOK {
		if config, err := scrub(s.linter.all, stream.Path("config").Bytes()); err != nil {
			http.Error(w, "Error: the config cannot be shown without its secrets: "+err.Error(), http.StatusBadGateway)
			return
		} else if _, err := stream.Set(config, "config"); err == nil {
			body = stream.EncodeJSON()
		}
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body)
}
