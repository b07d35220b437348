package websocketgateways

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/plugins/internal/duration"
)

const (
	fieldMaxConnections      = "max_connections"
	fieldMaxConnectionsPerIP = "max_connections_per_ip"
	fieldHandshakeRate       = "handshake_rate"
	fieldHandshakeTimeout    = "handshake_timeout"
	fieldMaxHeaderBytes      = "max_header_bytes"
	fieldTrustedProxies      = "trusted_proxies"
)

// admissionFields bound what clients that want a connection may cost.
func admissionFields() []*service.ConfigField {
	return []*service.ConfigField{
		service.NewIntField(fieldMaxConnections).
			Description("How many connections may be open on the gateway. A request for one more is answered with 503. `0` means no limit.").
			Default(0).
			Example(50_000).
			LintRule(notNegative(fieldMaxConnections)),
		service.NewIntField(fieldMaxConnectionsPerIP).
			Description("How many connections may be open from one IP address; an IPv6 address counts with its /64 network, all of which a client has. A request for one more is answered with 429. `0` means no limit. Behind a proxy, set `trusted_proxies` as well, or all clients have the proxy's address.").
			Default(0).
			Example(20).
			LintRule(notNegative(fieldMaxConnectionsPerIP)),
		service.NewIntField(fieldHandshakeRate).
			Description("How many requests for a connection to look at in a second; as many may come at once. Those beyond are answered with 429. `0` means no limit.").
			Default(0).
			Example(500).
			LintRule(notNegative(fieldHandshakeRate)).
			Advanced(),
		duration.Field(fieldHandshakeTimeout).
			Description("How long a client may take for its request, with the TLS handshake, and then `on_connect` for its answer.").
			Default("10s").
			Example("3s").
			Advanced(),
		service.NewIntField(fieldMaxHeaderBytes).
			Description("How large the headers of a request may be, in bytes. Larger ones are answered with 431, at the latest when they have 4 KiB more than this.").
			Default(16 << 10).
			Example(4096).
			LintRule(`root = if this.type() == "number" && this < 1024 { [ "` + errMaxHeader + `" ] }`).
			Advanced(),
		service.NewStringListField(fieldTrustedProxies).
			Description("Addresses or networks of reverse proxies in front of the gateway. From these, the header `X-Forwarded-For` tells the address of the client: the last one in it that is no trusted proxy, with or without a port. Where it says anything else, such as `unknown`, the client counts with the address of the proxy.").
			Default([]any{}).
			Example([]string{"127.0.0.1", "10.0.0.0/8"}).
			Advanced(),
	}
}

const (
	errMaxHeader        = "max_header_bytes must be at least 1024: browsers send several hundred"
	errHandshakeTimeout = "handshake_timeout must be greater than 0s"
)

func parseAdmission(conf *service.ParsedConfig, cfg *gateway.Config) (err error) {
	a := &cfg.Admission
	for name, to := range map[string]*int{
		fieldMaxConnections: &a.MaxConnections, fieldMaxConnectionsPerIP: &a.MaxConnectionsPerIP,
		fieldHandshakeRate: &a.HandshakeRate, fieldMaxHeaderBytes: &a.MaxHeaderBytes,
	} {
		if *to, err = intField(conf, name); err != nil {
			return err
		}
	}
	if a.MaxHeaderBytes < 1024 {
		return errors.New(errMaxHeader)
	}
	if a.HandshakeTimeout, err = duration.Of(conf, fieldHandshakeTimeout); err != nil {
		return err
	}
	if a.HandshakeTimeout <= 0 {
		return errors.New(errHandshakeTimeout)
	}
	proxies, err := conf.FieldStringList(fieldTrustedProxies)
	if err != nil {
		return err
	}
	for _, p := range proxies {
		network, err := parseNetwork(p)
		if err != nil {
			return fmt.Errorf("%s: %q is neither an IP address nor a network such as 10.0.0.0/8", fieldTrustedProxies, p)
		}
		cfg.TrustedProxies = append(cfg.TrustedProxies, network)
	}
	return nil
}

func parseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if ip, ipErr := netip.ParseAddr(s); ipErr == nil {
		p, err = ip.Prefix(ip.BitLen())
	}
	if ip := p.Addr(); ip.Is4In6() && p.Bits() >= 96 { // clients have the address that is in it
		return ip.Unmap().Prefix(p.Bits() - 96)
	}
	return p, err
}
