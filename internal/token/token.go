// Package token verifies JSON Web Tokens (RFC 7519): who made them, for whom, and
// until when.
//
// The format and the signatures are golang-jwt's, JSON Web Keys and their fetching
// MicahParks/jwkset's. What may be trusted is decided here: an algorithm counts
// only if a configured key is of its kind, so that no public key is ever taken for
// a shared secret (RFC 8725, section 3.1).
package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxLength of a token, in bytes. More does not fit in the header of a request.
const maxLength = 16 << 10

// Config says which tokens are good. At least one source of keys is needed.
type Config struct {
	Secret         []byte   // for HS256, of at least 32 bytes
	PublicKeyFiles []string // PEM, for RS256, ES256 and EdDSA; read again when they change
	JWKSFile       string   // JSON Web Key Set (RFC 7517); read again when it changes
	JWKSURL        string
	JWKSRefresh    time.Duration // how often the URL is fetched

	Issuer         string            // the iss claim; empty: any
	Audiences      []string          // of which one must be in the aud claim; none: any
	RequiredClaims map[string]string // value of each, empty for any value
	Leeway         time.Duration     // by which clocks may differ
}

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	keys     []keySource
	remote   *remoteKeys // one of keys, if there is a URL
	parser   *jwt.Parser
	claims   *jwt.Validator
	leeway   time.Duration
	issuer   string
	required map[string]string
}

// New returns a verifier. It neither reads files nor uses the network.
func New(cfg Config) (*Verifier, error) {
	keys, remote, err := sources(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Leeway < 0 {
		return nil, errors.New("leeway must not be negative")
	}
	options := []jwt.ParserOption{jwt.WithLeeway(cfg.Leeway)}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if len(cfg.Audiences) > 0 {
		options = append(options, jwt.WithAudience(cfg.Audiences...))
	}
	return &Verifier{
		keys:     keys,
		remote:   remote,
		parser:   jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation()),
		claims:   jwt.NewValidator(options...),
		leeway:   cfg.Leeway,
		issuer:   cfg.Issuer,
		required: cfg.RequiredClaims,
	}, nil
}

// Start reads the key files, with an error if one cannot be used, and begins to
// fetch the key set of the URL, if there is one, until Close.
func (v *Verifier) Start(log *slog.Logger) error {
	for _, s := range v.keys {
		if err := s.start(log); err != nil {
			return err
		}
	}
	return nil
}

// Close ends what Start began: the keys of a URL are not fetched any more.
func (v *Verifier) Close() {
	if v.remote != nil {
		v.remote.close()
	}
}

// Verify checks a token in compact serialization (RFC 7515, section 3.1), and
// returns its claims. For the error there is a Reason. Verify waits for the
// network for a few seconds at most, and only if the key may have come since the
// last look.
func (v *Verifier) Verify(ctx context.Context, raw string) (Claims, error) {
	switch {
	case raw == "":
		return nil, failed("missing", errors.New("there is no token"))
	case len(raw) > maxLength:
		return nil, failed("malformed", fmt.Errorf("%d bytes are more than a token has", len(raw)))
	case strings.ContainsAny(raw, "\r\n"): // encoding/base64 would pass over them
		return nil, failed("malformed", errors.New("there is a line break"))
	}
	claims := jwt.MapClaims{}
	t, err := v.parser.ParseWithClaims(raw, claims, func(t *jwt.Token) (any, error) { return v.find(ctx, t) })
	if err != nil {
		return nil, failed(v.reason(t, err), err)
	}
	if err := v.claims.Validate(dated{claims}); err != nil {
		return nil, failed(v.reason(t, fmt.Errorf("%w: %w", jwt.ErrTokenInvalidClaims, err)), err)
	}
	for name, want := range v.required {
		if err := Claims(claims).has(name, want); err != nil {
			return nil, failed("claim", err)
		}
	}
	return Claims(claims), nil
}

// find returns the keys that the signature may have been made with.
func (v *Verifier) find(ctx context.Context, t *jwt.Token) (any, error) {
	alg := t.Method.Alg()
	// Extensions that must be understood, and none is (RFC 7515, section 4.1.11).
	if _, ok := t.Header["crit"]; ok {
		return nil, failed("malformed", errors.New("the header has critical extensions"))
	}
	kid, ok := t.Header["kid"].(string)
	if !ok && t.Header["kid"] != nil {
		return nil, failed("malformed", errors.New("kid is not a string"))
	}
	var candidates jwt.VerificationKeySet
	fits := false // the algorithm a key, whatever its ID
	var unavailable error
	for _, s := range v.keys {
		keys, err := s.find(ctx, alg, kid)
		if err != nil {
			unavailable = err
		}
		for _, k := range keys {
			if k.fits(alg) {
				fits = true
				if k.id == "" || kid == "" || k.id == kid {
					candidates.Keys = append(candidates.Keys, k.key)
				}
			}
		}
	}
	switch {
	case len(candidates.Keys) > 0:
		return candidates, nil
	case unavailable != nil:
		return nil, failed("keys_unavailable", unavailable)
	case fits:
		return nil, failed("unknown_key", fmt.Errorf("no key has the ID %.64q", kid))
	}
	return nil, failed("algorithm", fmt.Errorf("no key is for %s", alg))
}

// failure is an error with its Reason.
type failure struct {
	reason string
	err    error
}

func failed(reason string, err error) error { return &failure{reason, err} }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// Reason says why Verify failed, for a metric: missing, malformed, algorithm,
// unknown_key, keys_unavailable (the only one that is not the token's fault),
// signature, expired, not_yet_valid, issuer, audience or claim.
func Reason(err error) string {
	if f := (*failure)(nil); errors.As(err, &f) {
		return f.reason
	}
	return "malformed"
}

// reason turns the library's errors into reasons. The first that fits counts.
func (v *Verifier) reason(t *jwt.Token, err error) string {
	if f := (*failure)(nil); errors.As(err, &f) { // of find
		return f.reason
	}
	// No such algorithm, or none that we take, among them "none".
	if t != nil {
		if alg, ok := t.Header["alg"].(string); ok && !slices.Contains(algorithms, alg) {
			return "algorithm"
		}
	}
	if errors.Is(err, jwt.ErrTokenRequiredClaimMissing) { // iss or aud: no other is required of the library
		if iss, _ := t.Claims.GetIssuer(); v.issuer != "" && iss == "" {
			return "issuer"
		}
		return "audience"
	}
	for _, known := range []struct {
		err    error
		reason string
	}{
		{jwt.ErrTokenMalformed, "malformed"},
		{jwt.ErrTokenSignatureInvalid, "signature"},
		{jwt.ErrTokenExpired, "expired"},
		{jwt.ErrTokenNotValidYet, "not_yet_valid"},
		{jwt.ErrTokenInvalidIssuer, "issuer"},
		{jwt.ErrTokenInvalidAudience, "audience"},
		{jwt.ErrTokenInvalidClaims, "claim"},
	} {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	return "malformed"
}

// Claims are what a verified token says, as encoding/json gives it.
type Claims map[string]any

// Subject is whom the token is about; empty if it does not say.
func (c Claims) Subject() string {
	s, _ := c["sub"].(string)
	return s
}

// Until is when Verify would begin to refuse the token of these claims, if it ever
// does: the end of what it allows.
func (v *Verifier) Until(c Claims) (time.Time, bool) {
	end, ok := c.Expires()
	return end.Add(v.leeway), ok
}

// Expires is when the token ends, if it does, by the clock of who made it.
func (c Claims) Expires() (time.Time, bool) {
	d, err := dated{jwt.MapClaims(c)}.GetExpirationTime()
	if err != nil || d == nil {
		return time.Time{}, false
	}
	return d.Time, true
}

// dated are claims whose dates (RFC 7519, section 2, NumericDate) are all within
// what clocks count. The library's overflow beyond, and take 0 for none.
type dated struct{ jwt.MapClaims }

// latest stands for all that is later: nanoseconds since 1970 end in 2262, and who
// says 9999 means never.
var latest = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

func (d dated) date(name string) (*jwt.NumericDate, error) {
	switch seconds := d.MapClaims[name].(type) {
	case nil:
		return nil, nil
	case float64:
		return &jwt.NumericDate{Time: time.Unix(int64(min(max(seconds, 0), float64(latest.Unix()))), 0)}, nil
	default:
		return nil, fmt.Errorf("%s is not a number: %w", name, jwt.ErrInvalidType)
	}
}

// GetExpirationTime implements jwt.Claims.
func (d dated) GetExpirationTime() (*jwt.NumericDate, error) { return d.date("exp") }

// GetNotBefore implements jwt.Claims.
func (d dated) GetNotBefore() (*jwt.NumericDate, error) { return d.date("nbf") }

// GetIssuedAt implements jwt.Claims.
func (d dated) GetIssuedAt() (*jwt.NumericDate, error) { return d.date("iat") }

// Strings is a claim that lists something: an array of strings, or one string
// with white space between, as scope has (RFC 8693, section 4.2).
func (c Claims) Strings(name string) []string {
	switch value := c[name].(type) {
	case string:
		return strings.Fields(value)
	case []any:
		var all []string
		for _, element := range value {
			if s, ok := element.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

// has tells why a claim is not as it must be: want, or a list with want in it, or,
// if want is empty, there.
func (c Claims) has(name, want string) error {
	value, ok := c[name]
	switch {
	case !ok || value == nil:
		return fmt.Errorf("claim %s is missing", name)
	case want == "", value == want, slices.Contains(c.Strings(name), want):
		return nil
	}
	switch value.(type) {
	case bool, float64:
		if fmt.Sprint(value) == want {
			return nil
		}
	}
	return fmt.Errorf("claim %s does not say %q", name, want)
}
