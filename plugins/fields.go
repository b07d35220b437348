package plugins

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/configtext"
)

// gatewaysField can change while the process runs.
const gatewaysField = "websocket_gateways"

var inLine = regexp.MustCompile(`\bline \d+\b`)

// lineOf is where an error of the parser is, if it says so.
func lineOf(err error) string {
	if line := inLine.FindString(err.Error()); line != "" {
		return " in " + line
	}
	return ""
}

// fieldsOf are the top-level fields of a config, with what --set sets.
func fieldsOf(text []byte, sets []string) (fields map[string]any, err error) {
	text, _ = configtext.Expand(text, func(v configtext.Variable) (string, error) { return v.Value(os.LookupEnv) })
	if err := yaml.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("it is no YAML%s: iotcast lint says what is wrong there", lineOf(err)) // the error may show a secret
	}
	if fields == nil {
		fields = map[string]any{}
	}
	for _, set := range sets {
		path, text, _ := strings.Cut(set, "=") // Benthos has refused what is not of this form
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return nil, fmt.Errorf("--set %s: the value is no YAML", path)
		}
		put(fields, strings.Split(path, "."), value)
	}
	return fields, nil
}

// put puts a value where a path leads to, and returns what it has become there: a list
// stays a list.
func put(at any, path []string, value any) any {
	list, isList := at.([]any)
	if len(path) == 0 {
		if _, already := value.([]any); isList && !already {
			return []any{value}
		}
		return value
	}
	if isList {
		if i, err := strconv.Atoi(path[0]); err == nil && i >= 0 && i < len(list) {
			list[i] = put(list[i], path[1:], value)
			return list
		}
		return append(list, put(nil, path[1:], value))
	}
	below, isMap := at.(map[string]any)
	if !isMap {
		below = map[string]any{}
	}
	name := strings.NewReplacer("~1", ".", "~0", "~").Replace(path[0])
	below[name] = put(below[name], path[1:], value)
	return below
}

// forStream are the fields that Benthos takes over when they change, forStart those that
// nobody does.
func forStream(fields map[string]any) any {
	return selected(fields, ofStream)
}

func forStart(fields map[string]any) any {
	return selected(fields, func(name string) bool { return !ofStream(name) && name != gatewaysField })
}

func ofStream(name string) bool {
	return slices.Contains([]string{"input", "buffer", "pipeline", "output"}, name) || strings.HasSuffix(name, "_resources")
}

func selected(fields map[string]any, want func(name string) bool) map[string]any {
	some := map[string]any{}
	for name, value := range fields {
		if want(name) && name != "tests" {
			some[name] = value
		}
	}
	return some
}

// differences are the paths of what differs, without the values.
func differences(path string, a, b any) (all []string) {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	oldMap, isMap := a.(map[string]any)
	newMap, areMaps := b.(map[string]any)
	if isMap && areMaps {
		names := slices.Collect(maps.Keys(oldMap))
		for name := range newMap {
			if _, ok := oldMap[name]; !ok {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			all = append(all, differences(strings.TrimPrefix(path+"."+name, "."), oldMap[name], newMap[name])...)
		}
		return all
	}
	oldList, isList := a.([]any)
	newList, areLists := b.([]any)
	if isList && areLists && len(oldList) == len(newList) {
		for i := range oldList {
			all = append(all, differences(fmt.Sprintf("%s.%d", path, i), oldList[i], newList[i])...)
		}
		return all
	}
	return []string{path}
}

// renamedNodes are the paths of the fields node_id that differ, of gateways that stay: it
// is part of what their connections are called.
func renamedNodes(a, b map[string]any) (all []string) {
	before := map[any]any{}
	gateways := func(fields map[string]any, f func(i int, g map[string]any)) {
		list, _ := fields[gatewaysField].([]any)
		for i, one := range list {
			if g, ok := one.(map[string]any); ok {
				f(i, g)
			}
		}
	}
	gateways(a, func(_ int, g map[string]any) { before[g["label"]] = g["node_id"] })
	gateways(b, func(i int, g map[string]any) {
		if id, ok := before[g["label"]]; ok && !reflect.DeepEqual(id, g["node_id"]) {
			all = append(all, fmt.Sprintf("%s.%d.node_id", gatewaysField, i))
		}
	})
	return all
}

// both are gateways with others beside them, and their routes with the others'.
func both(now, others any) any {
	return beside(now, others, "label", func(now, other map[string]any) map[string]any {
		gateway := maps.Clone(now)
		gateway["routes"] = beside(now["routes"], other["routes"], "path", func(now, _ map[string]any) map[string]any { return now })
		return gateway
	})
}

// beside is a list of objects with those of another list that it does not have by name.
func beside(now, others any, name string, merge func(now, other map[string]any) map[string]any) (all []any) {
	there := map[any]map[string]any{}
	list, _ := others.([]any)
	for _, one := range list {
		if object, ok := one.(map[string]any); ok {
			there[object[name]] = object
		}
	}
	named, _ := now.([]any)
	for _, one := range named {
		object, ok := one.(map[string]any)
		if !ok {
			continue
		}
		if other, ok := there[object[name]]; ok {
			object = merge(object, other)
			delete(there, object[name])
		}
		all = append(all, object)
	}
	for _, one := range list { // in their order
		if object, ok := one.(map[string]any); ok && there[object[name]] != nil {
			all = append(all, object)
		}
	}
	return all
}
