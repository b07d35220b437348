// Package configtext looks at the text of a config before Benthos reads it: there,
// environment variables are not yet replaced by their values, and it can be seen
// where these would be read as something else.
//
// Benthos puts a value into the text as it is. What YAML makes of it depends on
// where it stands: without quotes 12345 is a number, null is nothing, and
// "abc #def" is abc and a comment.
package configtext

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Schema knows the fields of configs.
type Schema struct{ root map[string]any }

// NewSchema reads a JSON schema as Benthos writes it.
func NewSchema(text []byte) (*Schema, error) {
	s := new(Schema)
	if err := json.Unmarshal(text, &s.root); err != nil {
		return nil, fmt.Errorf("reading the schema of configs: %w", err)
	}
	return s, nil
}

// field is what a schema says of one.
type field struct {
	known  bool
	kind   string // as JSON schemas name it; empty: it may be of several
	secret bool
}

func (f field) text() bool { return f.kind == "string" }

// field returns what is known of the field at a path of names and indexes.
func (s *Schema) field(path []string) (f field) {
	at := s.resolve(s.root, nil)
	for _, name := range path {
		var below []map[string]any
		for _, node := range at {
			below = s.resolve(child(node, name), below)
		}
		at = below
	}
	for _, node := range at {
		kind, ok := node["type"].(string)
		if !ok {
			continue
		}
		switch {
		case !f.known:
			f.known, f.kind = true, kind
		case f.kind != kind:
			f.kind = ""
		}
		f.secret = f.secret || node["is_secret"] == true
	}
	return f
}

func child(node map[string]any, name string) any {
	if properties, ok := node["properties"].(map[string]any); ok {
		if found, ok := properties[name]; ok {
			return found
		}
	}
	if _, err := strconv.Atoi(name); err == nil && node["items"] != nil {
		return node["items"]
	}
	if patterns, ok := node["patternProperties"].(map[string]any); ok {
		return patterns["."]
	}
	return nil
}

// resolve adds to all what node is, behind references and in alternatives.
func (s *Schema) resolve(node any, all []map[string]any) []map[string]any {
	object, ok := node.(map[string]any)
	if !ok {
		return all
	}
	if ref, ok := object["$ref"].(string); ok {
		definitions, _ := s.root["definitions"].(map[string]any)
		return s.resolve(definitions[strings.TrimPrefix(ref, "#/definitions/")], all)
	}
	all = append(all, object)
	for _, choice := range []string{"allOf", "anyOf"} {
		list, _ := object[choice].([]any)
		for _, one := range list {
			all = s.resolve(one, all)
		}
	}
	return all
}
