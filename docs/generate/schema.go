package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/plugins"
)

// component is something that gets a page: a component proper, or a top-level
// field, which has no more than a Config.
type component struct {
	Page        string `yaml:"-"` // the name of its file, without the ending
	Name        string
	Type        string
	Status      string
	Summary     string
	Description string
	Footnotes   string
	Version     string
	Examples    []example
	Config      field
}

type example struct {
	Title, Summary, Config string
}

type field struct {
	Name             string
	Type             string
	Kind             string
	Description      string
	Advanced         bool `yaml:"is_advanced"`
	Deprecated       bool `yaml:"is_deprecated"`
	Optional         bool `yaml:"is_optional"`
	Secret           bool `yaml:"is_secret"`
	Interpolated     bool
	Bloblang         bool
	Default          yaml.Node // the zero Node where there is none
	Examples         []yaml.Node
	Options          []string
	AnnotatedOptions [][2]string `yaml:"annotated_options"`
	Children         []field
}

func (f *field) hasDefault() bool { return f.Default.Kind != 0 }

// required is Benthos' own rule: a field without default needs a value, an
// object needs one if any of its fields does.
func (f *field) required() bool {
	if f.Optional || f.hasDefault() {
		return false
	}
	return len(f.Children) == 0 || slices.ContainsFunc(f.Children, func(c field) bool { return c.required() })
}

// read gives everything that importing plugins adds to Benthos. This program
// imports no other components, so what is registered is ours.
func read() (components, topLevel []component, err error) {
	ours, err := parse(plugins.Schema())
	if err != nil {
		return nil, nil, err
	}
	benthos, err := parse(service.NewEnvironment().FullConfigSchema("", ""))
	if err != nil {
		return nil, nil, err
	}
	for _, list := range [][]component{
		ours.Inputs, ours.Buffers, ours.Processors, ours.Outputs, ours.Caches, ours.RateLimits, ours.Metrics, ours.Tracers, ours.Scanners,
	} {
		components = append(components, list...)
	}
	for _, f := range ours.Config {
		if !slices.ContainsFunc(benthos.Config, func(b field) bool { return b.Name == f.Name }) {
			summary, description, _ := strings.Cut(f.Description, "\n\n")
			topLevel = append(topLevel, component{Name: f.Name, Type: topLevelField, Summary: summary, Description: description, Config: f})
		}
	}
	return components, topLevel, nil
}

const topLevelField = "top-level field"

type schema struct {
	Config     []field
	Inputs     []component
	Buffers    []component
	Processors []component
	Outputs    []component
	Caches     []component
	RateLimits []component `yaml:"rate-limits"`
	Metrics    []component
	Tracers    []component
	Scanners   []component
}

func parse(from *service.ConfigSchema) (s schema, err error) {
	text, err := from.MarshalJSONV0()
	if err != nil {
		return s, fmt.Errorf("describing the configuration: %w", err)
	}
	// JSON is YAML, and as YAML its values can be written to the pages as they are.
	if err := yaml.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("reading the description of the configuration: %w", err)
	}
	return s, nil
}
