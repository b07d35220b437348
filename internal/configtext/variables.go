package configtext

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Finding is what is wrong with a line of a config. Its text holds no value.
type Finding struct {
	Line int
	Text string
}

func (f Finding) String() string { return fmt.Sprintf("(%d,1) %s", f.Line, f.Text) }

// Lookup returns the value of an environment variable.
type Lookup func(name string) (value string, ok bool)

// Unquoted finds variables that stand without quotes in fields that take text.
func (s *Schema) Unquoted(text []byte) (all []Finding) {
	for _, at := range scalars(text) {
		f := s.field(at.path)
		if len(at.variables) == 0 || !at.plain() || f.known && !f.text() || !f.known && !at.textByDefault() {
			continue
		}
		all = append(all, Finding{at.line, fmt.Sprintf(
			"field %s: variable %s stands without quotes, so that a value such as 12345, null or \"a #b\" is read as something else: write '%s'",
			at.name(), at.variables[0].Name, at.source())})
	}
	return all
}

// Misread finds what would not be read as it is meant: variables with a value that
// does not survive where they stand, and secrets that are no text.
func (s *Schema) Misread(text []byte, lookup Lookup) (all []Finding) {
	for _, at := range scalars(text) {
		f := s.field(at.path)
		if reason := at.misread(f, lookup); reason != "" {
			all = append(all, Finding{at.line, fmt.Sprintf("field %s: %s", at.name(), reason)})
		}
	}
	return all
}

// Mistyped finds what is no number in fields that take numbers, and neither true nor
// false in those that take that: Benthos' lint passes it, and run does not. What
// variables without a value will hold is not known.
func (s *Schema) Mistyped(text []byte, lookup Lookup) (all []Finding) {
	for _, at := range scalars(text) {
		var into any
		var want string
		switch s.field(at.path).kind {
		case "number":
			into, want = new(float64), "a number"
		case "boolean":
			into, want = new(bool), "true or false"
		default:
			continue
		}
		if node := at.read(lookup); node != nil && node.Decode(into) != nil {
			all = append(all, Finding{at.line, fmt.Sprintf("field %s: it must be %s, without quotes", at.name(), want)})
		}
	}
	return all
}

// read is what YAML makes of the value, or nil if that is not known.
func (at *scalar) read(lookup Lookup) *yaml.Node {
	if len(at.variables) == 0 || !at.plain() { // with quotes it is text, whatever it is
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: at.tag, Value: at.value, Style: at.style}
	}
	if slices.ContainsFunc(at.variables, func(v Variable) bool { return v.value(lookup) == "" || v.function != "" }) {
		return nil
	}
	return parse("k: " + at.replaced(func(v Variable) string { return inLine(v.value(lookup)) }))
}

// Expand replaces the variables of a config by what value gives for them, and those
// that are escaped by themselves, as Benthos does. All errors are joined, each once.
func Expand(text []byte, value func(Variable) (string, error)) ([]byte, error) {
	var failed []error
	text = environment.ReplaceAllFunc(text, func(source []byte) []byte {
		value, err := value(newVariable("", string(source)))
		if err != nil && !slices.ContainsFunc(failed, func(other error) bool { return other.Error() == err.Error() }) {
			failed = append(failed, err)
		}
		return []byte(inLine(value))
	})
	return escaped.ReplaceAll(text, []byte("$$$1")), errors.Join(failed...)
}

// Unset are the lines with variables that are not set and have no default: what
// they will hold is not known.
func Unset(text []byte, lookup Lookup) map[int]bool {
	lines := map[int]bool{}
	for _, at := range scalars(text) {
		for _, v := range at.variables {
			if _, ok := lookup(v.Name); !ok && !v.hasDefault {
				lines[at.line] = true
			}
		}
	}
	return lines
}

// scalar is a value in the text of a config.
type scalar struct {
	path      []string
	line      int
	style     yaml.Style
	tag       string
	inFlow    bool   // in { } or [ ]
	inList    bool   // in [ ]
	value     string // with a token for each variable
	variables []Variable
}

// Variable is what stands for a value of the environment: ${Name:byDefault|function}.
type Variable struct {
	Name, byDefault, function, token, source string
	hasDefault                               bool
}

// newVariable takes source apart as Benthos does.
func newVariable(token, source string) Variable {
	v := Variable{token: token, source: source}
	last := &v.Name
	v.Name, v.byDefault, v.hasDefault = strings.Cut(source[2:len(source)-1], ":")
	if v.hasDefault {
		last = &v.byDefault
	}
	if i := strings.LastIndexByte(*last, '|'); i >= 0 {
		*last, v.function = (*last)[:i], (*last)[i+1:]
	}
	return v
}

// Value is the value of a variable, or why it has none.
func (v Variable) Value(lookup Lookup) (string, error) {
	value := v.value(lookup)
	if _, ok := lookup(v.Name); !ok && !v.hasDefault {
		return "", fmt.Errorf("the environment variable %s is not set", v.Name)
	}
	switch v.function {
	case "":
		return value, nil
	case "base64decode":
		decoded, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return "", fmt.Errorf("the environment variable %s is no base64", v.Name)
		}
		return string(decoded), nil
	default:
		return "", fmt.Errorf("the environment variable %s has an unknown function %q", v.Name, v.function)
	}
}

// value is that before a function.
func (v Variable) value(lookup Lookup) string {
	if value, ok := lookup(v.Name); ok && value != "" {
		return value
	}
	return v.byDefault
}

var (
	// environment and escaped are what Benthos replaces in a config.
	environment = regexp.MustCompile(`\${[0-9A-Za-z_.]+(:((\${[^}]+})|[^}])*)?(?:\|[0-9A-Za-z]+)?}`)
	escaped     = regexp.MustCompile(`\${({[0-9A-Za-z_.]+(:((\${[^}]+})|[^}])*)?})}`)
)

// scalars are all values of a config, or none if it is no YAML: that Benthos says.
func scalars(text []byte) (all []scalar) {
	var variables []Variable
	text = environment.ReplaceAllFunc(text, func(source []byte) []byte {
		v := newVariable(fmt.Sprintf("variable%06dx", len(variables)), string(source))
		variables = append(variables, v)
		return []byte(v.token)
	})
	var doc yaml.Node
	if yaml.Unmarshal(text, &doc) != nil {
		return nil
	}
	var walk func(node *yaml.Node, path []string, inFlow, inList bool)
	walk = func(node *yaml.Node, path []string, inFlow, inList bool) {
		inFlow = inFlow || node.Style&yaml.FlowStyle != 0
		switch node.Kind {
		case yaml.DocumentNode:
			for _, below := range node.Content {
				walk(below, path, inFlow, false)
			}
		case yaml.MappingNode:
			for i := 0; i+1 < len(node.Content); i += 2 {
				walk(node.Content[i+1], append(slices.Clone(path), node.Content[i].Value), inFlow, false)
			}
		case yaml.SequenceNode:
			for i, below := range node.Content {
				walk(below, append(slices.Clone(path), strconv.Itoa(i)), inFlow, inFlow)
			}
		case yaml.ScalarNode:
			at := scalar{
				path: path, line: node.Line, style: node.Style, tag: node.ShortTag(),
				inFlow: inFlow, inList: inList, value: node.Value,
			}
			for _, v := range variables {
				if strings.Contains(node.Value, v.token) {
					at.variables = append(at.variables, v)
				}
			}
			all = append(all, at)
		}
	}
	walk(&doc, nil, false, false)
	return all
}

func (at *scalar) name() string { return strings.Join(at.path, ".") }

func (at *scalar) plain() bool {
	return at.style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
}

// source is the value as it stands in the config.
func (at *scalar) source() string {
	return at.replaced(func(v Variable) string { return v.source })
}

func (at *scalar) replaced(by func(Variable) string) string {
	text := at.value
	for _, v := range at.variables {
		text = strings.ReplaceAll(text, v.token, by(v))
	}
	return text
}

// textByDefault guesses from a default, or from what stands beside a variable, what
// a field takes of which nothing is known.
func (at *scalar) textByDefault() bool {
	if at.value != at.variables[0].token {
		return true
	}
	var node yaml.Node
	err := yaml.Unmarshal([]byte(at.variables[0].byDefault), &node)
	return err == nil && len(node.Content) == 1 && node.Content[0].ShortTag() == "!!str"
}

const (
	unquoted = "is not read as it is, since it stands without quotes: write '%s'"
	single   = "holds a single quote or a line break, and stands in single quotes: write |- and, indented in the next line, %s"
	double   = "is not read as it is in double quotes: write '%s'"
	notText  = "a secret must be text, so it needs quotes: without them YAML takes it for something else"
)

// misread says why the value would not be read as it is meant, or nothing.
func (at *scalar) misread(f field, lookup Lookup) string {
	if len(at.variables) == 0 {
		if f.secret && f.text() && at.tag != "!!str" && at.tag != "!!null" {
			return notText
		}
		return ""
	}
	for _, v := range at.variables {
		if v.function != "" { // its value is decoded first, by Benthos
			return ""
		}
		value := v.value(lookup)
		switch {
		case at.style&yaml.SingleQuotedStyle != 0 && strings.ContainsAny(value, "'\n"):
			return fmt.Sprintf("the value of variable %s "+single, v.Name, v.source)
		case at.style&yaml.DoubleQuotedStyle != 0 && parse(`k: "`+inLine(value)+`"`) == nil:
			return fmt.Sprintf("the value of variable %s "+double, v.Name, at.source())
		}
	}
	if !at.plain() {
		return ""
	}
	text := at.replaced(func(v Variable) string { return inLine(v.value(lookup)) })
	if text == "" || at.reads(text, f.text() || !f.known && at.textByDefault()) {
		return ""
	}
	return fmt.Sprintf("the value of variable %s "+unquoted, at.variables[0].Name, at.source())
}

// inLine is what Benthos does to a value.
func inLine(value string) string { return strings.ReplaceAll(value, "\n", `\n`) }

// reads reports whether YAML reads the plain text as itself. Where it is not meant
// to be text, it may be anything that YAML knows, and all of it.
func (at *scalar) reads(text string, asText bool) bool {
	around := "k: %s"
	switch {
	case at.inList:
		around = "k: [ %s ]"
	case at.inFlow:
		around = "k: { k: %s }"
	}
	node := parse(fmt.Sprintf(around, text))
	if node == nil {
		return false
	}
	if at.inList {
		if len(node.Content) > 1 && at.value == at.variables[0].token { // the elements of the list
			return true
		}
		node = node.Content[0]
	} else if at.inFlow {
		if len(node.Content) != 2 {
			return false
		}
		node = node.Content[1]
	}
	if node.Kind != yaml.ScalarNode {
		return !asText && node.Kind != yaml.AliasNode
	}
	if !asText {
		text = strings.TrimSpace(text)
	}
	return node.Anchor == "" && node.Value == text && (!asText || node.ShortTag() == "!!str")
}

// parse returns the one value of a mapping, or nil if it is none.
func parse(text string) *yaml.Node {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(text), &doc) != nil || len(doc.Content) != 1 || len(doc.Content[0].Content) != 2 {
		return nil
	}
	return doc.Content[0].Content[1]
}
