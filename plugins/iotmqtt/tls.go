package iotmqtt

import (
	"crypto/tls"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// parseTLS returns what reads the field, and with it the files that it names: they
// are read for each connection, so that a renewed certificate needs no restart. It
// is nil where TLS is not enabled.
func parseTLS(conf *service.ParsedConfig) (func() (*tls.Config, error), error) {
	read := func() (*tls.Config, error) {
		config, _, err := conf.FieldTLSToggled(fieldTLS)
		if err != nil {
			return nil, fmt.Errorf("reading field %s: %w", fieldTLS, err)
		}
		return config, nil
	}
	switch first, err := read(); {
	case err != nil:
		return nil, err
	case first == nil:
		return nil, nil
	}
	return read, nil
}
