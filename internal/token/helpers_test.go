package token_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/iotcast/iotcast/internal/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "a secret of thirty-two bytes....."

// Keys of a test run; RSA keys take long to make.
var (
	rsaKey     = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	weakRSAKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 1024)) })
	ecKey      = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384Key    = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
)

func edKey() ed25519.PrivateKey {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	return must(k, err)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// claims are good ones, changed by more; nil takes a claim away.
func claims(more map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{"iss": "https://issuer", "aud": []string{"iotcast", "else"}, "sub": "sa-1", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(c, more)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a token.
func sign(alg, kid string, key any, more map[string]any) string {
	t := jwt.NewWithClaims(jwt.GetSigningMethod(alg), claims(more))
	if kid != "" {
		t.Header["kid"] = kid
	}
	return must(t.SignedString(key))
}

// verifier is started, and closed at the end of the test.
func verifier(t testing.TB, cfg token.Config) *token.Verifier {
	t.Helper()
	v, err := token.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Start(slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func pemOf(key any) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key))})
}

func file(t testing.TB, content []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// jwks is a key set with public keys, or shared secrets, by their IDs.
func jwks(keys map[string]any) []byte {
	set := jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{}}
	for kid, key := range keys {
		jwk := must(jwkset.NewJWKFromKey(key, jwkset.JWKOptions{
			Metadata: jwkset.JWKMetadataOptions{KID: kid},
			Marshal:  jwkset.JWKMarshalOptions{Private: true},
		}))
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	return must(json.Marshal(set))
}

func segment(v any) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v))) }

// expect verifies a token and compares the reason; "" is for success.
func expect(t *testing.T, v *token.Verifier, raw, reason string) token.Claims {
	t.Helper()
	c, err := v.Verify(t.Context(), raw)
	switch {
	case err == nil && reason != "":
		t.Errorf("accepted, want %s: %.80s", reason, raw)
	case err != nil && (token.Reason(err) != reason || c != nil):
		t.Errorf("%s (%v), want %q", token.Reason(err), err, reason)
	}
	return c
}
