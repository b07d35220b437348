package lab

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

const (
	tokenParameter = "access_token"
	tokenSecret    = "the secret of a bench, of 32 bytes and more"
	account        = "bench"
)

// secure switches on what a gateway that faces others has on.
func secure(gateway, output Map) {
	merge(gateway, Map{
		"allowed_origins":        []string{"https://dashboard.example.com"},
		"tokens":                 Map{"secret": tokenSecret, "audiences": []string{"bench"}, "query_parameter": tokenParameter},
		"access_bindings":        []Map{{"service_account_id": account, "roles": []string{"api-gateway.websocketBroadcaster"}}},
		"max_connections":        100_000,
		"max_connections_per_ip": 100_000,
		"handshake_rate":         100_000,
		"max_frame_bytes":        32 << 10,
	})
	output["service_account_id"] = account
}

// token is a JWT (RFC 7519) that outlasts the bench.
func token() string {
	part := base64.RawURLEncoding
	signed := part.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		part.EncodeToString(fmt.Appendf(nil, `{"aud":"bench","exp":%d}`, time.Now().Add(24*time.Hour).Unix()))
	mac := hmac.New(sha256.New, []byte(tokenSecret))
	mac.Write([]byte(signed))
	return signed + "." + part.EncodeToString(mac.Sum(nil))
}
