package configtext

import (
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
		if len(at.variables) == 0 || !at.plain() || f.known && !f.text || !f.known && !at.textByDefault() {
			continue
		}
		all = append(all, Finding{at.line, fmt.Sprintf(
			"field %s: variable %s stands without quotes, so that a value such as 12345, null or \"a #b\" is read as something else: write '%s'",
			at.name(), at.variables[0].name, at.source())})
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

// Replace puts the values of variables into a config, as Benthos does.
func Replace(text []byte, lookup Lookup) []byte {
	return environment.ReplaceAllFunc(text, func(source []byte) []byte {
		return []byte(inLine(newVariable("", string(source)).value(lookup)))
	})
}

// Unset are the lines with variables that are not set and have no default: what
// they will hold is not known.
func Unset(text []byte, lookup Lookup) map[int]bool {
	lines := map[int]bool{}
	for _, at := range scalars(text) {
		for _, v := range at.variables {
			if _, ok := lookup(v.name); !ok && !strings.Contains(v.source, ":") {
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
	variables []variable
}

type variable struct{ token, source, name, byDefault string }

func newVariable(token, source string) variable {
	name, byDefault, _ := strings.Cut(source[2:len(source)-1], ":")
	name, _, _ = strings.Cut(name, "|")
	return variable{token, source, name, byDefault}
}

// environment is what Benthos replaces in a config.
var environment = regexp.MustCompile(`\${([0-9A-Za-z_.]+)(:((?:\${[^}]+})|[^}])*)?(\|[0-9A-Za-z]+)?}`)

// scalars are all values of a config, or none if it is no YAML: that Benthos says.
func scalars(text []byte) (all []scalar) {
	var variables []variable
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
			at := scalar{path: path, line: node.Line, style: node.Style, tag: node.ShortTag(), inFlow: inFlow, inList: inList, value: node.Value}
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
	return at.replaced(func(v variable) string { return v.source })
}

func (at *scalar) replaced(by func(variable) string) string {
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
		if f.secret && f.text && at.tag != "!!str" && at.tag != "!!null" {
			return notText
		}
		return ""
	}
	for _, v := range at.variables {
		if strings.Contains(v.source, "|") { // its value is decoded first, by Benthos
			return ""
		}
		value := v.value(lookup)
		switch {
		case at.style&yaml.SingleQuotedStyle != 0 && strings.ContainsAny(value, "'\n"):
			return fmt.Sprintf("the value of variable %s "+single, v.name, v.source)
		case at.style&yaml.DoubleQuotedStyle != 0 && parse(`k: "`+inLine(value)+`"`) == nil:
			return fmt.Sprintf("the value of variable %s "+double, v.name, at.source())
		}
	}
	if !at.plain() {
		return ""
	}
	text := at.replaced(func(v variable) string { return inLine(v.value(lookup)) })
	if text == "" || at.reads(text, f.text || !f.known && at.textByDefault()) {
		return ""
	}
	return fmt.Sprintf("the value of variable %s "+unquoted, at.variables[0].name, at.source())
}

func (v variable) value(lookup Lookup) string {
	if value, ok := lookup(v.name); ok && value != "" {
		return value
	}
	return v.byDefault
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
