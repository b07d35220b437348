package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/iotcast/iotcast/internal/certs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func newAuthority(name string) authority {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	t := template(name)
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	return authority{must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)))), key}
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// issue returns a certificate and its key in PEM form.
func (a authority) issue(name string) (cert, key []byte) {
	k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.CreateCertificate(rand.Reader, template(name), a.cert, k.Public(), a.key))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(k))})
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// handshake returns the client's view of the server, and the server's error.
func handshake(t *testing.T, server, client *tls.Config) (seen tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = l.Close() }()
	result := make(chan error, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			result <- err
			return
		}
		defer func() { _ = nc.Close() }()
		s := tls.Server(nc, server)
		if err = s.Handshake(); err == nil {
			_, err = s.Write([]byte("x")) // with TLS 1.3 a client learns of its refusal by reading
		}
		result <- err
	}()
	c, clientErr := tls.Dial("tcp", l.Addr().String(), client)
	if clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
		seen = c.ConnectionState()
		_ = c.Close()
	}
	return seen, clientErr, <-result
}

// eventually waits for the files to be looked at again.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never %s", what)
		}
	}
}

// TestRenewal: new files are served without a restart, and bad ones are not.
func TestRenewal(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca := newAuthority("ca")
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	renew := func(name string) {
		cert, key := ca.issue(name)
		write(t, certFile, cert)
		write(t, keyFile, key)
	}
	renew("first")
	server, err := certs.Config{CertFile: certFile, KeyFile: keyFile, MinVersion: tls.VersionTLS13}.Server(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	serves := func(name string) bool {
		_, err, _ := handshake(t, server, &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"h2", "http/1.1"}})
		return err == nil
	}
	if !serves("first") {
		t.Fatal("the first certificate is not served")
	}
	renew("second")
	eventually(t, "the second certificate", func() bool { return serves("second") })
	write(t, keyFile, []byte("of no use"))
	seen := time.Now()
	eventually(t, "looked again", func() bool { return serves("second") && time.Since(seen) > 1100*time.Millisecond })
	renew("third")
	eventually(t, "the third certificate", func() bool { return serves("third") })

	state, err, _ := handshake(t, server, &tls.Config{RootCAs: roots, ServerName: "third", NextProtos: []string{"h2", "http/1.1"}})
	if err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("%q %v", state.NegotiatedProtocol, err)
	}
	if _, err, _ := handshake(t, server, &tls.Config{RootCAs: roots, ServerName: "third", MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2, though the minimum is 1.3")
	}
}

// TestClientCertificates: none, of the right authority, of another; and a change
// of the authority.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, caFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	ca, clients, strangers := newAuthority("ca"), newAuthority("clients"), newAuthority("strangers")
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	cert, key := ca.issue("server")
	write(t, certFile, cert)
	write(t, keyFile, key)
	from := func(a *authority) *tls.Config {
		c := &tls.Config{RootCAs: roots, ServerName: "server"}
		if a != nil {
			pair := must(tls.X509KeyPair(a.issue("client")))
			// Offered whatever the server asks for.
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		return c
	}
	for auth, want := range map[tls.ClientAuthType][3]bool{
		tls.NoClientCert:               {true, true, true},
		tls.VerifyClientCertIfGiven:    {true, true, false},
		tls.RequireAndVerifyClientCert: {false, true, false},
	} {
		write(t, caFile, clients.pem())
		cfg := certs.Config{CertFile: certFile, KeyFile: keyFile, MinVersion: tls.VersionTLS12, ClientAuth: auth}
		if auth != tls.NoClientCert {
			cfg.ClientCAFiles = []string{caFile}
		}
		if err := cfg.Check(); err != nil {
			t.Error(err)
		}
		server := must(cfg.Server(slog.New(slog.DiscardHandler)))
		for i, a := range []*authority{nil, &clients, &strangers} {
			_, clientErr, serverErr := handshake(t, server, from(a))
			if ok := clientErr == nil && serverErr == nil; ok != want[i] {
				t.Errorf("%v, client %d: %v %v", auth, i, clientErr, serverErr)
			}
		}
		if auth == tls.RequireAndVerifyClientCert {
			write(t, caFile, append(strangers.pem(), '\n'))
			eventually(t, "the other authority", func() bool {
				_, clientErr, serverErr := handshake(t, server, from(&strangers))
				return clientErr == nil && serverErr == nil
			})
			if _, _, err := handshake(t, server, from(&clients)); err == nil {
				t.Error("the authority that is gone still counts")
			}
		}
	}
}

// TestErrors name the field.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	cert, key := newAuthority("ca").issue("a")
	_, otherKey := newAuthority("ca").issue("a")
	at := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		write(t, path, content)
		return path
	}
	certFile, keyFile, other, empty := at("cert", cert), at("key", key), at("other", otherKey), at("empty", nil)
	for want, cfg := range map[string]certs.Config{
		"cert_file and key_file: open ":        {CertFile: dir + "/absent", KeyFile: keyFile},
		"cert_file and key_file: tls: private": {CertFile: certFile, KeyFile: other},
		"cert_file and key_file: tls: failed":  {CertFile: empty, KeyFile: keyFile},
		"client_ca_files: " + empty + " holds no": {
			CertFile: certFile, KeyFile: keyFile, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAFiles: []string{empty},
		},
		"client_ca_files: open ": {
			CertFile: certFile, KeyFile: keyFile, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAFiles: []string{dir + "/no"},
		},
	} {
		_, err := cfg.Server(slog.New(slog.DiscardHandler))
		if err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), "stat ", "open "), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for want, cfg := range map[string]certs.Config{
		"belong together":    {CertFile: "a"},
		"need cert_file":     {ClientAuth: tls.RequireAndVerifyClientCert, ClientCAFiles: []string{"a"}},
		"needs client_ca":    {CertFile: "a", KeyFile: "b", ClientAuth: tls.RequireAndVerifyClientCert},
		"request or require": {CertFile: "a", KeyFile: "b", ClientCAFiles: []string{"a"}},
	} {
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
