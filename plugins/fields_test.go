package plugins

import (
	"fmt"
	"reflect"
	"testing"

	"gopkg.in/yaml.v3"
)

func read(t *testing.T, text string) (fields map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// TestSets: as Benthos' --set has it.
func TestSets(t *testing.T) {
	const text = "a: { b: [ { c: 1 }, 2 ] }\nlist: [ x ]\n"
	for set, want := range map[string]string{
		"a.b.0.c=5":       "a: { b: [ { c: 5 }, 2 ] }\nlist: [ x ]",
		"a.b.1=text":      "a: { b: [ { c: 1 }, text ] }\nlist: [ x ]",
		"a.b.-={ c: 2 }":  "a: { b: [ { c: 1 }, 2, { c: 2 } ] }\nlist: [ x ]",
		"new.deep=true":   "a: { b: [ { c: 1 }, 2 ] }\nlist: [ x ]\nnew: { deep: true }",
		"list=y":          "a: { b: [ { c: 1 }, 2 ] }\nlist: [ y ]",
		"list=[ y, z ]":   "a: { b: [ { c: 1 }, 2 ] }\nlist: [ y, z ]",
		"dotted~1name==1": "a: { b: [ { c: 1 }, 2 ] }\nlist: [ x ]\ndotted.name: '=1'",
	} {
		if got, err := fieldsOf([]byte(text), []string{set}); err != nil || !reflect.DeepEqual(got, read(t, want)) {
			t.Errorf("%s: %v %v, want %v", set, got, err, read(t, want))
		}
	}
}

// TestBoth: while a stream is replaced there are the routes of both configs.
func TestBoth(t *testing.T) {
	now := read(t, "g: [ { label: a, limit: 1, routes: [ { path: /1, x: new }, { path: /2 } ] }, { label: c } ]")["g"]
	old := read(t, "g: [ { label: b }, { label: a, limit: 2, routes: [ { path: /0 }, { path: /1, x: old } ] } ]")["g"]
	want := read(t, "g: [ { label: a, limit: 1, routes: [ { path: /1, x: new }, { path: /2 }, { path: /0 } ] }, { label: c }, { label: b } ]")["g"]
	before := fmt.Sprint(now, old)
	if got := both(now, old); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if fmt.Sprint(now, old) != before {
		t.Error("it has changed what it was given")
	}
}

func TestRenamedNodes(t *testing.T) {
	old := read(t, "websocket_gateways: [ { label: a, node_id: x }, { label: b } ]")
	now := read(t, "websocket_gateways: [ { label: new, node_id: y }, { label: b, node_id: z }, { label: a, node_id: x } ]")
	if got := renamedNodes(old, now); !reflect.DeepEqual(got, []string{"websocket_gateways.1.node_id"}) {
		t.Error(got)
	}
}
