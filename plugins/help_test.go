package plugins_test

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/plugins"
)

// TestHelpOfOnesOwn: a binary of somebody else's has the help of iotcast, without the commands that it lacks, and a version,
// which it may set.
func TestHelpOfOnesOwn(t *testing.T) {
	help := printed(t, service.CLIOptSetArgs("mine", "--help"), service.CLIOptSetBinaryName("mine"))
	for _, want := range []string{"readings from MQTT devices", "mine run config.yaml", "Run one pipeline, with its gateways"} {
		if !strings.Contains(help, want) {
			t.Errorf("no %q in\n%s", want, help)
		}
	}
	for _, no := range []string{"mundane", "quickstart", "Benthos"} {
		if strings.Contains(help, no) {
			t.Errorf("%q in\n%s", no, help)
		}
	}
	if got := printed(t, service.CLIOptSetArgs("mine", "--version")); strings.Contains(got, "Version: v4.") || !strings.Contains(got, "Date: unknown") {
		t.Errorf("the version is not iotcast's: %s", got)
	}
	own := service.CLIOptSetVersion("1.2.3", "2026-01-02")
	if got := printed(t, service.CLIOptSetArgs("mine", "--version"), own); got != "Version: 1.2.3\nDate: 2026-01-02\n" {
		t.Errorf("it does not keep to the version that is set: %s", got)
	}
}

// TestHelpOfOthers: a program that has plugins in it, and commands of its own beside them, has its own help for these.
func TestHelpOfOthers(t *testing.T) {
	_ = plugins.Options()
	var help strings.Builder
	app := &cli.App{Name: "theirs", Usage: "their usage", Description: "theirs", Writer: &help, Commands: []*cli.Command{{Name: "run", Usage: "their run"}}}
	for _, arguments := range [][]string{{"theirs", "--help"}, {"theirs", "run", "--help"}} {
		if err := app.Run(arguments); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"theirs - their usage", "theirs run - their run", "GLOBAL OPTIONS"} {
		if !strings.Contains(help.String(), want) {
			t.Errorf("no %q in\n%s", want, &help)
		}
	}
}

// printed is what a command prints to standard output.
func printed(t *testing.T, options ...service.CLIOptFunc) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	before := os.Stdout
	os.Stdout = file
	// Options take what standard output is now.
	code := plugins.Run(t.Context(), options...)
	os.Stdout = before
	if code != 0 {
		t.Errorf("ended with %d", code)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
