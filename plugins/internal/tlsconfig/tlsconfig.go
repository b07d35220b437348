// Package tlsconfig is the field tls of everything that listens.
package tlsconfig

import (
	"crypto/tls"
	"fmt"
	"log/slog"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/certs"
)

const (
	fieldTLS           = "tls"
	fieldCertFile      = "cert_file"
	fieldKeyFile       = "key_file"
	fieldMinVersion    = "min_version"
	fieldClientAuth    = "client_auth"
	fieldClientCAFiles = "client_ca_files"
)

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

var clientAuth = map[string]tls.ClientAuthType{
	"none":    tls.NoClientCert,
	"request": tls.VerifyClientCertIfGiven,
	"require": tls.RequireAndVerifyClientCert,
}

// Field returns the field tls.
func Field() *service.ConfigField {
	return service.NewObjectField(fieldTLS,
		service.NewStringField(fieldCertFile).
			Description("A file with the certificate, and those that lead to its authority, in PEM form. It is read again when it changes, without a restart.").
			Default("").
			Example("/etc/iotcast/tls.crt"),
		service.NewStringField(fieldKeyFile).
			Description("A file with the private key of the certificate, in PEM form. It is read again when it changes, without a restart.").
			Default("").
			Example("/etc/iotcast/tls.key"),
		// No enum: its lint rule takes the dot for a path.
		service.NewStringField(fieldMinVersion).
			Description("The lowest version of TLS that is spoken, `\"1.2\"` or `\"1.3\"`.").
			Default("1.2").
			Example("1.3").
			LintRule(`root = if ![ "1.2", "1.3" ].contains(this.string()) { [ "min_version must be \"1.2\" or \"1.3\", not %s".format(this.string()) ] }`).
			Advanced(),
		service.NewStringAnnotatedEnumField(fieldClientAuth, map[string]string{
			"none":    "Clients are not asked for a certificate.",
			"request": "A client may offer a certificate. One that is not good is refused.",
			"require": "Only clients with a good certificate may connect.",
		}).
			Description("Whether clients prove who they are with a certificate.").
			Default("none").
			Example("require").
			Advanced(),
		service.NewStringListField(fieldClientCAFiles).
			Description("Files with the authorities that sign the certificates of clients, in PEM form. They are read again when they change.").
			Default([]any{}).
			Example([]string{"/etc/iotcast/clients.crt"}).
			Advanced(),
	).
		Description("TLS for the listener. It is on when `" + fieldCertFile + "` and `" + fieldKeyFile + "` are set.").
		Example(map[string]any{fieldCertFile: "/etc/iotcast/tls.crt", fieldKeyFile: "/etc/iotcast/tls.key"}).
		LintRule(`root = if (this.cert_file.or("") == "") != (this.key_file.or("") == "") {
  [ "cert_file and key_file belong together: set both, or none for no TLS" ]
} else if this.client_auth.or("none") != "none" && this.client_ca_files.or([]).length() == 0 {
  [ "client_auth needs client_ca_files to verify certificates with" ]
} else if this.client_auth.or("none") == "none" && this.client_ca_files.or([]).length() > 0 {
  [ "client_ca_files is for client_auth request or require" ]
} else if this.client_auth.or("none") != "none" && this.cert_file.or("") == "" {
  [ "client_auth and client_ca_files need cert_file and key_file" ]
}`)
}

// Server reads the field tls of conf, and the files that it names. It returns nil
// when TLS is off.
func Server(conf *service.ParsedConfig, log *slog.Logger) (*tls.Config, error) {
	cfg, err := parse(conf.Namespace(fieldTLS))
	if err == nil {
		err = cfg.Check()
	}
	var server *tls.Config
	if err == nil && cfg.CertFile != "" {
		server, err = cfg.Server(log)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fieldTLS, err)
	}
	return server, nil
}

func parse(conf *service.ParsedConfig) (cfg certs.Config, err error) {
	if cfg.CertFile, err = conf.FieldString(fieldCertFile); err != nil {
		return cfg, err
	}
	if cfg.KeyFile, err = conf.FieldString(fieldKeyFile); err != nil {
		return cfg, err
	}
	if cfg.MinVersion, err = enum(conf, fieldMinVersion, versions); err != nil {
		return cfg, err
	}
	if cfg.ClientAuth, err = enum(conf, fieldClientAuth, clientAuth); err != nil {
		return cfg, err
	}
	cfg.ClientCAFiles, err = conf.FieldStringList(fieldClientCAFiles)
	return cfg, err
}

func enum[T any](conf *service.ParsedConfig, field string, values map[string]T) (value T, err error) {
	name, err := conf.FieldString(field)
	if err != nil {
		return value, err
	}
	value, ok := values[name]
	if !ok {
		return value, fmt.Errorf("%s: %q is none of its values", field, name)
	}
	return value, nil
}
