// Package helm checks the chart in iotcast: what Helm makes of it, with Kubernetes' own types and rules, and that iotcast runs with it.
package helm

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

const directory = "iotcast"

func init() { log.SetOutput(io.Discard) } // Helm tells of the links to alerts and dashboard whenever it loads the chart

// values are those of a file, or of a test, that stand above the chart's own.
type values = map[string]any

// set makes values of one: its path, with dots, and what it is.
func set(path string, value any) values {
	keys := strings.Split(path, ".")
	for _, key := range slices.Backward(keys) {
		value = values{key: value}
	}
	return value.(values)
}

// merge sets over the values below.
func merge(below values, over ...values) values {
	all := values{}
	for _, v := range append(slices.Clone(over), below) { // the first that has a value wins
		all = chartutil.CoalesceTables(all, copied(v))
	}
	return all
}

func copied(v any) values {
	text, err := yaml.Marshal(v)
	if err != nil {
		panic(err)
	}
	c := values{}
	if err := yaml.Unmarshal(text, &c); err != nil {
		panic(err)
	}
	return c
}

// read reads a file of values.
func read(t *testing.T, file string) values {
	t.Helper()
	v, err := chartutil.ReadValuesFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render is what `helm template` does, and gives the text of each template.
func render(c *chart.Chart, v values) (map[string]string, error) {
	release := chartutil.ReleaseOptions{Name: "iotcast", Namespace: "plant", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, copied(v), release, nil)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, all)
}

// files are values that people have, and that together try all there are. The name default is that of the chart's own.
func files(t *testing.T) map[string]values {
	t.Helper()
	found := map[string]values{"default": {}}
	for _, pattern := range []string{"*.yaml", "testdata/*.yaml"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range names {
			found[strings.TrimSuffix(filepath.Base(name), ".yaml")] = read(t, name)
		}
	}
	return found
}

// each runs a test with each of the files.
func each(t *testing.T, test func(t *testing.T, c *chart.Chart, v values)) {
	t.Helper()
	c, all := load(t), files(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { test(t, c, all[name]) })
	}
}

// TestLint: helm lint --strict has nothing to say.
func TestLint(t *testing.T) {
	version, err := chartutil.ParseKubeVersion("v1.34.0")
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, _ *chart.Chart, v values) {
		for _, message := range lint.AllWithKubeVersion(directory, v, "plant", version).Messages {
			if message.Severity >= support.WarningSev {
				t.Error(message)
			}
		}
	})
}

// TestEveryValue: each value of values.yaml is tried by a file, where something else comes of it than of the default.
func TestEveryValue(t *testing.T) {
	c := load(t)
	tried := map[string]bool{}
	for name, v := range files(t) {
		with := text(t, c, v)
		for _, value := range documented(t) {
			without := copied(v)
			if !remove(without, strings.Split(value.path, ".")) {
				continue
			}
			if all, err := render(c, without); err != nil || joined(all) != with { // some are needed by others
				tried[value.path] = true
			} else {
				t.Errorf("%s: nothing comes of %s", name, value.path)
			}
		}
	}
	for _, value := range documented(t) {
		if !tried[value.path] {
			t.Errorf("no file tries %s", value.path)
		}
	}
}

func text(t *testing.T, c *chart.Chart, v values) string {
	t.Helper()
	all, err := render(c, v)
	if err != nil {
		t.Fatal(err)
	}
	return joined(all)
}

// joined leaves out the password that is another each time.
func joined(all map[string]string) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "# %s\n%s\n", name, all[name])
	}
	return regexp.MustCompile(`(?m)^  password: [A-Za-z0-9+/]{40,}=*$`).ReplaceAllString(text.String(), "")
}

// remove takes a value away, and reports whether it was there.
func remove(v values, path []string) bool {
	if len(path) == 1 {
		_, ok := v[path[0]]
		delete(v, path[0])
		return ok
	}
	below, ok := v[path[0]].(values)
	return ok && remove(below, path[1:])
}

// value is one of values.yaml.
type value struct{ path, about, normally string }

// documented are all values, by their comments: what has none is a group of others.
func documented(t *testing.T) (found []value) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(directory, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(prefix string, group *yaml.Node)
	walk = func(prefix string, group *yaml.Node) {
		for pair := range slices.Chunk(group.Content, 2) {
			key, node := pair[0], pair[1]
			path := prefix + key.Value
			about := strings.TrimPrefix(key.HeadComment, "# ")
			switch {
			case about == "" && node.Kind == yaml.MappingNode && len(node.Content) > 0:
				walk(path+".", node)
			case about == "" || strings.Contains(about, "\n"):
				t.Errorf("%s wants a comment of one line", path)
			default:
				found = append(found, value{path, about, normally(t, node)})
			}
		}
	}
	walk("", doc.Content[0])
	return found
}

// normally is a default, in one line.
func normally(t *testing.T, node *yaml.Node) string {
	t.Helper()
	if node.Kind == yaml.ScalarNode {
		if node.Value == "" {
			return `""`
		}
		return node.Value
	}
	var flow func(n *yaml.Node)
	flow = func(n *yaml.Node) {
		n.Style |= yaml.FlowStyle
		for _, below := range n.Content {
			if below.Kind != yaml.ScalarNode {
				flow(below)
			}
		}
	}
	flow(node)
	line, err := yaml.Marshal(node)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(line)), " ")
}

var update = flag.Bool("update", false, "write the table of README.md")

// TestReadme: its table is that of values.yaml.
func TestReadme(t *testing.T) {
	var table strings.Builder
	table.WriteString("| value | default | |\n|---|---|---|\n")
	for _, v := range documented(t) {
		fmt.Fprintf(&table, "| `%s` | `%s` | %s |\n", v.path, v.normally, strings.ReplaceAll(v.about, "|", `\|`))
	}
	const file, begin, end = directory + "/README.md", "<!-- values -->\n", "<!-- end of values -->\n"
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(content), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", file)
	}
	want := "\n" + table.String() + "\n"
	if old == want {
		return
	}
	if !*update {
		t.Fatalf("%s has another table than values.yaml: go test -run TestReadme -update", file)
	}
	if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil { //nolint:gosec // all may read it
		t.Fatal(err)
	}
}

// TestNotes: what is shown after an installation says how to go on.
func TestNotes(t *testing.T) {
	c := load(t)
	for name, test := range map[string]struct {
		values values
		want   []string
	}{
		"default": {nil, []string{"port-forward svc/iotcast-gateway 8080:80", "four simulated devices", "get secret iotcast-api", "gateway.tokens"}},
		"ingress": {
			set("gateways.ingress", values{"enabled": true, "host": "live.example.com", "tlsSecret": "live"}),
			[]string{"https://live.example.com/", "trusted_proxies"},
		},
		"cluster": {
			merge(set("cluster.enabled", true), set("mqtt.urls", []string{"tcp://mosquitto:1883"})),
			[]string{"a cluster of gateways and triggers"},
		},
	} {
		all, err := render(c, test.values)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range test.want {
			if notes := all["iotcast/templates/NOTES.txt"]; !strings.Contains(notes, want) {
				t.Errorf("%s: no %q in:\n%s", name, want, notes)
			}
		}
	}
}

// TestRefused: what is wrong is named, and what is in the way.
func TestRefused(t *testing.T) {
	c := load(t)
	cluster := merge(set("cluster.enabled", true), set("mqtt.urls", []string{"tcp://mosquitto:1883"}))
	stream := func(name, path string, input values) values {
		return values{"name": name, "path": path, "iot_mqtt": input}
	}
	for name, test := range map[string]struct {
		values values
		want   string // each of the texts between |
	}{
		"unknown value":                  {set("gatway", values{}), "gatway"},
		"unknown value of a group":       {set("gateways.replica", 3), "gateways|replica"},
		"text for a number":              {set("gateways.replicas", "three"), "gateways|replicas|integer"},
		"none of them":                   {set("gateways.replicas", 0), "gateways|replicas|minimum"},
		"text for a switch":              {set("cluster.enabled", "yes"), "cluster|enabled|boolean"},
		"long prefix":                    {set("gateways.nodePrefix", "gateway-a"), "nodePrefix|gateway-a"},
		"one URL as text":                {set("mqtt.urls", "tcp://mosquitto:1883"), "mqtt|urls|array"},
		"URL of another protocol":        {set("mqtt.urls", []string{"http://mosquitto"}), "mqtt|urls|http://mosquitto"},
		"password in a URL":              {set("mqtt.urls", []string{"tcp://me:secret@mosquitto"}), "mqtt|urls"},
		"NATS URL without protocol":      {set("nats.urls", []string{"nats:4222"}), "nats|urls|nats:4222"},
		"two NATS servers":               {set("nats.replicas", 2), "nats|replicas|1, 3, 5"},
		"disk without unit":              {set("nats.storage", "20"), "storage|20"},
		"duration without unit":          {set("triggers.lease", "10"), "lease|10"},
		"number for a duration":          {set("nats.maxAge", 300), "maxAge|string"},
		"pull policy":                    {set("image.pullPolicy", "Sometimes"), "pullPolicy|IfNotPresent"},
		"tag in the repository":          {set("image.repository", "example.com/iotcast:1"), "repository"},
		"digest that is none":            {set("image.digest", "sha256:12"), "digest|sha256:12"},
		"service type":                   {set("gateways.service.type", "Balancer"), "service|type|LoadBalancer"},
		"port":                           {set("gateways.service.port", 70000), "gateways/service/port|70,000"},
		"number for an annotation":       {set("gateways.ingress.annotations.timeout", 3600), "annotations|timeout|string"},
		"ingress without host":           {set("gateways.ingress.enabled", true), "ingress|host"},
		"host that is a URL":             {set("gateways.ingress.host", "https://example.com"), "ingress|host|https://example.com"},
		"container in the pod":           {set("gateways.pod.containers", []any{}), "gateways/pod|containers"},
		"no routes":                      {set("routes", []any{}), "routes"},
		"route without path":             {set("routes", []any{values{"sse": true}}), "routes|path"},
		"relative path":                  {set("routes", []any{values{"path": "telemetry"}}), "routes|path|telemetry"},
		"route twice":                    {set("routes", []any{values{"path": "/telemetry"}, values{"path": "/telemetry"}}), "routes: path /telemetry stands there twice"},
		"stream to nowhere":              {set("streams", []any{stream("alarms", "/alarms", values{})}), "streams: alarms goes to path /alarms, which is none of routes (/telemetry)"},
		"stream twice":                   {set("streams", []any{stream("a", "/telemetry", values{}), stream("a", "/telemetry", values{})}), "streams: the name a is taken"},
		"stream called as the root":      {set("streams", []any{stream("root", "/telemetry", values{})}), "streams: the name root is taken"},
		"stream with a broker":           {set("streams", []any{stream("a", "/telemetry", values{"urls": []string{"tcp://a:1"}})}), "streams: iot_mqtt.urls of a is set by the chart"},
		"field of the gateway":           {set("gateway.address", "0.0.0.0:80"), "gateway.address: the chart sets it"},
		"field of the root":              {set("config.http.address", "0.0.0.0:80"), "config.http: the chart sets it"},
		"volume of the chart":            {set("triggers.volumes", []any{values{"name": "config"}}), "triggers.volumes: config is a volume"},
		"cluster without broker":         {set("cluster.enabled", true), "mqtt.urls: a cluster needs your MQTT broker"},
		"cluster without NATS":           {merge(cluster, set("nats.enabled", false)), "nats.urls: name your servers"},
		"two kinds of NATS":              {merge(cluster, set("nats.urls", []string{"nats://nats:4222"})), "nats.urls: the chart runs servers of its own"},
		"login to the chart's own NATS":  {merge(cluster, set("nats.existingSecret", "nats")), "nats.existingSecret: the chart's own"},
		"TLS to the chart's own NATS":    {merge(cluster, set("nats.caSecret", "nats")), "nats.caSecret: the chart's own"},
		"more triggers than parts":       {merge(cluster, set("triggers.replicas", 9)), "triggers.parts: 9 triggers cannot share 8 parts"},
		"more scaled triggers":           {merge(cluster, set("triggers.autoscaling", values{"enabled": true, "maxReplicas": 10})), "triggers.parts: 10 triggers"},
		"autoscaler upside down":         {set("gateways.autoscaling.maxReplicas", 2), "gateways.autoscaling.minReplicas: 3 is more than maxReplicas, 2"},
		"trigger autoscaler upside down": {set("triggers.autoscaling.minReplicas", 5), "triggers.autoscaling.minReplicas: 5 is more"},
		"autoscaler of one pod":          {set("gateways.autoscaling.enabled", true), "gateways.autoscaling.enabled: there is one pod only"},
		"log shorter than a history":     {merge(cluster, set("routes", []any{values{"path": "/telemetry", "history": values{"max_age": "90m"}}})), "nats.maxAge: 5m is less than history.max_age of /telemetry, 90m"},
		"two logins":                     {set("mqtt", values{"urls": []string{"tcp://a:1"}, "existingSecret": "a", "user": "b"}), "mqtt.user: the Secret of mqtt.existingSecret"},
		"password without user":          {set("mqtt", values{"urls": []string{"tcp://a:1"}, "password": "b"}), "mqtt.user: mqtt.password needs a user"},
		"login to no broker":             {set("mqtt.user", "a"), "mqtt.urls: there is a login, and no broker"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := render(c, test.values)
			if err == nil {
				err = errors.New("it is rendered")
			}
			for _, want := range strings.Split(test.want, "|") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
		})
	}
}
