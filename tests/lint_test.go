package tests

import "testing"

// What is not known is not judged: with --skip-env-var-check a variable may stand for anything.
func TestLintOfUnsetVariables(t *testing.T) {
	t.Parallel()
	config := writeFile(t, `
websocket_gateways: [ { label: "${UNSET_A}", address: "${UNSET_B}", routes: [ { path: "${UNSET_C}" } ] } ]
input:
  iot_mqtt: { urls: [ "${UNSET_D}" ], registry_id: "${UNSET_E}", client_id: "${UNSET_F}", clean_session: false, topics: [ "${UNSET_G}" ], qos: ${UNSET_H} }
pipeline: { processors: [ iot_trigger: { max_bytes: ${UNSET_I} } ] }
output:
  websocket_broadcast: { gateway: "${UNSET_J}", path: "${UNSET_K}", no_connections: "${UNSET_L}" }
`)
	if printed, code := runProgram(t, binary, "lint", "--skip-env-var-check", config); code != 0 {
		t.Errorf("exit code %d\n%s", code, printed)
	}
	if printed, code := runProgram(t, binary, "lint", config); code == 0 {
		t.Errorf("variables that are not set went unnoticed\n%s", printed)
	}
}
