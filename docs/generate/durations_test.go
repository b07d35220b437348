package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/plugins"
)

// TestDurations: what run would refuse of a duration, the lint of its field does,
// and it takes what the field gives as its default and its examples.
func TestDurations(t *testing.T) {
	components, topLevel, err := read()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	try := func(f *field, name string, config func(value any) any) {
		values := f.Examples
		if f.hasDefault() {
			values = append(slices.Clone(values), f.Default)
		}
		isDuration := func(n yaml.Node) bool { _, err := time.ParseDuration(n.Value); return err == nil }
		if f.Type != "string" || !slices.ContainsFunc(values, isDuration) {
			return
		}
		found++
		for _, wrong := range []string{"5 minutes", "1 s", "5", "five", "1d", "-1s"} {
			if got := lint(t, config(wrong)); !strings.Contains(got, f.Name+" must be") {
				t.Errorf("%s: %q passes: %s", name, wrong, got)
			}
		}
		for _, right := range append(values, yaml.Node{Value: "1h30m2.5s"}, yaml.Node{Value: "+3000000us"}) {
			if got := lint(t, config(right.Value)); strings.Contains(got, f.Name+" must be") {
				t.Errorf("%s: %q is refused: %s", name, right.Value, got)
			}
		}
	}
	for _, c := range components {
		everyField(&c.Config, c.Name, func(value any) any {
			body := map[string]any{c.Name: value}
			if c.Type == "processor" {
				return map[string]any{"pipeline": map[string]any{"processors": []any{body}}}
			}
			return map[string]any{c.Type: body}
		}, try)
	}
	for _, c := range topLevel {
		everyField(&c.Config, c.Name, func(value any) any { return map[string]any{c.Name: value} }, try)
	}
	if found < 10 {
		t.Errorf("%d fields hold a duration", found)
	}
}

// everyField calls visit for each field below f, with what makes a config of its value.
func everyField(f *field, name string, config func(any) any, visit func(*field, string, func(any) any)) {
	visit(f, name, config)
	for i := range f.Children {
		child := &f.Children[i]
		everyField(child, name+"."+child.Name, func(value any) any {
			var below any = map[string]any{child.Name: value}
			switch f.Kind {
			case "array":
				below = []any{below}
			case "map":
				below = map[string]any{"any": below}
			}
			return config(below)
		}, visit)
	}
}

func lint(t *testing.T, config any) string {
	t.Helper()
	text, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	lints, err := plugins.Schema().NewStreamConfigLinter().LintYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, one := range lints {
		all = append(all, one.Error())
	}
	return strings.Join(all, "\n")
}
