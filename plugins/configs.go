package plugins

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/internal/configtext"
	"github.com/iotcast/iotcast/plugins/iotregistries"
)

// defaultConfigs are where a config is looked for that is not named.
var defaultConfigs = []string{"./iotcast.yaml", "/iotcast.yaml", "/etc/iotcast/iotcast.yaml"}

// checkConfigs looks at the text of the configs of a command before Benthos does.
// What it refuses, Benthos would read as something else than is meant, or refuse
// with an error that shows the value.
func checkConfigs(c *cli.Context) error {
	lint := c.Command.Name == "lint"
	unset := lint && c.Bool("skip-env-var-check")
	files, err := configsOf(c)
	if err != nil || len(files) == 0 {
		return err
	}
	schema, err := fieldSchema()
	if err != nil {
		return err
	}
	var all []error
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // Benthos says so
		}
		for _, part := range yamlIn(file, content) {
			findings := schema.Misread(part.text, os.LookupEnv)
			if unset {
				lints, err := lintUnset(c, part.text)
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				findings = append(findings, lints...)
			}
			if lint && !bytes.HasPrefix(part.text, []byte("# BENTHOS LINT DISABLE")) {
				findings = append(findings, schema.Unquoted(part.text)...)
				findings = append(findings, schema.Mistyped(part.text, os.LookupEnv)...)
				findings = append(findings, configtext.Together(part.text)...)
				findings = append(findings, iotregistries.Findings(part.text)...)
			}
			for _, f := range findings {
				f.Line += part.line
				all = append(all, fmt.Errorf("%s%v", file, f))
			}
		}
	}
	if err := errors.Join(all...); err != nil && c.Bool("chilled") {
		fmt.Fprintln(c.App.ErrWriter, err)
		return nil
	}
	if len(all) == 0 && unset {
		return errLinted
	}
	return errors.Join(all...)
}

// errLinted ends the command before Benthos lints what has nothing wrong.
var errLinted = errors.New("nothing is wrong")

// lintUnset lints a config without judging what variables that are not set will
// hold. Benthos would take them for nothing. What it says of their lines is left
// out, and so is what it says only because there is nothing, or because there is
// something.
func lintUnset(c *cli.Context, text []byte) (all []configtext.Finding, err error) {
	lint := func(unset string) ([]service.Lint, error) {
		return Schema().NewStreamConfigLinter().
			SetRejectDeprecated(c.Bool("deprecated")).SetRequireLabels(c.Bool("labels")).SetSkipEnvVarCheck(true).
			SetEnvVarLookupFunc(func(_ context.Context, name string) (string, bool) {
				if value, ok := os.LookupEnv(name); ok {
					return value, true
				}
				return unset, unset != ""
			}).LintYAML(text)
	}
	lints, err := lint("1")
	if err != nil {
		return nil, err
	}
	lines := configtext.Unset(text, os.LookupEnv)
	empty, err := lint("")
	for _, one := range lints {
		if lines[one.Line] && slices.Contains(ofValues, one.Type) || err == nil && !slices.Contains(empty, one) {
			continue
		}
		all = append(all, configtext.Finding{Line: one.Line, Text: one.What})
	}
	return all, nil
}

// ofValues are the lints that judge the value of a field.
var ofValues = []service.LintType{
	service.LintCustom, service.LintFailedRead, service.LintInvalidOption, service.LintBadLabel, service.LintBadBloblang,
	service.LintExpectedArray, service.LintExpectedObject, service.LintExpectedScalar,
}

// fieldSchema is what configtext is to know of the fields.
func fieldSchema() (*configtext.Schema, error) {
	text, err := Schema().MarshalJSONSchema()
	if err != nil {
		return nil, fmt.Errorf("writing the schema of configs: %w", err)
	}
	return configtext.NewSchema(text)
}

// configsOf are the files that a command reads its configs from.
func configsOf(c *cli.Context) (files []string, err error) {
	patterns := append(c.StringSlice("resources"), c.Args().Slice()...)
	if main := mainConfig(c); main != "" {
		patterns = append(patterns, main)
	}
	for _, pattern := range patterns {
		matches, err := filepath.Glob(strings.TrimSuffix(pattern, "..."))
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", pattern, err)
		}
		for _, path := range matches {
			err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
				if err == nil && !entry.IsDir() && (file == path || isConfig(file)) {
					files = append(files, file)
				}
				return nil //nolint:nilerr // what cannot be read is Benthos' to say
			})
			if err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// mainConfig is the one config of a command that may be found where none is named.
func mainConfig(c *cli.Context) string {
	candidates := []string{c.String("observability"), c.String("config")}
	switch c.Command.Name {
	case "lint":
	case "streams":
		candidates = append(candidates, found(defaultConfigs))
	default:
		candidates = append(candidates, c.Args().First(), found(defaultConfigs))
	}
	return cmp.Or(candidates...)
}

// found is the first of paths that is there.
func found(paths []string) string {
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

func isConfig(file string) bool {
	extension := filepath.Ext(file)
	return (extension == ".yaml" || extension == ".yml") && !strings.HasSuffix(strings.TrimSuffix(file, extension), "_benthos_test")
}

// part is a config in a file, line lines below its first.
type part struct {
	line int
	text []byte
}

var fenced = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// yamlIn are the configs in a file: those of Markdown are fenced, as Benthos' lint
// has it.
func yamlIn(file string, content []byte) (all []part) {
	if filepath.Ext(file) != ".md" {
		return []part{{0, content}}
	}
	for _, at := range fenced.FindAllSubmatchIndex(content, -1) {
		all = append(all, part{bytes.Count(content[:at[2]], []byte("\n")), content[at[2]:at[3]]})
	}
	return all
}
