package tests

import (
	"strings"
	"testing"
)

// What is not known is not judged: with --skip-env-var-check a variable may stand for
// anything, whatever the field, and what is written out is judged as ever.
func TestLintOfUnsetVariables(t *testing.T) {
	t.Parallel()
	const text = `
websocket_gateways:
  - label: '${UNSET_LABEL}'
    address: '${UNSET_ADDRESS}'
    node_id: '${UNSET_NODE}'
    queue_bytes: ${UNSET_QUEUE}
    slow_consumer: '${UNSET_SLOW}'
    tls: { min_version: '${UNSET_VERSION}', cert_file: '${UNSET_CERT}', client_auth: '${UNSET_AUTH}' }
    tokens: { jwks_url: '${UNSET_KEYS}' }
    access_bindings: [ { service_account_id: '${UNSET_ACCOUNT}', roles: [ '${UNSET_ROLE}' ] } ]
    routes:
      - path: '${UNSET_PATH}'
        history:
          max_age: '${UNSET_AGE}'
      - path: '${UNSET_PATH_2}'
mqtt_broker:
  address: '${UNSET_BROKER}'
  users:
    - user: '${UNSET_USER}'
      password: '${UNSET_PASSWORD}'
    - user: '${UNSET_USER_2}'
      password: '${UNSET_PASSWORD}'
input:
  iot_mqtt:
    urls: [ '${UNSET_URL}' ]
    registry_id: '${UNSET_REGISTRY}'
    client_id: '${UNSET_CLIENT}'
    clean_session: ${UNSET_CLEAN}
    topics: [ '${UNSET_TOPIC}' ]
    qos: ${UNSET_QOS}
    batching:
      count: ${UNSET_COUNT}
      period: '${UNSET_PERIOD}'
pipeline:
  threads: ${UNSET_THREADS}
  processors: [ iot_trigger: { max_bytes: ${UNSET_BYTES}, source: '${UNSET_SOURCE}' } ]
output:
  websocket_broadcast:
    gateway: '${UNSET_GATEWAY}'
    path: '${UNSET_PATH}'
    message_type: '${UNSET_TYPE}'
    no_connections: '${UNSET_DROP}'
`
	lint := func(text string, flags ...string) (printed string, code int) {
		return runProgram(t, binary, append(append([]string{"lint"}, flags...), writeFile(t, text))...)
	}
	if printed, code := lint(text, "--skip-env-var-check"); code != 0 {
		t.Errorf("exit code %d\n%s", code, printed)
	}
	if printed, code := lint(text); code == 0 {
		t.Errorf("variables that are not set went unnoticed\n%s", printed)
	}
	for _, wrong := range []struct{ old, by, want string }{
		{"'${UNSET_REGISTRY}'", "${UNSET_REGISTRY}", "stands without quotes"},
		{"'${UNSET_URL}'", "nonsense", "not the URL of an MQTT broker"},
		{"${UNSET_QOS}", "3", "qos must be 0, 1 or 2"},
		{"'${UNSET_PERIOD}'", "1 s", "period must be a duration"},
		{"${UNSET_COUNT}", "ten", "field input.iot_mqtt.batching.count: it must be a number"},
		{"${UNSET_CLEAN}", "1", "field input.iot_mqtt.clean_session: it must be true or false"},
		{"${UNSET_THREADS}", "two", "field pipeline.threads: it must be a number"},
		{"'${UNSET_AGE}'", "5 minutes", "max_age must be a duration"},
		{"'${UNSET_SLOW}'", "slow", "value slow is not a valid option"},
		{"client_id: '${", "client: '${", "field client not recognised"},
	} {
		printed, code := lint(strings.Replace(text, wrong.old, wrong.by, 1), "--skip-env-var-check")
		if code == 0 || !strings.Contains(printed, wrong.want) || strings.Count(printed, "\n") != 1 {
			t.Errorf("%s: exit code %d, want one finding, %q\n%s", wrong.by, code, wrong.want, printed)
		}
	}
}
