package tests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	jwtlib "github.com/golang-jwt/jwt/v5"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign("authority")
	return a
}

// sign makes a certificate for 127.0.0.1, the authority's own the first time.
func (a *authority) sign(name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: a.cert == nil,
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// issue writes a certificate and its key to files, in place of those before.
func (a *authority) issue(name, certFile, keyFile string) {
	a.t.Helper()
	cert, key := a.sign(name)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	writePEM(a.t, keyFile, "PRIVATE KEY", der)
	writePEM(a.t, certFile, "CERTIFICATE", cert.Raw)
}

// pair is a certificate for a client.
func (a *authority) pair(name string) tls.Certificate {
	cert, key := a.sign(name)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	// Written aside and renamed: who reads it finds the old or the new.
	if err := os.WriteFile(file+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func (a *authority) file() string {
	file := filepath.Join(a.t.TempDir(), "ca.pem")
	writePEM(a.t, file, "CERTIFICATE", a.cert.Raw)
	return file
}

// trusts is the configuration of a client that trusts the authority.
func (a *authority) trusts(certs ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, Certificates: certs}
}

// issuer signs tokens, and serves the keys to verify them with.
type issuer struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	url  string
	down atomic.Bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jwkset.NewJWKFromKey(&key.PublicKey, jwkset.JWKOptions{
		Metadata: jwkset.JWKMetadataOptions{KID: "one", ALG: jwkset.AlgES256},
	})
	if err != nil {
		t.Fatal(err)
	}
	store := jwkset.NewMemoryStorage()
	if err := store.KeyWrite(t.Context(), jwk); err != nil {
		t.Fatal(err)
	}
	keys, err := store.JSONPublic(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: key}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if i.down.Load() {
			http.Error(w, "down", http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(keys)
	}))
	t.Cleanup(server.Close)
	i.url = server.URL
	return i
}

// token signs claims, with those that the gateway asks for unless they are given.
func (i *issuer) token(method jwtlib.SigningMethod, key any, kid string, claims jwtlib.MapClaims) string {
	i.t.Helper()
	all := jwtlib.MapClaims{"iss": "https://id.example.com/", "aud": "iotcast", "routes": []string{"/telemetry", "/alarms"}, "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	token := jwtlib.NewWithClaims(method, all)
	token.Header["kid"] = kid
	raw, err := token.SignedString(key)
	if err != nil {
		i.t.Fatal(err)
	}
	return raw
}

func (i *issuer) good(claims jwtlib.MapClaims) string {
	return i.token(jwtlib.SigningMethodES256, i.key, "one", claims)
}
