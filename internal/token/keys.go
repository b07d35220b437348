package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/MicahParks/jwkset"

	"github.com/iotcast/iotcast/internal/reload"
)

// The algorithms that are taken (RFC 7518, section 3.1; RFC 8037, section 3.1).
const (
	hs256 = "HS256"
	rs256 = "RS256"
	es256 = "ES256"
	eddsa = "EdDSA"
)

var algorithms = []string{hs256, rs256, es256, eddsa}

// Bounds of keys: those below are weak (RFC 7518, sections 3.2 and 3.3), an RSA
// key above takes long to verify with.
const (
	minSecretBytes = 32
	minRSABits     = 2048
	maxRSABits     = 8192
)

// key is what a signature can be verified with.
type key struct {
	id  string // empty: of any token
	alg string // the only one that it is for; empty: that of its kind
	key any    // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// fits tells whether the key is of the kind that the algorithm needs.
func (k key) fits(alg string) bool {
	if k.alg != "" && k.alg != alg {
		return false
	}
	switch k := k.key.(type) {
	case []byte:
		return alg == hs256
	case *rsa.PublicKey:
		return alg == rs256
	case *ecdsa.PublicKey:
		return alg == es256 && k.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return alg == eddsa
	}
	return false
}

// check tells why a key must not be used.
func (k key) check() error {
	switch k := k.key.(type) {
	case []byte:
		if len(k) < minSecretBytes {
			return fmt.Errorf("a shared secret of %d bytes is too short, it must have at least %d", len(k), minSecretBytes)
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
			return fmt.Errorf("an RSA key of %d bits cannot be used, it must have %d to %d", n, minRSABits, maxRSABits)
		}
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return fmt.Errorf("an EC key on %s cannot be used, it must be on P-256", k.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("a key of type %T cannot be used: there is RSA, EC on P-256, and Ed25519", k)
	}
	return nil
}

// keySource is a place where keys come from.
type keySource interface {
	start(*slog.Logger) error
	// find returns all keys that there are now. It may look for new ones if none
	// has the ID; the error is for keys that cannot be had, though they may exist.
	find(ctx context.Context, alg, kid string) ([]key, error)
}

// sources are the places that the config names.
func sources(cfg Config) (all []keySource, remote *remoteKeys, err error) {
	if len(cfg.Secret) > 0 {
		k := key{key: cfg.Secret}
		if err := k.check(); err != nil {
			return nil, nil, fmt.Errorf("secret: %w", err)
		}
		all = append(all, fixedKeys{k})
	}
	for _, path := range cfg.PublicKeyFiles {
		all = append(all, &fileKeys{field: "public_key_files", path: path, parse: parsePEM})
	}
	if cfg.JWKSFile != "" {
		all = append(all, &fileKeys{field: "jwks_file", path: cfg.JWKSFile, parse: new(keySet).parse})
	}
	if cfg.JWKSURL != "" {
		u, err := url.Parse(cfg.JWKSURL)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			return nil, nil, fmt.Errorf("jwks_url %q must be an http or https URL", cfg.JWKSURL)
		}
		if cfg.JWKSRefresh <= 0 {
			return nil, nil, errors.New("jwks_refresh must be more than zero")
		}
		remote = newRemoteKeys(cfg.JWKSURL, cfg.JWKSRefresh)
		all = append(all, remote)
	}
	if len(all) == 0 {
		return nil, nil, errors.New("tokens need a key to be verified with: set secret, public_key_files, jwks_file or jwks_url")
	}
	return all, remote, nil
}

// fixedKeys are keys of the config itself.
type fixedKeys []key

func (fixedKeys) start(*slog.Logger) error                              { return nil }
func (f fixedKeys) find(context.Context, string, string) ([]key, error) { return f, nil }

// fileKeys are the keys of a file, as it is now.
type fileKeys struct {
	field, path string
	parse       func(*slog.Logger, []byte) ([]key, error)
	file        *reload.Files[[]key]
}

func (f *fileKeys) start(log *slog.Logger) error {
	f.file = reload.New(log, func(contents [][]byte) ([]key, error) {
		keys, err := f.parse(log.With("file", f.path), contents[0])
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", f.path, err)
		}
		return keys, nil
	}, f.path)
	if _, err := f.file.Get(); err != nil {
		return fmt.Errorf("%s: %w", f.field, err)
	}
	return nil
}

func (f *fileKeys) find(context.Context, string, string) ([]key, error) {
	if f.file == nil {
		return nil, errNotStarted
	}
	return f.file.Get()
}

var errNotStarted = errors.New("the keys are not loaded yet")

// parsePEM takes every public key and certificate of a PEM file.
func parsePEM(_ *slog.Logger, content []byte) (keys []key, err error) {
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		var k key
		switch block.Type {
		case "PUBLIC KEY":
			k.key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			k.key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(block.Bytes); err == nil {
				k.key = c.PublicKey
			}
		default:
			err = fmt.Errorf("a PEM block is of type %q, it must be a public key or a certificate", block.Type)
		}
		if err == nil {
			err = k.check()
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no public key in PEM form")
	}
	return keys, nil
}

// keySet reads a JSON Web Key Set again and again. What of it cannot be used is
// passed over, as RFC 7517, section 5, asks: a set may have keys for others.
type keySet struct {
	public bool   // anyone can read it, so a shared secret in it is none
	said   string // what was last said of keys that cannot be used
}

func (s *keySet) parse(log *slog.Logger, content []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(content, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxSetKeys {
		return nil, fmt.Errorf("%d keys are more than the %d that a set may have", len(set.Keys), maxSetKeys)
	}
	var keys []key
	var why error
	for _, raw := range set.Keys {
		k, err := s.key(raw)
		if err != nil {
			why = errors.Join(why, err)
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.Join(errors.New("there is no key that can be used"), why)
	}
	said := fmt.Sprint(why)
	if why != nil && said != s.said {
		log.Warn("Keys of tokens cannot be used and are passed over", "usable", len(keys), "error", why)
	}
	s.said = said
	return keys, nil
}

func (s *keySet) key(raw []byte) (key, error) {
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &m); err != nil {
		return key{}, err
	}
	jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{})
	if err != nil {
		return key{}, fmt.Errorf("key %q: %w", m.KID, err)
	}
	k := key{id: m.KID, alg: m.ALG.String(), key: jwk.Key()}
	if private, ok := k.key.(crypto.Signer); ok {
		k.key = private.Public()
	}
	if _, secret := k.key.([]byte); secret && s.public {
		return key{}, fmt.Errorf("key %q is a shared secret, and anyone can fetch it", m.KID)
	}
	if m.USE != "" && m.USE != jwkset.UseSig {
		return key{}, fmt.Errorf("key %q is not for signatures", m.KID)
	}
	return k, k.check()
}
