package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPages fails when a description was changed and the pages were not.
func TestPages(t *testing.T) {
	if err := run("../reference", "../../internal/control", true); err != nil {
		t.Fatal(err)
	}
}

func TestStalePagesAreListedAndMended(t *testing.T) {
	dir := t.TempDir()
	if err := run(dir, dir, false); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, dir, true); err != nil {
		t.Fatal("fresh pages are stale: ", err)
	}
	gone, changed, extra := filepath.Join(dir, "iot_mqtt.md"), filepath.Join(dir, "iot_trigger.md"), filepath.Join(dir, "removed.md")
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{changed, extra} {
		if err := os.WriteFile(path, []byte("something else"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := run(dir, dir, true)
	if err == nil {
		t.Fatal("stale pages pass")
	}
	for _, want := range []string{gone, changed, extra, command} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "websocket_broadcast.md") {
		t.Errorf("the error names a page that is fresh: %v", err)
	}
	if err := run(dir, dir, false); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, dir, true); err != nil {
		t.Fatal(err)
	}
}

func TestEveryComponentHasAPage(t *testing.T) {
	pages, err := render()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "iot_mqtt.md", "iot_trigger.md", "websocket_broadcast.md", "websocket_gateways.md", "connection_api.md", "mqtt_broker.md"} {
		if pages[name] == "" {
			t.Errorf("there is no page %s", name)
		}
	}
}

func TestMarkdown(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"== Metadata", "## Metadata"},
		{"=== Deeper\n\ntext", "### Deeper\n\ntext"},
		{"```yaml\n== no heading\n```", "```yaml\n== no heading\n```"},
		{"a == b", "a == b"},
		{
			"any xref:configuration:error_handling.adoc[failed message].",
			"any [failed message](https://docs.redpanda.com/redpanda-connect/configuration/error_handling/).",
		},
		{
			"xref:components:inputs/mqtt.adoc#fields[its fields]",
			"[its fields](https://docs.redpanda.com/redpanda-connect/components/inputs/mqtt/#fields)",
		},
		{"see https://mqtt.org/[MQTT^].", "see [MQTT](https://mqtt.org/)."},
		{"such as `https://example.com`, or [text](https://example.com)", "such as `https://example.com`, or [text](https://example.com)"},
	} {
		got, err := markdown(c.in)
		if err != nil || got != c.want {
			t.Errorf("markdown(%q) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
	for _, unknown := range []string{"xref:broken", "----", "[source,yaml]", "[NOTE]", "```\nopen"} {
		if got, err := markdown(unknown); err == nil {
			t.Errorf("markdown(%q) = %q without an error", unknown, got)
		}
	}
}
