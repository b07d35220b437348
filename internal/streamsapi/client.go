// Package streamsapi speaks to the HTTP API of a process in streams mode, and
// updates a running stream without losing it.
package streamsapi

import (
	"bytes"
	"cmp"
	"context"
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

	"github.com/iotcast/iotcast/internal/version"
)

// DefaultAddress is where Benthos listens by default, on this machine.
const DefaultAddress = "http://127.0.0.1:4195"

const (
	// stopTimeout is what a stream gets to send and acknowledge what it has read,
	// as at the end of the process. Without it, Benthos waits for ever.
	stopTimeout = "20s"
	// requestTimeout is longer, so that an answer is never missed.
	requestTimeout = 60 * time.Second
	pollInterval   = 100 * time.Millisecond
)

// Client is one process in streams mode.
type Client struct {
	base  *url.URL
	http  http.Client
	token string // empty: none
}

// Authorize has each call carry a token, instead of a user's password.
func (c *Client) Authorize(token string) { c.token = token }

// New returns the client for an address such as http://127.0.0.1:4195. The user,
// if there is one, logs in with each call.
func New(address string, user *url.Userinfo) (*Client, error) {
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		if strings.Contains(address, "@") { // there may be a password before it
			address = "…" + address[strings.LastIndex(address, "@"):]
		}
		return nil, fmt.Errorf("%q is no address of an HTTP API: write it as %s", address, DefaultAddress)
	}
	if user != nil {
		base.User = user
	}
	return &Client{base: base, http: http.Client{Timeout: requestTimeout}}, nil
}

// Within returns the client for the API of this process itself, without a socket in between.
func Within(api http.Handler) *Client {
	return &Client{base: &url.URL{Scheme: "http", Host: "this.process"}, http: http.Client{Timeout: requestTimeout, Transport: within{api}}}
}

// within is an http.RoundTripper that calls a handler.
type within struct{ api http.Handler }

// RoundTrip implements http.RoundTripper.
func (w within) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	defer func() { // as net/http does for a server
		if why := recover(); why != nil {
			err = fmt.Errorf("the HTTP API failed: %v", why)
		}
	}()
	recorder := httptest.NewRecorder()
	w.api.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

// Reserved reports whether a stream cannot have an ID: its endpoints, which have it before their paths, would stand in the
// place of those of the API.
func Reserved(id string) bool { return slices.Contains([]string{"streams", "resources", "debug"}, id) }

var (
	// ErrExists says that there is a stream with the ID already.
	ErrExists = errors.New("a stream with this ID runs already")
	// ErrNoStreams says that a process has none, and cannot have any.
	ErrNoStreams = errors.New("it has no streams: run it with `iotcast streams`")
)

// LintError is what Benthos' linter says of a config.
type LintError struct{ Lints []string }

// Error implements error.
func (e *LintError) Error() string { return strings.Join(e.Lints, "\n") }

// RefusedError is an answer other than 200.
type RefusedError struct {
	status int
	text   string
}

// Error implements error.
func (e *RefusedError) Error() string { return e.text }

// call returns the body of an answer with status 200.
func (c *Client) call(ctx context.Context, method, path, query string, body []byte) ([]byte, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", version.UserAgent())
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // the address is named below
		}
		return nil, fmt.Errorf("calling iotcast at %s: %w: is `iotcast streams` running there?", c.base.Redacted(), err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer of iotcast at %s: %w", c.base.Redacted(), err)
	}
	if res.StatusCode == http.StatusOK {
		return answer, nil
	}
	return nil, c.refusal(res.StatusCode, string(answer))
}

// refusal turns an answer of Benthos into an error.
func (c *Client) refusal(status int, answer string) error {
	text := strings.TrimPrefix(strings.TrimSpace(answer), "Error: ")
	lints := lintsOf(text)
	switch {
	case len(lints) > 0:
		return &LintError{Lints: lints}
	case text == "Stream already exists":
		return ErrExists
	case status == http.StatusUnauthorized && strings.Contains(text, "bearer token"):
		return fmt.Errorf("iotcast at %s asks for a token, as management_api does: set IOTCAST_TOKEN, or IOTCAST_TOKEN_FILE (%s)", c.base.Redacted(), text)
	case status == http.StatusUnauthorized:
		return fmt.Errorf("iotcast at %s asks for another user name and password, those of its http_guard: set IOTCAST_API_USER, and IOTCAST_API_PASSWORD or IOTCAST_API_PASSWORD_FILE", c.base.Redacted())
	case text == "":
		text = http.StatusText(status)
	}
	return &RefusedError{status: status, text: text}
}

// lintsOf are the lint errors of an answer, if it has any.
func lintsOf(answer string) (lints []string) {
	parsed, err := gabs.ParseJSON([]byte(answer))
	if err != nil {
		return nil
	}
	for _, lint := range parsed.Path("lint_errors").Children() {
		lints = append(lints, fmt.Sprint(lint.Data()))
	}
	return lints
}

func streamPath(id string) string { return "/streams/" + url.PathEscape(id) }

// Running are the IDs of all streams.
func (c *Client) Running(ctx context.Context) (map[string]bool, error) {
	answer, err := c.call(ctx, http.MethodGet, "/streams", "", nil)
	var refused *RefusedError
	if errors.As(err, &refused) && refused.status == http.StatusNotFound {
		return nil, fmt.Errorf("the process at %s: %w", c.base.Redacted(), ErrNoStreams)
	}
	if err != nil {
		return nil, err
	}
	streams, err := gabs.ParseJSON(answer)
	if err != nil {
		return nil, fmt.Errorf("reading the list of streams of %s: %w", c.base.Redacted(), err)
	}
	running := map[string]bool{}
	for id := range streams.ChildrenMap() {
		running[id] = true
	}
	return running, nil
}

// Create starts a stream. A config that is refused leaves nothing.
func (c *Client) Create(ctx context.Context, id string, config []byte) error {
	_, err := c.call(ctx, http.MethodPost, streamPath(id), "", config)
	if errors.Is(err, ErrExists) {
		return fmt.Errorf("%w: %q", err, id)
	}
	return err
}

// Delete ends a stream, once what it has read is sent and acknowledged.
func (c *Client) Delete(ctx context.Context, id string) error {
	_, err := c.call(ctx, http.MethodDelete, streamPath(id), "timeout="+stopTimeout, nil)
	return c.orList(ctx, id, err)
}

// orList adds to an error about a stream that does not exist those that do.
func (c *Client) orList(ctx context.Context, id string, err error) error {
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.status != http.StatusNotFound {
		return err
	}
	running, err := c.Running(ctx)
	switch {
	case err != nil:
		return err
	case len(running) == 0:
		return fmt.Errorf("there is no stream %q: none is running", id)
	}
	return fmt.Errorf("there is no stream %q: there is %s", id, strings.Join(slices.Sorted(maps.Keys(running)), ", "))
}

// Connected waits until the input and the output of a stream are connected, as
// long as ctx lasts, and else says why they are not.
func (c *Client) Connected(ctx context.Context, id string) error {
	last := errors.New("no answer in time")
	for {
		_, err := c.call(ctx, http.MethodGet, "/"+url.PathEscape(id)+"/ready", "", nil)
		var refused *RefusedError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return last
		case !errors.As(err, &refused) || refused.status != http.StatusServiceUnavailable:
			return err
		}
		if text := disconnected(refused.text); text != "" {
			last = errors.New(text)
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return last
		}
	}
}

// Disconnected is why the input or the output of a stream is not connected now, empty if both are.
func (c *Client) Disconnected(ctx context.Context, id string) (why string, err error) {
	_, err = c.call(ctx, http.MethodGet, "/"+url.PathEscape(id)+"/ready", "", nil)
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.status != http.StatusServiceUnavailable {
		return "", err
	}
	return cmp.Or(disconnected(refused.text), "It is being connected."), nil
}

// disconnected is the first error of a stream's components.
func disconnected(answer string) string {
	ready, err := gabs.ParseJSON([]byte(answer))
	if err != nil {
		return ""
	}
	for _, status := range ready.Path("statuses").Children() {
		path, _ := status.Path("path").Data().(string)
		connected, _ := status.Path("connected").Data().(bool)
		if text, _ := status.Path("error").Data().(string); !connected && text != "" {
			return strings.TrimPrefix(path, "root.") + ": " + text
		}
	}
	return ""
}
