// Package certs makes the TLS configuration of a listener from files, and follows
// the files, so that a renewed certificate needs no restart.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"

	"github.com/iotcast/iotcast/internal/reload"
)

// Config names the files, all in PEM form, and what clients must offer.
type Config struct {
	CertFile, KeyFile string // the certificate with its chain, and its private key
	MinVersion        uint16 // of TLS, as in crypto/tls
	ClientAuth        tls.ClientAuthType
	ClientCAFiles     []string // authorities of client certificates, where ClientAuth verifies these
}

// Server reads the files and returns a configuration that follows them. It
// speaks HTTP/1.1 (ALPN, RFC 7301): a WebSocket handshake needs it (RFC 6455,
// section 4.1).
func (c Config) Server(log *slog.Logger) (*tls.Config, error) {
	pair := reload.New(log, keyPair, c.CertFile, c.KeyFile)
	if _, err := pair.Get(); err != nil {
		return nil, fmt.Errorf("cert_file and key_file: %w", err)
	}
	server := &tls.Config{
		MinVersion:     c.MinVersion,
		ClientAuth:     c.ClientAuth,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.Get() },
	}
	if c.ClientAuth < tls.VerifyClientCertIfGiven {
		return server, nil
	}
	withCAs := reload.New(log, func(contents [][]byte) (*tls.Config, error) {
		pool := x509.NewCertPool()
		for i, content := range contents {
			if !pool.AppendCertsFromPEM(content) {
				return nil, fmt.Errorf("%s holds no certificate in PEM form", c.ClientCAFiles[i])
			}
		}
		changed := server.Clone()
		changed.ClientCAs = pool
		return changed, nil
	}, c.ClientCAFiles...)
	first, err := withCAs.Get()
	if err != nil {
		return nil, fmt.Errorf("client_ca_files: %w", err)
	}
	// The first is returned, and never used but for its callback: who looks at it
	// sees what it verifies with.
	first = first.Clone()
	first.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return withCAs.Get() }
	return first, nil
}

func keyPair(contents [][]byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return nil, err
	}
	return &pair, nil
}

// Check tells what is missing or contradictory, before any file is read.
func (c Config) Check() error {
	switch {
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errors.New("cert_file and key_file belong together: set both, or none for no TLS")
	case c.CertFile == "" && (c.ClientAuth != tls.NoClientCert || len(c.ClientCAFiles) > 0):
		return errors.New("client_auth and client_ca_files need cert_file and key_file")
	case c.ClientAuth != tls.NoClientCert && len(c.ClientCAFiles) == 0:
		return errors.New("client_auth needs client_ca_files to verify certificates with")
	case c.ClientAuth == tls.NoClientCert && len(c.ClientCAFiles) > 0:
		return errors.New("client_ca_files is for client_auth request or require")
	}
	return nil
}
