// Package websocketgateways is the top-level field websocket_gateways: it
// starts the gateways of a process, keeps them for its outputs, and changes them while
// it runs.
package websocketgateways

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/gateway"
)

const (
	fieldGateways  = "websocket_gateways"
	fieldLabel     = "label"
	fieldAddress   = "address"
	fieldViewer    = "viewer"
	fieldAccessLog = "access_log"
	fieldNodeID    = "node_id"
	fieldRoutes    = "routes"
)

// Field is the top-level field.
func Field() *service.ConfigField {
	fields := []*service.ConfigField{
		service.NewStringField(fieldLabel).
			Description("The name by which `websocket_broadcast` outputs find this gateway.").
			Example("main").
			LintRule(`root = if this == "" { [ "` + errNoLabel + `" ] }`),
		service.NewStringField(fieldAddress).
			Description("The host and port to listen on. An empty host listens on all interfaces.").
			Default("127.0.0.1:8080").
			Example("0.0.0.0:8080").
			Example("${GATEWAY_ADDRESS:127.0.0.1:8080}").
			LintRule(`root = if !this.re_match(":[0-9]+$") { [ "address \"%s\" has no port: write host:port, such as 127.0.0.1:8080".format(this) ] }`),
		tlsField(),
		routesField(),
		service.NewStringField(fieldViewer).
			Description("The path of a built-in page that shows what arrives on the routes, as a chart and as the envelopes. Beside it stands `iotcast.js`, the client for pages of your own, with `events.js`, which that imports where WebSockets do not get through, and `shared.js` (with `sharedworker.js`), by which the tabs of a browser share a connection. Empty means none of them.").
			Default("").
			Example("/"),
		tokensField(),
		bindingsField(),
		service.NewBoolField(fieldAccessLog).
			Description("Whether to log a line for each connection that ends: its ID, the close code and the reason, from where and for how long.").
			Default(true).
			Example(false).
			Advanced(),
	}
	fields = append(fields, admissionFields()...)
	fields = append(fields, shutdownFields()...)
	fields = append(fields, service.NewStringField(fieldNodeID).
		Description("The name of this process among several that serve the same clients: up to 12 lower-case letters and digits. Connection IDs then begin with it and a hyphen, so that `connection_api` of every process knows where to `forward` a request to. Empty, they are plain UUIDs.").
		Default("").
		Example("${NODE_ID}").
		LintRule(`root = if this != "" && !this.re_match("^[a-z0-9]{1,12}$") { [ "`+errNodeID+`" ] }`).
		Advanced())
	return service.NewObjectListField(fieldGateways, append(fields, gatewaySettings()...)...).
		Description(description).
		Default([]any{}).
		Example([]any{map[string]any{
			"label": "main", "address": "127.0.0.1:8080",
			"routes": []any{map[string]any{"path": "/telemetry"}},
		}}).
		LintRule(`let paths = if this.type() == "object" { this.routes.or([]).map_each(r -> r.path.or("")).append(this.viewer.or("")).filter(p -> p != "").catch([]) } else { [] }
let twice = $paths.filter(p -> $paths.filter(q -> q == p).length() > 1).unique()
root = if this.type() == "array" && this.map_each(g -> g.label.or("")).unique().length() != this.length() { [ "` + errSameLabel + `" ] } else { $twice.map_each(p -> "` + errSamePath + `".format(p)) }`)
}

const (
	errNoLabel   = "label must not be empty: outputs find the gateway by it"
	errSameLabel = "two websocket_gateways have the same label: outputs could not tell them apart"
	errSamePath  = "path %s is there twice: every route, and the viewer, needs a path of its own"
	errNodeID    = "node_id must have 1 to 12 lower-case letters and digits: it is part of connection IDs, which have at most 50 characters"
	errNoRoute   = "routes needs at least one path, such as /telemetry"
)

// parse reads and checks the field: lints can be switched off. What must run for the
// gateways is among the parts.
func parse(root *service.ParsedConfig, p *parts) (all []gateway.Config, err error) {
	list, err := root.FieldObjectList(fieldGateways)
	if err != nil {
		return nil, err
	}
	labels := map[string]bool{}
	for i, conf := range list {
		cfg, err := parseGateway(conf, p)
		if err != nil {
			return nil, fmt.Errorf("%s[%d] %q: %w", fieldGateways, i, cfg.Label, err)
		}
		if labels[cfg.Label] {
			return nil, errors.New(errSameLabel)
		}
		labels[cfg.Label] = true
		all = append(all, cfg)
	}
	return all, nil
}

func parseGateway(conf *service.ParsedConfig, p *parts) (cfg gateway.Config, err error) {
	for name, to := range map[string]*string{
		fieldLabel: &cfg.Label, fieldAddress: &cfg.Address, fieldViewer: &cfg.Viewer, fieldNodeID: &cfg.NodeID,
	} {
		if *to, err = conf.FieldString(name); err != nil {
			return cfg, err
		}
	}
	p = p.within(cfg.Label)
	if cfg.AccessLog, err = conf.FieldBool(fieldAccessLog); err != nil {
		return cfg, err
	}
	if err := parseAdmission(conf, &cfg); err != nil {
		return cfg, err
	}
	if cfg.Shutdown, err = parseShutdown(conf); err != nil {
		return cfg, err
	}
	if cfg.Bindings, err = parseBindings(conf); err != nil {
		return cfg, err
	}
	if cfg.TLS, err = p.tls(conf); err != nil {
		return cfg, err
	}
	tokens, err := p.tokens(conf)
	if err != nil {
		return cfg, err
	}
	routes, err := conf.FieldObjectList(fieldRoutes)
	if err != nil {
		return cfg, err
	}
	for _, r := range routes {
		rc, err := parseRoute(layered{route: r, gateway: conf}, tokens, p)
		if err != nil {
			return cfg, fmt.Errorf("route %q: %w", rc.Path, err)
		}
		cfg.Routes = append(cfg.Routes, rc)
	}
	err = check(&cfg)
	return cfg, err
}

func check(cfg *gateway.Config) error {
	switch {
	case cfg.Label == "":
		return errors.New(errNoLabel)
	case len(cfg.Routes) == 0:
		return errors.New(errNoRoute)
	case cfg.NodeID != "" && !gateway.ValidNodeID(cfg.NodeID):
		return errors.New(errNodeID)
	}
	if _, _, err := net.SplitHostPort(cfg.Address); err != nil {
		return fmt.Errorf("%s: %w: write host:port, such as 127.0.0.1:8080", fieldAddress, err)
	}
	var all []string
	for _, r := range cfg.Routes {
		all = append(all, r.Path)
	}
	if cfg.Viewer != "" {
		all = append(all, cfg.Viewer)
	}
	seen := map[string]bool{}
	for _, path := range all {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "{}?# \t\r\n") {
			return fmt.Errorf("path %q must begin with / and hold neither white space nor any of { } ? #", path)
		}
		if seen[path] {
			return fmt.Errorf(errSamePath, path)
		}
		seen[path] = true
	}
	return nil
}
