package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Passwords that YAML would take for something else reach the broker as they are,
// from the configs as they stand in the repository.
func TestPasswordFromTheEnvironment(t *testing.T) {
	t.Parallel()
	passwords := map[string]string{"digits": "12345678", "comment": "abc #def", "nothing": "null", "marks": `a\n"b: {c`}
	dir := t.TempDir()
	file := filepath.Join(dir, "passwords")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for user, password := range passwords {
		outputOf(t, "mosquitto_passwd", "-b", file, user, password)
	}
	b := startMosquittoIn(t, dir, "allow_anonymous false", "password_file "+file)
	for user, password := range passwords {
		t.Run(user, func(t *testing.T) {
			c := runConfig(t, []string{"MQTT_URL=" + b.url(), "MQTT_USER=" + user, "MQTT_PASSWORD=" + password},
				"run", "-r", "../resources/*.yaml", "../config/device-trigger.yaml")
			c.waitReady() // it has logged in
			if strings.Contains(c.out.String(), password) && password != "null" {
				t.Error("the log has the password")
			}
		})
	}
}

// What would be read as something else is refused, by the name of its variable.
func TestVariableWithoutQuotes(t *testing.T) {
	t.Parallel()
	config := writeFile(t, `
http: { enabled: false }
input:
  iot_mqtt:
    broker_id: b
    password: ${SOME_PASSWORD:}
output: { drop: {} }
`)
	const named = "field input.iot_mqtt.password"
	for _, password := range []string{"12345678", "abc #def", "*anchor", "{brace", "null and # void"} {
		for _, command := range []string{"run", "lint"} {
			cmd := exec.CommandContext(t.Context(), binary, command, config)
			cmd.Env = append(os.Environ(), "SOME_PASSWORD="+password)
			printed, err := cmd.CombinedOutput()
			if err == nil || strings.Contains(string(printed), password) {
				t.Errorf("%s with %q: %v\n%s", command, password, err, printed)
			}
			mustName(t, string(printed), config, named, "SOME_PASSWORD", "'${SOME_PASSWORD:}'")
		}
	}
	mustLint(t, "input: { iot_mqtt: { broker_id: b, password: ${SOME_PASSWORD:} } }", named, "SOME_PASSWORD")

	// A secret that is no text, in the file or on the command line, is not shown.
	for _, args := range [][]string{
		{writeFile(t, "input: { iot_mqtt: { broker_id: b, password: 12345678 } }")},
		{"--set", "input.iot_mqtt.password=12345678", writeFile(t, "input: { iot_mqtt: { broker_id: b } }")},
	} {
		printed, code := runProgram(t, binary, append([]string{"run"}, args...)...)
		if code == 0 || strings.Contains(printed, "12345678") || !strings.Contains(printed, "quotes") {
			t.Errorf("%v: exit code %d\n%s", args, code, printed)
		}
	}
}
