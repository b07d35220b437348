package websocketgateways

import (
	"crypto/tls"
	"log/slog"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/plugins/internal/tlsconfig"
)

const fieldTLS = "tls"

func tlsField() *service.ConfigField { return tlsconfig.Field() }

// parseTLS reads the field tls of a gateway, and the files that it names; nil
// means no TLS.
func parseTLS(conf *service.ParsedConfig, log *slog.Logger) (*tls.Config, error) {
	return tlsconfig.Server(conf, log)
}
