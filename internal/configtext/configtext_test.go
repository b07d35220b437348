package configtext_test

import (
	"strings"
	"testing"

	"github.com/iotcast/iotcast/internal/configtext"
)

const schema = `{
	"definitions": { "input": { "allOf": [ { "anyOf": [
		{ "type": "object", "properties": { "mqtt": { "type": "object", "properties": {
			"urls": { "type": "array", "items": { "type": "string" } },
			"password": { "type": "string", "is_secret": true },
			"client_id": { "type": "string" },
			"count": { "type": "number" },
			"clean": { "type": "boolean" }
		} } } },
		{ "type": "object", "properties": { "list": { "type": "array", "items": { "$ref": "#/definitions/input" } } } }
	] } ] } },
	"properties": { "input": { "$ref": "#/definitions/input" } }
}`

func load(t *testing.T) *configtext.Schema {
	t.Helper()
	s, err := configtext.NewSchema([]byte(schema))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func texts(all []configtext.Finding) string {
	var lines []string
	for _, f := range all {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// TestUnquoted: an empty want is for what is right.
func TestUnquoted(t *testing.T) {
	s := load(t)
	for text, want := range map[string]string{
		"input:\n  mqtt:\n    password: ${P:}":                   "(3,1) field input.mqtt.password: variable P stands without quotes",
		"input: { mqtt: { password: ${P} } }":                    "write '${P}'",
		"input: { list: [ { mqtt: { client_id: a-${N:0} } } ] }": "field input.list.0.mqtt.client_id: variable N",
		"input: { mqtt: { urls: [ ${U} ] } }":                    "field input.mqtt.urls.0",
		"input: { mqtt: { password: '${P}' } }":                  "",
		`input: { mqtt: { password: "${P:}" } }`:                 "",
		"input:\n  mqtt:\n    password: |-\n      ${P}":          "",
		"input: { mqtt: { count: ${N} } }":                       "",
		"input: { mqtt: { clean: ${C:true} } }":                  "",
		"input: { mqtt: { urls: ${URLS} } }":                     "",
		"input: { mqtt: { password: '${! x }' } }":               "",
		"input: { mqtt: { password: $${{P}} } }":                 "",
		"unknown: ${N:10}":                                       "",
		"unknown: ${N}":                                          "",
		"unknown: ${N:text}":                                     "field unknown",
		"unknown: [ ${N:text":                                    "",
	} {
		if got := texts(s.Unquoted([]byte(text))); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s:\n%s, want %q", text, got, want)
		}
	}
}

// TestMisread: by value, what it does where it stands. No finding tells the value.
func TestMisread(t *testing.T) {
	s := load(t)
	const (
		plain  = "input:\n  mqtt:\n    password: ${P:}"
		flow   = "input: { mqtt: { password: ${P:} } }"
		quoted = "input:\n  mqtt:\n    password: '${P:}'"
		double = "input:\n  mqtt:\n    password: \"${P:}\""
		block  = "input:\n  mqtt:\n    password: |-\n      ${P:}"
		count  = "input: { mqtt: { count: ${P:1} } }"
		urls   = "input: { mqtt: { urls: ${P} } }"
		list   = "input: { mqtt: { urls: [ ${P} ] } }"
		mixed  = "input:\n  mqtt:\n    client_id: a-${P}"
	)
	for _, test := range []struct {
		config, value string
		misread       bool
	}{
		{plain, "s3cr3t", false},
		{plain, "", false},
		{plain, "12345678", true},
		{plain, "0x1F", true},
		{plain, "null", true},
		{plain, "~", true},
		{plain, "true", true},
		{plain, "abc #def", true},
		{plain, "abc: def", true},
		{plain, `"abc`, true},
		{plain, `"abc"`, true},
		{plain, "*abc", true},
		{plain, "&abc def", true},
		{plain, "@abc", true},
		{plain, "!abc def", true},
		{plain, "{abc", true},
		{plain, "[ abc ]", true},
		{plain, " abc", true},
		{plain, `a\b'c"d`, false},
		{plain, "a,b", false},
		{flow, "a,b", true},
		{flow, "a}b", true},
		{flow, "s3cr3t", false},
		{flow, "12345678", true},
		{quoted, "12345678", false},
		{quoted, `abc #"def\n{`, false},
		{quoted, "null", false},
		{quoted, "ab'c", true},
		{quoted, "ab''c", true},
		{quoted, "two\nlines", true},
		{double, "12345678", false},
		{double, `ab"c`, true},
		{double, `ab\sc`, true},
		{double, "two\nlines", false},
		{double, "it's", false},
		{block, `'"\ #: 12`, false},
		{count, "12", false},
		{count, "12 # twelve", true},
		{urls, "[ a, b ]", false},
		{list, "a, b", false},
		{list, "tcp://localhost:1883", false},
		{mixed, "12", false},
		{mixed, "b #c", true},
	} {
		got := texts(s.Misread([]byte(test.config), func(string) (string, bool) { return test.value, true }))
		if test.misread != (got != "") {
			t.Errorf("%s with %s: %q", test.config, test.value, got)
		}
		if test.misread && !strings.Contains(got, "variable P ") || len(test.value) > 4 && strings.Contains(got, test.value) {
			t.Errorf("%s with %s: %q must name the variable, not its value", test.config, test.value, got)
		}
	}
}

// TestSecrets: what stands in the file itself.
func TestSecrets(t *testing.T) {
	s := load(t)
	for text, want := range map[string]string{
		"input: { mqtt: { password: 12345678 } }":   "(1,1) field input.mqtt.password: a secret must be text",
		"input: { mqtt: { password: true } }":       "a secret must be text",
		"input: { mqtt: { password: '12345678' } }": "",
		"input: { mqtt: { password: } }":            "",
		"input: { mqtt: { client_id: 12345678 } }":  "",
		"input: { mqtt: { count: 12345678 } }":      "",
	} {
		got := texts(s.Misread([]byte(text), func(string) (string, bool) { return "", false }))
		if (want == "") != (got == "") || !strings.Contains(got, want) || strings.Contains(got, "12345678") {
			t.Errorf("%s:\n%s, want %q", text, got, want)
		}
	}
}

// TestMistyped: an empty want is for what is right.
func TestMistyped(t *testing.T) {
	s := load(t)
	lookup := func(name string) (string, bool) {
		value, ok := map[string]string{"TEN": "10", "WORD": "ten", "YES": "true"}[name]
		return value, ok
	}
	for text, want := range map[string]string{
		"input:\n  mqtt:\n    count: ten":               "(3,1) field input.mqtt.count: it must be a number",
		"input: { mqtt: { count: '10' } }":              "a number, without quotes",
		"input: { mqtt: { count: '${TEN}' } }":          "a number, without quotes",
		"input: { mqtt: { count: ${WORD} } }":           "a number",
		"input: { mqtt: { count: '${UNSET:10}' } }":     "a number",
		"input: { mqtt: { count: 5 minutes } }":         "a number",
		"input: { list: [ { mqtt: { clean: 1 } } ] }":   "field input.list.0.mqtt.clean: it must be true or false",
		"input: { mqtt: { clean: 'true' } }":            "true or false",
		"input: { mqtt: { count: 10 } }":                "",
		"input: { mqtt: { count: 1e3 } }":               "",
		"input: { mqtt: { count: -0x1F } }":             "",
		"input: { mqtt: { count: } }":                   "",
		"input: { mqtt: { count: ${TEN} } }":            "",
		"input: { mqtt: { count: ${UNSET:10} } }":       "",
		"input: { mqtt: { count: ${UNSET} } }":          "",
		"input: { mqtt: { count: '${UNSET}' } }":        "a number",
		"input: { mqtt: { count: ${B|base64decode} } }": "",
		"input: { mqtt: { clean: ${YES} } }":            "",
		"input: { mqtt: { clean: yes } }":               "",
		"input: { mqtt: { client_id: ten } }":           "",
		"unknown: ten":                                  "",
	} {
		got := texts(s.Mistyped([]byte(text), lookup))
		if (want == "") != (got == "") || !strings.Contains(got, want) || strings.Contains(got, "ten") {
			t.Errorf("%s:\n%s, want %q", text, got, want)
		}
	}
}

// TestExpand: as Benthos does it.
func TestExpand(t *testing.T) {
	lookup := func(name string) (string, bool) {
		value, ok := map[string]string{"A": "1\n2", "B": "", "E": "no", "F": "Zg=="}[name]
		return value, ok
	}
	expand := func(text string) (string, error) {
		got, err := configtext.Expand([]byte(text), func(v configtext.Variable) (string, error) { return v.Value(lookup) })
		return string(got), err
	}
	got, err := expand("a: ${A}, b: ${B:b}, c: ${C:c:d}, d: ${! d }, e: ${{E}}, f: ${F|base64decode}, g: ${G:Zw==|base64decode}, h: ${B}, i: ${I:}, j: ${J:${E}}, k: ${{K:k}}")
	if want := `a: 1\n2, b: b, c: c:d, d: ${! d }, e: ${E}, f: f, g: g, h: , i: , j: ${E}, k: ${K:k}`; got != want || err != nil {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	_, err = expand("${Z} ${Y} ${Z} ${E|base64decode} ${E|rot13}")
	for _, want := range []string{"Y is not set", "Z is not set", "E is no base64", `E has an unknown function "rot13"`} {
		if err == nil || strings.Count(err.Error(), want) != 1 {
			t.Errorf("%v, want %s, once", err, want)
		}
	}
}
