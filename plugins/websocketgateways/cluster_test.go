package websocketgateways

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// TestClusterFields: of one node among several. What lints find, so does parsing,
// since lints can be switched off. An empty want is for what is right.
func TestClusterFields(t *testing.T) {
	linter := service.GlobalEnvironment().FullConfigSchema("", "").Fields(Field()).NewStreamConfigLinter()
	for yaml, want := range map[string]string{
		"":                       "",
		"node_id: ''":            "",
		"node_id: a":             "",
		"node_id: gateway01234":  "",
		"node_id: gateway012345": "node_id must have",
		"node_id: A":             "node_id must have",
		"node_id: a-b":           "node_id must have",
		"shutdown_code: 1001":    "",
		"shutdown_code: 1012":    "",
		"shutdown_code: 1000":    "shutdown_code must be",
		"drain_period: 10s":      "",
	} {
		config := "websocket_gateways:\n  - label: main\n    routes: [ { path: /a } ]\n    " + yaml
		lints, err := linter.LintYAML([]byte(config))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, l := range lints {
			if l.Type != service.LintMissing {
				got += l.What
			}
		}
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: lint says %q, want %q", yaml, got, want)
		}
		root, err := service.NewConfigSpec().Field(Field()).ParseYAML(config, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parse(root, newParts(nil, slog.New(slog.DiscardHandler)))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", yaml, err, want)
		}
	}
}
