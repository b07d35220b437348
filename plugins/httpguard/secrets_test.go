package httpguard_test

import (
	"strings"
	"testing"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	_ "github.com/redpanda-data/connect/v4/public/components/prometheus"
)

// TestSecretsAreNotShown, wherever they have come from.
func TestSecretsAreNotShown(t *testing.T) {
	t.Setenv("IOTCAST_MQTT_PASSWORD", "s3cr3t")
	a := start(t, "")
	a.must("POST", "/streams/one", `
input: { iot_mqtt: { urls: [ "tcp://user:s3cr3t@127.0.0.1:1" ], user: me, password: "${IOTCAST_MQTT_PASSWORD}", broker_id: b } }
output: { drop: {} }
`)
	answer := a.must("GET", "/streams/one", "")
	if strings.Contains(answer, "s3cr3t") || strings.Contains(answer, "buffer") || !strings.Contains(answer, "127.0.0.1:1") {
		t.Error(answer)
	}
}

// TestSecretsThatBenthosDoesNotKnow: in headers and parameters with telling names,
// and in URLs. What is no secret is shown.
func TestSecretsThatBenthosDoesNotKnow(t *testing.T) {
	a := start(t, "")
	a.must("POST", "/resources/cache/none", "memory: {}")
	a.must("POST", "/streams/one", `
input: { generate: { mapping: 'root = ""', interval: 1h } }
pipeline:
  processors:
    - cache: { resource: none, operator: get, key: shown-key }
    - switch:
        - processors:
            - http:
                url: https://shown-user:s3cr3t@shown.test/path?shown=1&api_key=s3cr3t&sig=s3cr3t&X-Amz-Signature=s3cr3t#access_token=s3cr3t
                headers:
                  Authorization: Bearer s3cr3t
                  Proxy-Authorization: Basic s3cr3t
                  X-Api-Key: s3cr3t
                  x-auth-token: '${! "s3cr3t" }'
                  Cookie: a=b; session=s3cr3t
                  Ocp-Apim-Subscription-Key: s3cr3t
                  Content-Type: shown/type
                  Authentication-Info: ""
                oauth2: { endpoint_params: { client_secret: [ s3cr3t, s3cr3t ], audience: [ shown-audience ] } }
output:
  broker:
    outputs:
      - http_client: { url: "http://s3cr3t@shown.test:8080/", headers: { API-KEY: 12345678, X-Count: 12 } }
      - http_client: { url: "http://shown-user:s3cr3t@s3cr3t@shown.test/?token=s3cr3t" }
`)
	answer := a.must("GET", "/streams/one", "")
	for _, secret := range []string{"s3cr3t", "12345678"} {
		if strings.Contains(answer, secret) {
			t.Errorf("%s is shown: %s", secret, answer)
		}
	}
	for _, shown := range []string{
		"shown-key", "https://shown-user:xxxxx@shown.test/path?shown=1", "shown/type", "shown-audience", "xxxxx@shown.test:8080/", "X-Count",
	} {
		if !strings.Contains(answer, strings.ReplaceAll(shown, "&", `\u0026`)) {
			t.Errorf("%s is not shown: %s", shown, answer)
		}
	}
}
