// Package viewer serves the live viewer: one self-contained page that connects to the routes of the gateway that serves it and
// draws what arrives. Its document is made of the folder page, see internal/page/bundle.
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

// These pieces of the page are what render replaces; viewer_test.go asserts that
// each occurs exactly once.
const (
	titleSlot  = `<title>iotcast</title>`
	configSlot = `{"title":"iotcast","routes":["/telemetry"],"publish":"mosquitto_pub"}`
)

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
	return page.Handler(render(title, routes, broker))
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
		titleSlot, "<title>"+html.EscapeString(title)+"</title>",
		configSlot, string(config),
	).Replace(source)
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
