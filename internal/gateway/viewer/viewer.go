// Package viewer serves the live viewer: one self-contained page that connects
// to the routes of the gateway that serves it and draws what arrives.
package viewer

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"path"
	"strings"

	"github.com/iotcast/iotcast/internal/gateway/client"
	"github.com/iotcast/iotcast/internal/gateway/staticfile"
)

// These pieces of the page are what render replaces; viewer_test.go asserts that
// each occurs exactly once.
const (
	titleSlot  = `<title>iotcast</title>`
	configSlot = `{"title":"iotcast","routes":["/telemetry"]}`
	// The page holds the client instead of importing it: it stays one document,
	// which needs nothing else from the gateway, or from a proxy before it.
	importSlot = "import { connect } from './" + client.File + "';"
)

const scriptTag = `<script type="module">`

//go:embed viewer.html
var source string

// Pages are what a gateway serves for its viewer, by their paths: the page at
// the path that the gateway is configured with, and beside it, where the page
// would find it by a relative import, the client for pages of the users' own.
func Pages(at, title string, routes []string) map[string]http.Handler {
	return map[string]http.Handler{
		path.Join(at[:strings.LastIndexByte(at, '/')+1], client.File): client.Handler(),
		at: Handler(title, routes),
	}
}

// Handler serves the page; routes are the paths of the gateway's routes.
//
// The page is rendered here, once: a request costs a write, or a 304.
func Handler(title string, routes []string) http.Handler {
	if title == "" {
		title = "iotcast"
	}
	page := render(title, routes)
	return staticfile.Handler(page, map[string]string{
		"Content-Type":            "text/html; charset=utf-8",
		"Content-Security-Policy": contentSecurityPolicy(page),
		"Referrer-Policy":         "no-referrer", // the query may hold a token
	})
}

// render puts title and routes into the page. The routes travel as JSON in a
// data block, in which encoding/json escapes <, > and &: nothing in a route or
// a title can end the block or start an element.
func render(title string, routes []string) string {
	if routes == nil {
		routes = []string{}
	}
	config, err := json.Marshal(struct {
		Title  string   `json:"title"`
		Routes []string `json:"routes"`
	}{title, routes})
	if err != nil {
		panic(err) // strings always marshal
	}
	return strings.NewReplacer(
		"\r\n", "\n", // browsers hash scripts and styles after this normalisation
		titleSlot, "<title>"+html.EscapeString(title)+"</title>",
		configSlot, string(config),
	).Replace(strings.Replace(source, importSlot, client.Source, 1))
}

// contentSecurityPolicy allows the page's own style and script, by their
// hashes, WebSockets, and nothing else. Trusted Types turn an assignment of a
// string to innerHTML, should one ever creep in, into an error.
func contentSecurityPolicy(page string) string {
	return strings.Join([]string{
		"default-src 'none'",
		"style-src " + hashSource(between(page, "<style>", "</style>")),
		"script-src " + hashSource(between(page, scriptTag, "</script>")),
		"connect-src 'self' ws: wss:",
		"img-src data:", // the icon
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'self'",
		"require-trusted-types-for 'script'",
	}, "; ")
}

func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func between(s, open, end string) string {
	_, s, _ = strings.Cut(s, open)
	s, _, _ = strings.Cut(s, end)
	return s
}
