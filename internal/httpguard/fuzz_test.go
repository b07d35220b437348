package httpguard

import (
	"bytes"
	"reflect"
	"testing"

	"gopkg.in/yaml.v3"
)

// FuzzEncode: what is sent to Benthos means what was checked, and has nothing that
// Benthos would replace.
func FuzzEncode(f *testing.F) {
	for _, text := range []string{
		"a: b", "a: ${X}", "a: ${{X}}", `a: "\x24{X:\x24{Y}}"`, "a: |\n  ${{X}}\n  b\n", "# ${{X}}\na: b # ${{X}}\n", "${{X}}: ${{X}}",
		"x: &a { b: 1 }\ny: *a", "x: &a { b: 1 }\ny: { <<: *a }", "1: a\ntrue: b\n~: c", "a: !!binary YQ==", "a: 2020-01-01", "a: '$${{X}}\\'", "a: [ 1, 0x10, 1e3 ]", "0: |\n\n & }00 |\n",
	} {
		f.Add([]byte(text))
	}
	l := newLinter(Config{})
	f.Fuzz(func(t *testing.T, text []byte) {
		text, err := l.expand(text)
		if err != nil {
			return
		}
		doc, err := parse(text)
		if err != nil {
			return
		}
		var want, got any
		if err := doc.Decode(&want); err != nil {
			return
		}
		sent, err := encode(doc)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(sent, []byte("${")) {
			t.Errorf("%q has a reference", sent)
		}
		if err := yaml.Unmarshal(sent, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q from %q is %#v, want %#v: %v", sent, text, got, want, err)
		}
	})
}
