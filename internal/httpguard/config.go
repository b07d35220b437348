package httpguard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/configtext"
)

// reaching are the components and Bloblang functions that run programs, read or
// write files, read the environment, or add an HTTP API of their own by which
// components can be made. Those of Benthos and Connect that a binary may have
// are named as well: an unknown name does no harm.
var reaching = []string{
	"command", "subprocess", // run programs
	"javascript", "wasm", "awk", // run code that may read files
	"csv", "file", "parquet", "sqlite", "sql", "sql_select", "sql_insert", "sql_raw", // files, also by database drivers
	"grok", "json_schema", "protobuf", "avro", // read patterns and schemas from files
	"socket", "socket_server", // sockets in the file system, such as Docker's
	"stdin",
	"dynamic",                     // its own API is not checked
	"crash",                       // ends the process
	"env", "file_rel", "hostname", // Bloblang; file is above
}

// ReachingComponents are those names.
func ReachingComponents() []string { return slices.Sorted(slices.Values(reaching)) }

const importName = "import" // of Bloblang: reads files

// linter finds what must not come over HTTP. It lints configs in an environment
// without the components, so that Benthos itself says what is in them, however
// deep.
type linter struct {
	cfg       Config
	all, some *service.Environment
}

func newLinter(cfg Config) *linter {
	refused := func(name string) bool {
		return slices.Contains(reaching, name) && !slices.Contains(cfg.AllowComponents, name)
	}
	all := service.GlobalEnvironment()
	accepted := func(walk func(func(string, *service.ConfigView))) (names []string) {
		walk(func(name string, _ *service.ConfigView) {
			if !refused(name) {
				names = append(names, name)
			}
		})
		return names
	}
	// Scanners read what an input has opened, and are all accepted.
	some := all.WithInputs(accepted(all.WalkInputs)...).
		WithProcessors(accepted(all.WalkProcessors)...).
		WithOutputs(accepted(all.WalkOutputs)...).
		WithCaches(accepted(all.WalkCaches)...).
		WithBuffers(accepted(all.WalkBuffers)...)
	unrefused := func(name string) bool { return !refused(name) }
	mappings := bloblang.GlobalEnvironment().WithoutFunctions(slices.DeleteFunc(slices.Clone(reaching), unrefused)...)
	if !slices.Contains(cfg.AllowComponents, importName) {
		mappings = mappings.WithCustomImporter(func(string) ([]byte, error) {
			return nil, errors.New("importing files is not accepted over HTTP")
		})
	}
	some.UseBloblangEnvironment(mappings)
	return &linter{cfg: cfg, all: all, some: some}
}

// lintError are what is wrong in a config, in the words of Benthos.
type lintError struct{ lints []string }

func (e *lintError) Error() string { return strings.Join(e.lints, "\n") }

// kindStream stands beside the component types that resources have.
const kindStream = "stream"

// check lints a config of a kind, and returns it as it is to run: with its
// variables replaced and its aliases resolved, so that nothing is read in another
// way than it was checked.
func (l *linter) check(kind string, text []byte) (*yaml.Node, error) {
	text, err := l.expand(text)
	if err != nil {
		return nil, err
	}
	doc, err := parse(text)
	if err != nil {
		return nil, err
	}
	if err := l.lint(kind, text); err != nil { // by the lines of the caller
		return nil, err
	}
	return doc, l.checked(kind, doc)
}

// complete refuses a stream without an input or an output: Benthos would take the
// standard input and output of the process.
func complete(doc *yaml.Node) error {
	for _, field := range []string{"input", "output"} {
		found := false
		for i := 0; i < len(doc.Content); i += 2 {
			found = found || doc.Content[i].Value == field
		}
		if !found {
			return fmt.Errorf("the stream has no %s: over HTTP it must name one", field)
		}
	}
	return nil
}

// checked lints a config as Benthos is to read it.
func (l *linter) checked(kind string, doc *yaml.Node) error {
	if kind == kindStream {
		if err := complete(doc); err != nil {
			return err
		}
	}
	text, err := encode(doc)
	if err != nil {
		return err
	}
	return l.lint(kind, text)
}

func (l *linter) lint(kind string, text []byte) error {
	found, err := lint(l.some, kind, text)
	if err != nil || len(found) == 0 {
		return err
	}
	harmless, err := lint(l.all, kind, text)
	if err != nil {
		return err
	}
	if slices.Equal(found, harmless) {
		return &lintError{found}
	}
	const hint = "in streams that come over HTTP, components and functions that run programs or reach files or the environment are refused, unless http_guard.allow_components names them"
	return &lintError{append(found, hint)}
}

func lint(env *service.Environment, kind string, text []byte) (found []string, err error) {
	// The linter would obey a comment on the first line that turns it off.
	text = slices.Concat([]byte("#\n"), text)
	nothing := func(context.Context, string) (string, bool) { return "", false }
	var lints []service.Lint
	if kind == kindStream {
		lints, err = env.CoreConfigSchema("", "").NewStreamConfigLinter().
			SetSkipEnvVarCheck(true).SetEnvVarLookupFunc(nothing).LintYAML(text)
	} else {
		lints, err = env.NewComponentConfigLinter().
			SetSkipEnvVarCheck(true).SetEnvVarLookupFunc(nothing).LintYAML(kind, text)
	}
	for _, one := range lints {
		one.Line = max(one.Line-1, 1)
		found = append(found, one.Error())
	}
	return found, err
}

// parse returns a document without aliases, and with text for keys: others
// cannot be given back as JSON.
func parse(text []byte) (*yaml.Node, error) {
	var doc, second yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(text))
	if err := documents.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the config: %w", err)
	}
	if err := documents.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("a second document, behind ---, is not accepted over HTTP: it would be ignored")
	}
	if len(doc.Content) == 0 {
		return nil, errors.New("the config is empty")
	}
	root := doc.Content[0]
	var bounded any
	if err := root.Decode(&bounded); err != nil { // refuses aliases that explode
		return nil, fmt.Errorf("reading the config: %w", err)
	}
	return plain(root)
}

// tags are those of plain data.
var tags = []string{"!!map", "!!seq", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!merge"}

func plain(n *yaml.Node) (*yaml.Node, error) {
	if n.Kind == yaml.AliasNode {
		return plain(n.Alias)
	}
	if !slices.Contains(tags, n.ShortTag()) {
		return nil, fmt.Errorf("line %d: the tag %s is not accepted over HTTP", n.Line, n.ShortTag())
	}
	if n.Kind == yaml.ScalarNode && nesting(n.Value) > maxNesting {
		return nil, fmt.Errorf("line %d: more than %d brackets within each other are not accepted over HTTP", n.Line, maxNesting)
	}
	copied := yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style, Line: n.Line}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		copied.Value, copied.Style = "null", 0 // which may have been nothing at all
	}
	for i, child := range n.Content {
		child, err := plain(child)
		if err != nil {
			return nil, err
		}
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			switch {
			case child.ShortTag() == "!!merge":
				return nil, fmt.Errorf("line %d: << is not accepted over HTTP: write the fields out", child.Line)
			case child.Kind != yaml.ScalarNode:
				return nil, fmt.Errorf("line %d: a key must be text", child.Line)
			case child.ShortTag() != "!!str":
				child.Tag, child.Style = "!!str", yaml.DoubleQuotedStyle
			}
		}
		copied.Content = append(copied.Content, child)
	}
	return &copied, nil
}

// maxNesting bounds what reading a mapping costs: Bloblang's parser takes a
// gigabyte for a hundred thousand brackets.
const maxNesting = 500

// nesting is how deep brackets stand within each other in a text.
func nesting(text string) (deepest int) {
	depth := 0
	for _, c := range []byte(text) {
		switch c {
		case '(', '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ')', ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return deepest
}

// expand replaces the environment variables of a config as Benthos does, which
// does it before it parses, so that they can be anything.
func (l *linter) expand(text []byte) ([]byte, error) {
	return configtext.Expand(text, func(v configtext.Variable) (string, error) {
		if !slices.Contains(l.cfg.AllowVariables, v.Name) {
			return "", fmt.Errorf("the environment variable %s is not for streams that come over HTTP: write its value, or name it in http_guard.allow_variables", v.Name)
		}
		return v.Value(os.LookupEnv)
	})
}

// encode writes a config so that nothing in it looks like a variable: Benthos
// would replace it after all, and what is replaced here must be all.
func encode(doc *yaml.Node) ([]byte, error) {
	quote(doc)
	text, err := yaml.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("writing the config: %w", err)
	}
	return bytes.ReplaceAll(text, []byte("${"), []byte(`\x24{`)), nil
}

// quote puts text between double quotes where it has ${, which can be escaped
// there, or line breaks: yaml.v3 loses one at the beginning of a block.
func quote(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && (strings.Contains(n.Value, "${") || strings.Contains(n.Value, "\n")) {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, child := range n.Content {
		quote(child)
	}
}
