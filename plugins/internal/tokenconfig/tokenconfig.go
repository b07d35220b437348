// Package tokenconfig is the fields that say which tokens are good, of everything
// that takes tokens.
package tokenconfig

import (
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/token"
	"github.com/iotcast/iotcast/plugins/internal/duration"
)

const (
	fieldSecret         = "secret"
	fieldPublicKeyFiles = "public_key_files"
	fieldJWKSFile       = "jwks_file"
	fieldJWKSURL        = "jwks_url"
	fieldJWKSRefresh    = "jwks_refresh"
	fieldIssuer         = "issuer"
	fieldAudiences      = "audiences"
	fieldRequiredClaims = "required_claims"
	fieldLeeway         = "leeway"
)

// Description is what a token is, for the field that has these fields.
const Description = "JSON Web Tokens (RFC 7519), signed with HS256, RS256, ES256 or EdDSA. An algorithm counts only if there is a key of its kind."

// LintRule is a rule for the field that has these fields: what a token must say
// is of no use without a key. All defaults together mean that no token is asked
// for.
const LintRule = `root = if this.secret.or("") == "" && this.public_key_files.or([]).length() == 0 && this.jwks_file.or("") == "" && this.jwks_url.or("") == "" && (this.issuer.or("") != "" || this.audiences.or([]).length() > 0 || this.required_claims.or({}).length() > 0) {
  [ "tokens need a key to be verified with: set secret, public_key_files, jwks_file or jwks_url" ]
}`

// Fields returns the fields.
func Fields() []*service.ConfigField {
	return []*service.ConfigField{
		service.NewStringField(fieldSecret).
			Description("The secret shared with who signs tokens with HS256, of at least 32 bytes.").
			Default("").
			Example("${TOKEN_SECRET}").
			Secret().
			LintRule(`root = if this != "" && this.bytes().length() < 32 { [ "secret must have at least 32 bytes (RFC 7518, section 3.2)" ] }`),
		service.NewStringListField(fieldPublicKeyFiles).
			Description("Files with public keys, or certificates, in PEM form: RSA of 2048 to 8192 bits for RS256, EC on P-256 for ES256, Ed25519 for EdDSA. They are read again when they change.").
			Default([]any{}).
			Example([]string{"/etc/iotcast/tokens.pem"}),
		service.NewStringField(fieldJWKSFile).
			Description("A file with a JSON Web Key Set (RFC 7517). It is read again when it changes.").
			Default("").
			Example("/etc/iotcast/jwks.json").
			Advanced(),
		service.NewStringField(fieldJWKSURL).
			Description("The URL of a JSON Web Key Set (RFC 7517), as an identity provider publishes it. It is fetched in the background. A token whose key is not known makes it be fetched at once, but not often. While the server does not answer, the last keys stay in use.").
			Default("").
			Example("https://id.example.com/.well-known/jwks.json").
			LintRule(`root = if this != "" && !this.re_match("^https?://[^/]") { [ "jwks_url must be an http or https URL" ] }`),
		duration.Field(fieldJWKSRefresh).
			Description("How often `" + fieldJWKSURL + "` is fetched.").
			Default("15m").
			Example("1h").
			Advanced(),
		service.NewStringField(fieldIssuer).
			Description("What the claim `iss` must be. Empty means that it is not looked at.").
			Default("").
			Example("https://id.example.com/"),
		service.NewStringListField(fieldAudiences).
			Description("The claim `aud` must hold one of these. An empty list means that it is not looked at: then a token that was made for another service is good here, too.").
			Default([]any{}).
			Example([]string{"iotcast"}),
		service.NewStringMapField(fieldRequiredClaims).
			Description("More claims that a token must have: the claim must be the value, or be a list that holds it. An empty value means any. `exp: \"\"` refuses tokens that never expire.").
			Default(map[string]any{}).
			Example(map[string]any{"tenant": "acme", "exp": ""}).
			Advanced(),
		duration.Field(fieldLeeway).
			Description("By how much the clock of who signs tokens may differ from this one.").
			Default("10s").
			Example("1m").
			Advanced(),
	}
}

// Parse reads the fields from the object that has them. It returns false if none
// of them is set, and so no token is asked for.
func Parse(conf *service.ParsedConfig) (cfg token.Config, on bool, err error) {
	secret, err := conf.FieldString(fieldSecret)
	if err != nil {
		return cfg, false, err
	}
	cfg.Secret = []byte(secret)
	for name, to := range map[string]*string{fieldJWKSFile: &cfg.JWKSFile, fieldJWKSURL: &cfg.JWKSURL, fieldIssuer: &cfg.Issuer} {
		if *to, err = conf.FieldString(name); err != nil {
			return cfg, false, err
		}
	}
	for name, to := range map[string]*[]string{fieldPublicKeyFiles: &cfg.PublicKeyFiles, fieldAudiences: &cfg.Audiences} {
		if *to, err = conf.FieldStringList(name); err != nil {
			return cfg, false, err
		}
	}
	if cfg.RequiredClaims, err = conf.FieldStringMap(fieldRequiredClaims); err != nil {
		return cfg, false, err
	}
	if cfg.JWKSRefresh, err = duration.Of(conf, fieldJWKSRefresh); err != nil {
		return cfg, false, err
	}
	if cfg.Leeway, err = duration.Of(conf, fieldLeeway); err != nil {
		return cfg, false, err
	}
	return cfg, len(cfg.Secret) > 0 || len(cfg.PublicKeyFiles) > 0 || cfg.JWKSFile != "" || cfg.JWKSURL != "" ||
		cfg.Issuer != "" || len(cfg.Audiences) > 0 || len(cfg.RequiredClaims) > 0, nil
}
