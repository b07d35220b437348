package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
	"gopkg.in/yaml.v3"
)

// format is a form in which resources are printed. The names are those of the original command line.
type format string

const (
	textFormat format = "text"      // YAML of one, a table of many
	yamlFormat format = "yaml"      // snake_case
	jsonFormat format = "json"      // snake_case
	restFormat format = "json-rest" // camelCase, as the REST API
)

var formats = []format{textFormat, yamlFormat, jsonFormat, restFormat}

const flagFormat = "format"

func formatFlag() cli.Flag {
	return &cli.StringFlag{
		Name: flagFormat, Value: string(textFormat),
		Usage: "Print as `FORMAT`: text (YAML; a list as a table), yaml, json, or json-rest (in the camelCase of the REST API)",
	}
}

func readFormat(c *cli.Context) (format, error) {
	f := format(c.String(flagFormat))
	if f == "" { // of a command that prints nothing
		f = textFormat
	}
	if !slices.Contains(formats, f) {
		return "", fmt.Errorf("--%s %q must be text, yaml, json or json-rest", flagFormat, f)
	}
	return f, nil
}

// column is one of a table.
type column struct {
	title string
	value func(proto.Message) string
}

// write prints one resource.
func (f format) write(w io.Writer, m proto.Message) error {
	text, err := f.encode(m)
	if err != nil {
		return err
	}
	return f.writeJSON(w, text)
}

// writeList prints many.
func (f format) writeList(w io.Writer, columns []column, all []proto.Message) error {
	if f == textFormat {
		return writeTable(w, columns, all)
	}
	texts := make([][]byte, len(all))
	for i, m := range all {
		var err error
		if texts[i], err = f.encode(m); err != nil {
			return err
		}
	}
	return f.writeJSON(w, slices.Concat([]byte("["), bytes.Join(texts, []byte(",")), []byte("]")))
}

// encode is the message in JSON, with its fields in the order of their type.
func (f format) encode(m proto.Message) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: f != restFormat}.Marshal(m)
}

// writeJSON prints what is given in JSON.
func (f format) writeJSON(w io.Writer, text []byte) error {
	if f == jsonFormat || f == restFormat {
		var b bytes.Buffer
		if err := json.Indent(&b, text, "", "  "); err != nil {
			return err
		}
		b.WriteByte('\n')
		_, err := w.Write(b.Bytes())
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	n, err := yamlOf(d)
	if err != nil {
		return err
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return err
	}
	return e.Close()
}

// yamlOf reads the next value of JSON, and keeps the order of its fields.
func yamlOf(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	n := new(yaml.Node)
	switch v := token.(type) {
	case json.Delim:
		n.Kind = yaml.MappingNode
		if v == '[' {
			n.Kind = yaml.SequenceNode
		}
		for d.More() {
			child, err := yamlOf(d) // names of fields are values, too
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
		_, err = d.Token() // the bracket behind
		return n, err
	case string:
		n.SetString(v)
		if !strings.Contains(v, "\n") {
			n.Style = 0 // plain, or quoted where YAML asks for it
		}
		return n, nil
	default:
		err := n.Encode(v)
		return n, err
	}
}

func writeTable(w io.Writer, columns []column, all []proto.Message) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cell func(column) string) {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = cell(c)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	row(func(c column) string { return c.title })
	for _, m := range all {
		row(func(c column) string { return harmless(c.value(m)) })
	}
	return tw.Flush()
}

// field is a column with a field of a message: a text, an enum or a time.
func field(title string, name protoreflect.Name) column {
	return column{title, func(of proto.Message) string {
		m := of.ProtoReflect()
		f := m.Descriptor().Fields().ByName(name)
		if f == nil || !m.Has(f) {
			return ""
		}
		switch v := m.Get(f); f.Kind() {
		case protoreflect.EnumKind:
			return string(f.Enum().Values().ByNumber(v.Enum()).Name())
		case protoreflect.MessageKind:
			if t, ok := v.Message().Interface().(*timestamppb.Timestamp); ok {
				return t.AsTime().Format(time.RFC3339)
			}
			return ""
		default:
			return v.String()
		}
	}}
}
