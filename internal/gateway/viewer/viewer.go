// Package viewer serves the live viewer: one self-contained page that connects
// to the routes of the gateway that serves it and draws what arrives.
package viewer

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"

	"github.com/iotcast/iotcast/internal/gateway/client"
	"github.com/iotcast/iotcast/internal/gateway/staticfile"
)

// These pieces of the page are what render replaces; viewer_test.go asserts that
// each occurs exactly once.
const (
	titleSlot  = `<title>iotcast</title>`
	configSlot = `{"title":"iotcast","routes":["/telemetry"],"publish":"mosquitto_pub"}`
	// The page holds the client instead of importing it: it stays one document, which
	// needs nothing else from the gateway, or from a proxy before it that lets
	// WebSockets through.
	importSlot = "import { connect } from './" + client.File + "';"
)

const scriptTag = `<script type="module">`

//go:embed viewer.html
var source string

// Pages are what a gateway serves for its viewer, by their paths: the page at
// the path that the gateway is configured with, and beside it, where the page
// would find it by a relative import, the client for pages of the users' own.
func Pages(at, title string, routes []string, broker string) map[string]http.Handler {
	pages := map[string]http.Handler{}
	for name, module := range client.Handlers() {
		pages[path.Join(at[:strings.LastIndexByte(at, '/')+1], name)] = module
	}
	pages[at] = Handler(title, routes, broker)
	return pages
}

// Handler serves the page; routes are the paths of the gateway's routes, and broker
// is the address of an MQTT broker at which the page says to publish, or empty.
//
// The page is rendered here, once: a request costs a write, or a 304.
func Handler(title string, routes []string, broker string) http.Handler {
	if title == "" {
		title = "iotcast"
	}
	page := render(title, routes, broker)
	return staticfile.Handler(page, map[string]string{
		"Content-Type":            "text/html; charset=utf-8",
		"Content-Security-Policy": contentSecurityPolicy(page),
		"Referrer-Policy":         "no-referrer", // the query may hold a token
	})
}

// render puts title and routes into the page. The routes travel as JSON in a
// data block, in which encoding/json escapes <, > and &: nothing in a route or
// a title can end the block or start an element.
func render(title string, routes []string, broker string) string {
	if routes == nil {
		routes = []string{}
	}
	config, err := json.Marshal(struct {
		Title   string   `json:"title"`
		Routes  []string `json:"routes"`
		Publish string   `json:"publish"`
	}{title, routes, publish(broker)})
	if err != nil {
		panic(err) // strings always marshal
	}
	return strings.NewReplacer(
		"\r\n", "\n", // browsers hash scripts and styles after this normalisation
		titleSlot, "<title>"+html.EscapeString(title)+"</title>",
		configSlot, string(config),
	).Replace(strings.Replace(source, importSlot, client.Source, 1))
}

// publish is the command to publish at a broker with, without what it does anyway:
// it takes localhost and port 1883.
func publish(broker string) string {
	command := "mosquitto_pub"
	host, port, err := net.SplitHostPort(broker)
	if err != nil {
		return command
	}
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified() && ip != netip.AddrFrom4([4]byte{127, 0, 0, 1})) {
		command += " -h " + host
	}
	if port != "1883" {
		command += " -p " + port
	}
	return command
}

// contentSecurityPolicy allows the page's own style and script, by their
// hashes, the module for events, which that imports from the gateway, WebSockets, and
// nothing else. Trusted Types turn an assignment of a
// string to innerHTML, should one ever creep in, into an error.
func contentSecurityPolicy(page string) string {
	return strings.Join([]string{
		"default-src 'none'",
		"style-src " + hashSource(between(page, "<style>", "</style>")),
		"script-src " + hashSource(between(page, scriptTag, "</script>")) + " 'self'",
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
