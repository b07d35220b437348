// Package viewer serves the live viewer: one self-contained page that connects to the
// routes of its gateway, and draws what arrives. The page is viewer.html, which
// internal/page/bundle makes from the folder page.
package viewer

import (
	_ "embed"
	"encoding/json"
	"html"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"

	"github.com/iotcast/iotcast/internal/gateway/client"
	"github.com/iotcast/iotcast/internal/page"
)

// The pieces of the page that render replaces. viewer_test.go asserts that each occurs
// exactly once.
const (
	titleSlot  = `<title>iotcast</title>`
	configSlot = `{"title":"iotcast","at":"/","routes":["/telemetry"],"access":{},"publish":"mosquitto_pub"}`
)

//go:embed viewer.html
var source string

// Route is what the page must know of a route to follow it.
type Route struct {
	Path    string `json:"-"`
	History bool   `json:"history,omitempty"` // the page can begin with messages that were sent before
	Tokens  bool   `json:"tokens,omitempty"`  // connections may need a token
	// Where the route takes a token from a page; empty: not from there.
	QueryParameter    string `json:"queryParameter"`
	SubprotocolPrefix string `json:"subprotocolPrefix"`
}

// Pages returns what a gateway serves for its viewer, by path. The page stands at the path
// at. The modules of package client stand beside it, for pages of the users' own.
func Pages(at, title string, routes []Route, broker string) map[string]http.Handler {
	pages := map[string]http.Handler{}
	for name, module := range client.Handlers() {
		pages[path.Join(at[:strings.LastIndexByte(at, '/')+1], name)] = module
	}
	pages[at] = Handler(at, title, routes, broker)
	return pages
}

// Handler serves the page. The gateway has it at the path at; a proxy may have it below
// another path. broker is the address of the MQTT broker at which the page says to
// publish; empty: mosquitto_pub's default.
//
// The page is rendered here, once: a request costs a write, or a 304.
func Handler(at, title string, routes []Route, broker string) http.Handler {
	if title == "" {
		title = "iotcast"
	}
	return page.Handler(render(at, title, routes, broker))
}

// render puts title and routes into the page. They travel as JSON in a data block, in
// which encoding/json escapes <, > and &. So nothing in a route or a title can end the
// block or start an element.
func render(at, title string, routes []Route, broker string) string {
	paths, access := []string{}, map[string]Route{}
	for _, route := range routes {
		paths = append(paths, route.Path)
		if route.History || route.Tokens {
			access[route.Path] = route
		}
	}
	config, err := json.Marshal(struct {
		Title   string           `json:"title"`
		At      string           `json:"at"`
		Routes  []string         `json:"routes"`
		Access  map[string]Route `json:"access"`
		Publish string           `json:"publish"`
	}{title, at, paths, access, publish(broker)})
	if err != nil {
		panic(err) // strings always marshal
	}
	return strings.NewReplacer(
		titleSlot, "<title>"+html.EscapeString(title)+"</title>",
		configSlot, string(config),
	).Replace(source)
}

// publish returns the command that publishes at a broker. It leaves out what the command
// takes by default: localhost and port 1883.
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
