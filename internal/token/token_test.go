package token_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math"
	"net/http"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/iotcast/iotcast/internal/token"
)

// TestAlgorithms: each with a key of its kind, from a secret, a PEM file or a key set.
func TestAlgorithms(t *testing.T) {
	ed := edKey()
	set := jwks(map[string]any{"r": &rsaKey().PublicKey, "e": &ecKey().PublicKey, "d": ed.Public(), "s": []byte(secret)})
	sources := map[string]token.Config{
		"secret and PEM": {
			Secret: []byte(secret),
			PublicKeyFiles: []string{
				file(t, append(pemOf(&rsaKey().PublicKey), pemOf(&ecKey().PublicKey)...)),
				file(t, pemOf(ed.Public())),
			},
		},
		"JWKS": {JWKSFile: file(t, set)},
	}
	for name, cfg := range sources {
		t.Run(name, func(t *testing.T) {
			v := verifier(t, cfg)
			for _, kid := range []string{"", "r", "e", "d", "s"} {
				id := func(own string) string {
					if kid == "" {
						return ""
					}
					return own
				}
				expect(t, v, sign("HS256", id("s"), []byte(secret), nil), "")
				expect(t, v, sign("RS256", id("r"), rsaKey(), nil), "")
				expect(t, v, sign("ES256", id("e"), ecKey(), nil), "")
				expect(t, v, sign("EdDSA", id("d"), ed, nil), "")
			}
			expect(t, v, sign("RS384", "r", rsaKey(), nil), "algorithm")
			expect(t, v, sign("PS256", "r", rsaKey(), nil), "algorithm")
			expect(t, v, sign("HS512", "s", []byte(secret), nil), "algorithm")
			expect(t, v, sign("EdDSA", "", edKey(), nil), "signature")
			if name == "JWKS" {
				expect(t, v, sign("RS256", "x", rsaKey(), nil), "unknown_key")
				expect(t, v, sign("RS256", "e", rsaKey(), nil), "unknown_key")
			}
		})
	}
}

// TestForged: tokens that attackers make (RFC 8725, section 2).
func TestForged(t *testing.T) {
	public := file(t, pemOf(&rsaKey().PublicKey))
	v := verifier(t, token.Config{PublicKeyFiles: []string{public}})
	good := sign("RS256", "", rsaKey(), nil)
	part := strings.Split(good, ".")
	none := must(jwt.NewWithClaims(jwt.SigningMethodNone, claims(nil)).SignedString(jwt.UnsafeAllowNoneSignatureType))

	expect(t, v, good, "")
	expect(t, v, none, "algorithm")
	expect(t, v, none+part[2], "algorithm")
	for _, alg := range []string{"NONE", "nOnE", "", "X", "hs256"} {
		expect(t, v, segment(map[string]any{"alg": alg})+"."+part[1]+".", "algorithm")
	}
	// The public key as a shared secret, in every spelling of it.
	content := must(os.ReadFile(public))
	block, _ := pem.Decode(content)
	for _, spelling := range [][]byte{
		content, []byte(strings.TrimSpace(string(content))), block.Bytes, x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey),
	} {
		expect(t, v, sign("HS256", "", spelling, nil), "algorithm")
	}
	both := verifier(t, token.Config{PublicKeyFiles: []string{public}, Secret: []byte(secret)})
	expect(t, both, sign("HS256", "", content, nil), "signature")
	// The key that the token brings along.
	own := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims(nil))
	key := edKey()
	own.Header["jwk"] = map[string]any{"kty": "OKP", "crv": "Ed25519", "x": segment(key.Public())}
	expect(t, v, must(own.SignedString(key)), "algorithm")

	expect(t, v, part[0]+"."+segment(claims(map[string]any{"sub": "admin"}))+"."+part[2], "signature")
	expect(t, v, part[0]+"."+part[1]+".", "signature")
	expect(t, v, part[0]+"."+part[1]+"."+part[1], "signature")
	critical := jwt.NewWithClaims(jwt.SigningMethodRS256, claims(nil))
	critical.Header["crit"] = []string{"exp"}
	expect(t, v, must(critical.SignedString(rsaKey())), "malformed")
	expect(t, v, segment(map[string]any{"alg": "RS256", "kid": 1})+"."+part[1]+"."+part[2], "malformed")

	expect(t, v, "", "missing")
	for _, raw := range []string{
		".", "..", "...", "a.b.c", part[0], part[0] + "." + part[1], good + ".x", good + "=", " " + good, good + "\n",
		part[0] + ".e30.!", strings.Repeat("a", 1<<20), strings.Repeat(".", 1<<14), part[0] + "." + segment([]int{1}) + "." + part[2],
	} {
		expect(t, v, raw, "malformed")
	}
}

// TestClaims: who, for whom, and until when.
func TestClaims(t *testing.T) {
	v := verifier(t, token.Config{
		Secret: []byte(secret), Issuer: "https://issuer", Audiences: []string{"iotcast", "iotcast-test"}, Leeway: 10 * time.Second,
		RequiredClaims: map[string]string{"tenant": "acme", "sub": ""},
	})
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for reason, all := range map[string][]map[string]any{
		"": {
			{},
			{"aud": "iotcast-test"},
			{"tenant": []string{"other", "acme"}},
			{"exp": in(-5 * time.Second)},
			{"nbf": in(5 * time.Second)},
			{"exp": nil},
			{"exp": 9999999999},
			{"exp": 1e300, "nbf": -1e300},
			{"exp": math.MaxInt64},
		},
		"expired":       {{"exp": in(-20 * time.Second)}, {"exp": 0}, {"exp": -1}, {"exp": -1e300}},
		"not_yet_valid": {{"nbf": in(time.Minute)}, {"nbf": 1e300}, {"nbf": math.MaxInt64}},
		"issuer":        {{"iss": "https://issuer/"}, {"iss": ""}, {"iss": nil}},
		"audience":      {{"aud": "else"}, {"aud": nil}, {"aud": []string{}}, {"aud": 1}},
		"claim": {
			{"tenant": nil},
			{"tenant": "ACME"},
			{"tenant": "acme2"},
			{"tenant": []string{}},
			{"tenant": map[string]any{"acme": 1}},
			{"sub": nil},
			{"exp": "tomorrow"},
			{"nbf": true},
			{"iss": 1},
		},
	} {
		for _, c := range all {
			with := map[string]any{"tenant": "acme"}
			for name, value := range c {
				with[name] = value
			}
			expect(t, v, sign("HS256", "", []byte(secret), with), reason)
		}
	}
	numbers := verifier(t, token.Config{Secret: []byte(secret), RequiredClaims: map[string]string{"level": "3", "staff": "true"}})
	expect(t, numbers, sign("HS256", "", []byte(secret), map[string]any{"level": 3, "staff": true}), "")
	expect(t, numbers, sign("HS256", "", []byte(secret), map[string]any{"level": 30, "staff": true}), "claim")
}

// TestUntil: the end is when the token is refused, and a clock can count to it.
func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := verifier(t, token.Config{Secret: []byte(secret), Leeway: time.Minute})
		raw := sign("HS256", "", []byte(secret), map[string]any{"exp": time.Now().Add(-30 * time.Second).Unix()})
		at, ok := v.Until(expect(t, v, raw, ""))
		if left := time.Until(at); !ok || left != 30*time.Second {
			t.Fatalf("%s left, %v", left, ok)
		}
		time.Sleep(time.Until(at) - time.Nanosecond)
		expect(t, v, raw, "")
		time.Sleep(time.Nanosecond)
		expect(t, v, raw, "expired")
		for _, never := range []float64{9999999999, 1e300} {
			at, ok := v.Until(expect(t, v, sign("HS256", "", []byte(secret), map[string]any{"exp": never}), ""))
			if !ok || time.Duration(at.UnixNano()-time.Now().UnixNano()) < 100*365*24*time.Hour {
				t.Errorf("%v: until %s, %v", never, at, ok)
			}
		}
		if at, ok := v.Until(expect(t, v, sign("HS256", "", []byte(secret), map[string]any{"exp": nil}), "")); ok {
			t.Errorf("ends at %s", at)
		}
	})
}

// TestUnusableKeys: in a file or from a URL, keys that are for others, or broken,
// spoil nothing, and are told of once.
func TestUnusableKeys(t *testing.T) {
	good := edKey()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(jwks(map[string]any{"good": good.Public()}), &set); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		`1`, `{"kty":"new"}`, `{"kty":"RSA","kid":"no n","e":"AQAB"}`, `{"kty":"RSA","kid":"number","n":5,"e":"AQAB"}`,
		`{"kty":"EC","crv":"P-256","kid":"off the curve","x":"AA","y":"AA"}`,
		`{"kty":"OKP","crv":"Ed25519","kid":"unknown use","use":"new","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
	} {
		set.Keys = append(set.Keys, json.RawMessage(bad))
	}
	content := must(json.Marshal(set))
	i := newIssuer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
	for _, cfg := range []token.Config{
		{JWKSFile: file(t, content)},
		{JWKSURL: i.URL, JWKSRefresh: time.Millisecond},
	} {
		var log strings.Builder
		v := must(token.New(cfg))
		if err := v.Start(slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		expect(t, v, sign("EdDSA", "good", good, nil), "")
		for cfg.JWKSURL != "" && i.fetches.Load() < 5 {
			runtime.Gosched()
		}
		v.Close()
		if n := strings.Count(log.String(), "passed over"); n != 1 || !strings.Contains(log.String(), "no n") {
			t.Errorf("told %d times: %s", n, log.String())
		}
	}
}

// TestClaimsOf: what the gateway asks of a token.
func TestClaimsOf(t *testing.T) {
	end := time.Now().Add(time.Minute).Truncate(time.Second)
	v := verifier(t, token.Config{Secret: []byte(secret)})
	c := expect(t, v, sign("HS256", "", []byte(secret), map[string]any{
		"exp": end.Unix(), "scope": "read  write", "routes": []any{"/a", 7, "/b"}, "n": 1,
	}), "")
	if at, ok := c.Expires(); !ok || !at.Equal(end) || c.Subject() != "sa-1" {
		t.Errorf("%v", c)
	}
	for name, want := range map[string][]string{
		"scope": {"read", "write"}, "routes": {"/a", "/b"}, "sub": {"sa-1"}, "n": nil, "absent": nil,
	} {
		if got := c.Strings(name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	var none token.Claims
	if at, ok := none.Expires(); ok || none.Subject() != "" || none.Strings("a") != nil {
		t.Error("no claims say something", at)
	}
}

// TestFileChanges: a new key takes over without a restart, and a bad file does not.
func TestFileChanges(t *testing.T) {
	before, after := edKey(), edKey()
	for name, content := range map[string]func(any) []byte{
		"PEM":  pemOf,
		"JWKS": func(k any) []byte { return jwks(map[string]any{"k": k}) },
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, content(before.Public()))
			synctest.Test(t, func(t *testing.T) { // for the clock
				cfg := token.Config{PublicKeyFiles: []string{path}}
				if name == "JWKS" {
					cfg = token.Config{JWKSFile: path}
				}
				v := verifier(t, cfg)
				change := func(b []byte) {
					if err := os.WriteFile(path, b, 0o600); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				expect(t, v, sign("EdDSA", "", before, nil), "")
				change([]byte("no key at all, and of another length"))
				expect(t, v, sign("EdDSA", "", before, nil), "")
				change(append(content(after.Public()), '\n'))
				expect(t, v, sign("EdDSA", "", after, nil), "")
				expect(t, v, sign("EdDSA", "", before, nil), "signature")
			})
		})
	}
}

// TestConfig: what cannot work is said before the first token comes.
func TestConfig(t *testing.T) {
	for want, cfg := range map[string]token.Config{
		"secret, public_key_files, jwks_file or jwks_url": {},
		"at least 32":         {Secret: []byte(secret[:31])},
		"jwks_url":            {JWKSURL: "ftp://host/keys", JWKSRefresh: time.Hour},
		"jwks_refresh":        {JWKSURL: "https://host/keys"},
		"leeway":              {Secret: []byte(secret), Leeway: -1},
		"jwks_url \"host/x\"": {JWKSURL: "host/x", JWKSRefresh: time.Hour},
	} {
		if _, err := token.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for want, content := range map[string][]byte{
		"no public key":  []byte("-"),
		"RSA PRIVATE":    pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())}),
		"1024 bits":      pemOf(&weakRSAKey().PublicKey),
		"P-384":          pemOf(&p384Key().PublicKey),
		"public_key_fil": {},
	} {
		v := must(token.New(token.Config{PublicKeyFiles: []string{file(t, content)}}))
		if err := v.Start(slog.Default()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for want, content := range map[string][]byte{
		"jwks_file": []byte("{"),
		"no key":    []byte(`{"keys":[{"kty":"strange"}]}`),
		"too short": jwks(map[string]any{"s": []byte("short")}),
		"1024 bits": jwks(map[string]any{"w": &weakRSAKey().PublicKey}),
	} {
		v := must(token.New(token.Config{JWKSFile: file(t, content)}))
		if err := v.Start(slog.Default()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	v := must(token.New(token.Config{PublicKeyFiles: []string{"/absent/key.pem"}}))
	expect(t, v, sign("EdDSA", "", edKey(), nil), "keys_unavailable") // not started
	if err := v.Start(slog.Default()); err == nil || !strings.Contains(err.Error(), "public_key_files: ") || !strings.Contains(err.Error(), "/absent/key.pem") {
		t.Error(err)
	}
}

// FuzzVerify: whatever comes, there is an answer, and nothing is good but what was
// signed.
func FuzzVerify(f *testing.F) {
	key := ed25519.NewKeyFromSeed([]byte(secret)[:ed25519.SeedSize]) // the same in each process of the fuzzer
	v := verifier(f, token.Config{Secret: []byte(secret), PublicKeyFiles: []string{file(f, pemOf(key.Public()))}})
	later := map[string]any{"exp": 1 << 33}
	good := []string{sign("HS256", "k", []byte(secret), later), sign("EdDSA", "", key, later)}
	for _, raw := range good {
		f.Add(raw)
		f.Add(raw + "A")
	}
	f.Add(segment(map[string]any{"alg": "none"}) + "." + segment(claims(later)) + ".")
	f.Add(segment(map[string]any{"alg": "EdDSA", "kid": 1, "crit": nil}) + "." + segment(claims(later)) + ".AA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := v.Verify(t.Context(), raw)
		switch {
		case err == nil && !slices.Contains(good, raw):
			t.Errorf("accepted: %q", raw)
		case err != nil && slices.Contains(good, raw):
			t.Errorf("refused: %v", err)
		case err != nil && token.Reason(err) == "":
			t.Errorf("no reason: %v", err)
		}
	})
}
