package main

import (
	"bytes"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// fullConfig is the component's config with the defaults of its fields: all of
// them, or without the advanced ones.
func fullConfig(c *component, advanced bool) (string, error) {
	if c.Type == topLevelField {
		return marshal(mapping(pair(&c.Config, elements(&c.Config, advanced))...))
	}
	body := mapping(
		scalar("label"), scalar(""),
		scalar(c.Name), object(c.Config.Children, advanced),
	)
	switch c.Type {
	case "processor", "cache", "rate_limit", "scanner":
		return marshal(body) // an element of a list, or nested somewhere
	}
	return marshal(mapping(scalar(c.Type), body))
}

// elements shows a top-level list by one element, for its default, the empty
// list, would say nothing.
func elements(f *field, advanced bool) *yaml.Node {
	if len(f.Children) == 0 {
		return value(f, advanced)
	}
	o := object(f.Children, advanced)
	if f.Kind == "array" {
		return &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{o}}
	}
	return o
}

func object(fields []field, advanced bool) *yaml.Node {
	m := mapping()
	for i := range fields {
		f := &fields[i]
		if f.Deprecated || f.Advanced && !advanced {
			continue
		}
		m.Content = append(m.Content, pair(f, value(f, advanced))...)
	}
	return m
}

// pair is the field with its value, and a word on it where it has no default.
func pair(f *field, v *yaml.Node) []*yaml.Node {
	key := scalar(f.Name)
	switch {
	case f.hasDefault() || f.Kind == "scalar" && len(f.Children) > 0:
	case f.required():
		comment(key, v, "required")
	default:
		comment(key, v, "optional")
	}
	return []*yaml.Node{key, v}
}

func comment(key, v *yaml.Node, text string) {
	if v.Kind == yaml.ScalarNode || len(v.Content) == 0 {
		v.LineComment = text
		return
	}
	key.LineComment = text
}

// value is the default of a field, or else the first example, or else nothing.
func value(f *field, advanced bool) *yaml.Node {
	switch {
	case f.hasDefault() && !isEmptyObject(f):
		return plain(f.Default)
	case len(f.Children) > 0 && f.Kind == "array":
		return elements(f, advanced)
	case len(f.Children) > 0 && f.Kind == "scalar":
		return object(f.Children, advanced)
	case len(f.Examples) > 0:
		return ordered(f, plain(f.Examples[0]))
	case f.Kind == "array":
		return &yaml.Node{Kind: yaml.SequenceNode}
	case f.Kind == "map" || f.Type == "object":
		return mapping()
	default:
		return scalar("")
	}
}

// isEmptyObject tells of a field with children whose default is {}, which means
// the defaults of its children.
func isEmptyObject(f *field) bool {
	return f.Kind == "scalar" && len(f.Children) > 0 && f.Default.Kind == yaml.MappingNode && len(f.Default.Content) == 0
}

func mapping(content ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: content}
}

func scalar(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

// plain is the node without the quotes and brackets of JSON, where YAML needs none.
func plain(n yaml.Node) *yaml.Node {
	n.Style = 0
	if strings.Contains(n.Value, "${") && !strings.Contains(n.Value, "${!") { // a value of the environment may need them
		n.Style = yaml.SingleQuotedStyle
	}
	n.Line, n.Column = 0, 0
	n.Content = slices.Clone(n.Content)
	for i, c := range n.Content {
		n.Content[i] = plain(*c)
	}
	return &n
}

// ordered is an example of the field with its keys in the order in which the
// fields are documented; the schema has them in alphabetical order.
func ordered(f *field, n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			ordered(f, c)
		}
	}
	if n.Kind != yaml.MappingNode || f.Kind == "map" {
		return n
	}
	var known, others []*yaml.Node
	for i := range f.Children {
		for k := 0; k+1 < len(n.Content); k += 2 {
			if n.Content[k].Value == f.Children[i].Name {
				known = append(known, n.Content[k], ordered(&f.Children[i], n.Content[k+1]))
			}
		}
	}
	for k := 0; k+1 < len(n.Content); k += 2 {
		if !slices.Contains(known, n.Content[k]) {
			others = append(others, n.Content[k], n.Content[k+1])
		}
	}
	n.Content = slices.Concat(known, others)
	return n
}

func marshal(n *yaml.Node) (string, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return "", err
	}
	return b.String(), e.Close()
}

// inline is a value in one line of text, as JSON, of which YAML is fond too.
func inline(n yaml.Node) (string, error) {
	text, err := marshal(&n) // the node still has JSON's style
	return strings.TrimSpace(text), err
}
