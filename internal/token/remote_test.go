package token_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/iotcast/iotcast/internal/reserve"
	"github.com/iotcast/iotcast/internal/token"
)

// issuer is a server of keys that can be told what to answer.
type issuer struct {
	*httptest.Server
	answer  atomic.Pointer[http.HandlerFunc]
	fetches atomic.Int32
}

func newIssuer(t *testing.T, answer http.HandlerFunc) *issuer {
	i := new(issuer)
	i.set(answer)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if agent := r.UserAgent(); !strings.HasPrefix(agent, "iotcast/") {
			t.Errorf("the keys are asked for by %q", agent)
		}
		i.fetches.Add(1)
		(*i.answer.Load())(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) set(answer http.HandlerFunc) { i.answer.Store(&answer) }

func keys(set map[string]any) http.HandlerFunc {
	content := jwks(set)
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// TestRotation: the first token of a new key makes the set be fetched, once for
// many, and made-up key IDs cannot make it be fetched often.
func TestRotation(t *testing.T) {
	before, after := edKey(), edKey()
	i := newIssuer(t, keys(map[string]any{"1": before.Public()}))
	v := verifier(t, token.Config{JWKSURL: i.URL, JWKSRefresh: time.Hour})
	expect(t, v, sign("EdDSA", "1", before, nil), "")
	expect(t, v, sign("EdDSA", "", before, nil), "")

	i.set(keys(map[string]any{"1": before.Public(), "2": after.Public()}))
	raw := sign("EdDSA", "2", after, nil)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { expect(t, v, raw, "") })
	}
	all.Wait()
	expect(t, v, sign("EdDSA", "1", before, nil), "")
	if n := i.fetches.Load(); n > 3 {
		t.Errorf("fetched %d times for one new key", n)
	}
	for n := range 50 {
		expect(t, v, sign("EdDSA", fmt.Sprint("made up ", n), after, nil), "unknown_key")
	}
	if n := i.fetches.Load(); n > 4 {
		t.Errorf("fetched %d times for made-up keys", n)
	}
	expect(t, v, raw, "")
	expect(t, v, sign("HS256", "1", []byte(secret), nil), "algorithm")
}

// TestRefresh: what is gone from the set is gone here, in the background.
func TestRefresh(t *testing.T) {
	before, after := edKey(), edKey()
	i := newIssuer(t, keys(map[string]any{"1": before.Public()}))
	v := verifier(t, token.Config{JWKSURL: i.URL, JWKSRefresh: 20 * time.Millisecond})
	expect(t, v, sign("EdDSA", "1", before, nil), "")
	i.set(keys(map[string]any{"2": after.Public()}))
	seen := i.fetches.Load()
	for i.fetches.Load() < seen+3 {
		time.Sleep(time.Millisecond)
	}
	expect(t, v, sign("EdDSA", "1", before, nil), "unknown_key")
	expect(t, v, sign("EdDSA", "2", after, nil), "")
}

// TestDown: without a server there is an answer, and when it comes, keys.
func TestDown(t *testing.T) {
	url := "http://" + must(reserve.Address())
	v := verifier(t, token.Config{JWKSURL: url, JWKSRefresh: time.Hour})
	expect(t, v, sign("EdDSA", "1", edKey(), nil), "keys_unavailable")
	v.Close()
	v.Close()

	key := edKey()
	i := newIssuer(t, status(http.StatusBadGateway))
	v = verifier(t, token.Config{JWKSURL: i.URL, JWKSRefresh: time.Hour})
	expect(t, v, sign("EdDSA", "1", key, nil), "keys_unavailable")
	i.set(keys(map[string]any{"1": key.Public()}))
	expect(t, v, sign("EdDSA", "1", key, nil), "")
}

// TestSlow: a server that takes its time takes that of nobody else.
func TestSlow(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	i := newIssuer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"keys":[`))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	v := verifier(t, token.Config{JWKSURL: i.URL, JWKSRefresh: time.Hour, Secret: []byte(secret)})
	expect(t, v, sign("HS256", "", []byte(secret), nil), "") // has its key
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := v.Verify(ctx, sign("EdDSA", "1", edKey(), nil)); token.Reason(err) != "keys_unavailable" {
		t.Error(err)
	}
	// Close does not wait for the server, either: a hang here fails the test.
}

// TestHostile: whatever the server answers, the keys that were good stay so.
func TestHostile(t *testing.T) {
	key := edKey()
	good := keys(map[string]any{"1": key.Public()})
	many := map[string]any{}
	for n := range 101 {
		many[fmt.Sprint(n)] = key.Public()
	}
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) }
	}
	for name, answer := range map[string]http.HandlerFunc{
		"garbage":      text("\x00<html>"),
		"other JSON":   text(`{"error":"try later"}`),
		"wrong types":  text(`{"keys":[1,"x",null]}`),
		"no keys":      text(`{"keys":[]}`),
		"bad key":      text(`{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"AA","y":"AA"}]}`),
		"null key":     text(`{"keys":[{"kty":"RSA","kid":"1","n":"","e":""}]}`),
		"huge RSA key": text(`{"keys":[{"kty":"RSA","kid":"1","e":"AQAB","n":"` + strings.Repeat("f", 300<<10) + `"}]}`),
		"x5u":          text(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x5u":"http://127.0.0.1:1/"}]}`),
		"many keys":    keys(many),
		"secret":       keys(map[string]any{"1": []byte(secret)}),
		"weak key":     keys(map[string]any{"1": &weakRSAKey().PublicKey}),
		"deep":         text(strings.Repeat(`{"keys":[`, 50_000)),
		"endless": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[],"padding":"`))
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat("x", 64<<10))); err != nil {
					return
				}
			}
		},
		"endless header": func(w http.ResponseWriter, _ *http.Request) {
			for n := range 1000 {
				w.Header().Set(fmt.Sprint("X-", n), strings.Repeat("x", 1000))
			}
		},
		"redirects":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) },
		"cut off":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"not modified": status(http.StatusNotModified),
		"no content":   status(http.StatusNoContent),
		"unauthorised": status(http.StatusUnauthorized),
		"to the moon": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		},
		"internal_erro": status(http.StatusInternalServerError),
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, good)
			v := verifier(t, token.Config{JWKSURL: i.URL, JWKSRefresh: time.Hour})
			expect(t, v, sign("EdDSA", "1", key, nil), "")
			i.set(answer)
			seen := i.fetches.Load()
			expect(t, v, sign("EdDSA", "2", edKey(), nil), "keys_unavailable")
			if i.fetches.Load() == seen {
				t.Error("was not asked")
			}
			if name == "redirects" && i.fetches.Load() > seen+5 {
				t.Errorf("followed %d redirects", i.fetches.Load()-seen)
			}
			expect(t, v, sign("EdDSA", "1", key, nil), "")
			expect(t, v, sign("HS256", "1", []byte(secret), nil), "algorithm")
		})
	}
}
