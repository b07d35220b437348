package tests

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"gopkg.in/yaml.v3"
)

// exported are the metrics of the binary with the labels that each has, after
// something has happened that touches all of them.
func exported(t *testing.T) map[string]map[string]bool {
	t.Helper()
	b := startMosquitto(t)
	cast := newIotcast(t)
	config := strings.Replace(root(cast.gateway, cast.http), "{ path: /telemetry }", `{ path: /telemetry, on_message: [ { mapping: 'root = throw("no")' } ] }`, 1)
	config += "mqtt_broker: { address: " + strconv.Quote(freeAddress(t)) + ", limits: { max_retained_bytes: 1, max_session_bytes: 1 } }\n"
	cast.launch("streams", "-o", writeFile(t, config))
	cast.waitLog("Launching")
	cast.waitReady()
	cast.must(http.MethodPost, "/streams/factory", trigger(b, "broker_id: factory", ""))
	cast.waitReady()
	ws := cast.page("/telemetry")
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	b.publish(1, message{topic: "hall/press", payload: []byte("1")})
	if _, _, err := ws.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = ws.Close(websocket.StatusNormalClosure, "")
	for _, name := range []string{"websocket_closed", "websocket_messages", "websocket_handler_errors", "websocket_fanout_latency_ns_count"} {
		eventually(t, name+" counts", func() bool { return cast.metric(name, "") > 0 })
	}
	all := map[string]map[string]bool{}
	series := regexp.MustCompile(`(?m)^([a-zA-Z_:]\w*)(?:\{(.*)\})? \S+$`)
	label := regexp.MustCompile(`(\w+)="(?:[^"\\]|\\.)*"`)
	for _, m := range series.FindAllStringSubmatch(cast.must(http.MethodGet, "/metrics", ""), -1) {
		if all[m[1]] == nil {
			all[m[1]] = map[string]bool{}
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			all[m[1]][l[1]] = true
		}
	}
	// What Prometheus adds by itself.
	all["up"] = map[string]bool{}
	for _, labels := range all {
		labels["instance"], labels["job"] = true, true
	}
	return all
}

// selector is a metric in an expression of Prometheus, with its label matchers.
var selector = regexp.MustCompile(`([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?`)

// What stands for no metric, or in place of one.
var (
	grouping    = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	rangeOf     = regexp.MustCompile(`\[[^\]]*\]`)
	number      = regexp.MustCompile(`\b\d+(\.\d+)?(e\d+)?[smhd]?\b`)
	text        = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	matcherName = regexp.MustCompile(`(\w+)\s*(?:=|!)`)
	operators   = []string{"and", "or", "unless", "offset", "bool"}
)

// check finds metrics and labels of an expression that nobody exports.
func check(t *testing.T, where, expr string, known map[string]map[string]bool) {
	t.Helper()
	bare := rangeOf.ReplaceAllString(text.ReplaceAllString(expr, `""`), "")
	var groups []string
	for _, m := range grouping.FindAllStringSubmatch(bare, -1) {
		groups = append(groups, strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	bare = number.ReplaceAllString(grouping.ReplaceAllString(bare, " "), " ")
	labels := map[string]bool{}
	found := 0
	for _, at := range selector.FindAllStringSubmatchIndex(bare, -1) {
		name := bare[at[2]:at[3]]
		if slices.Contains(operators, name) || strings.HasPrefix(strings.TrimSpace(bare[at[3]:]), "(") {
			continue // an operator, or a function
		}
		found++
		if known[name] == nil {
			t.Errorf("%s: the binary exports no metric %s: %s", where, name, expr)
			continue
		}
		for l := range known[name] {
			labels[l] = true
		}
		if at[4] < 0 {
			continue
		}
		for _, m := range matcherName.FindAllStringSubmatch(bare[at[4]:at[5]], -1) {
			if !known[name][m[1]] {
				t.Errorf("%s: %s has no label %s: %s", where, name, m[1], expr)
			}
		}
	}
	if found == 0 {
		t.Errorf("%s: no metric in %s", where, expr)
	}
	for _, g := range groups {
		if !labels[g] {
			t.Errorf("%s: no metric has the label %s: %s", where, g, expr)
		}
	}
}

// The dashboard, the alerts and the reference speak of metrics that there are,
// and the reference of all of them.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	known := exported(t)

	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating  struct{ List []struct{ Definition string } }
		Annotations struct{ List []struct{ Expr string } }
	}
	parse(t, "../resources/grafana-dashboard.json", json.Unmarshal, &dashboard)
	expressions := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			expressions++
			check(t, p.Title, target.Expr, known)
		}
	}
	for _, a := range dashboard.Annotations.List {
		check(t, "annotation", a.Expr, known)
	}
	values := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	for _, v := range dashboard.Templating.List {
		if v.Definition != "" {
			m := values.FindStringSubmatch(v.Definition)
			check(t, "variable", "sum by ("+m[2]+") ("+m[1]+")", known)
		}
	}

	var alerts struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	parse(t, "../resources/prometheus/alerts.yml", yaml.Unmarshal, &alerts)
	for _, group := range alerts.Groups {
		for _, rule := range group.Rules {
			expressions++
			check(t, rule.Alert, rule.Expr, known)
		}
	}
	if expressions < 40 {
		t.Errorf("only %d expressions were found", expressions)
	}

	documented := map[string]bool{}
	for _, page := range []string{"websocket_gateways", "websocket_broadcast", "iot_mqtt", "mqtt_broker"} {
		content, err := os.ReadFile("../docs/reference/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		_, metrics, _ := strings.Cut(string(content), "## Metrics")
		metrics, _, _ = strings.Cut(metrics, "\n## ")
		for _, m := range regexp.MustCompile("`((?:websocket|iot_mqtt|mqtt_broker)_\\w+)`").FindAllStringSubmatch(metrics, -1) {
			documented[m[1]] = true
		}
	}
	for name := range known {
		name = strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count")
		ours := strings.HasPrefix(name, "websocket_") || strings.HasPrefix(name, "iot_mqtt_") || strings.HasPrefix(name, "mqtt_broker_")
		if ours && !documented[name] {
			t.Errorf("the reference does not list the metric %s", name)
		}
	}
	others := []string{"websocket_gateways", "websocket_broadcast", "iot_mqtt_parts"} // components, and what only leases have
	for name := range documented {
		if known[name] == nil && !slices.Contains(others, name) {
			t.Errorf("the reference lists the metric %s, and the binary exports none", name)
		}
	}
}

// TestCheck: what TestMetricNames would find.
func TestCheck(t *testing.T) {
	known := map[string]map[string]bool{"a": {"x": true}, "b": {"y": true}}
	check(t, "good", `sum by (x) (rate(a{x=~"p|q"}[5m])) > 0.5 * count(b{y!="by (z)"} offset 5m) and on (y) b > 1e9`, known)
	for _, bad := range []string{`c`, `rate(c[5m])`, `a{y="1"}`, `sum by (z) (a)`, `1 + 2`, `a or c{x="1"}`} {
		probe := new(testing.T)
		check(probe, "bad", bad, known)
		if !probe.Failed() {
			t.Errorf("nothing is wrong with %s", bad)
		}
	}
}

func parse(t *testing.T, file string, unmarshal func([]byte, any) error, into any) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := unmarshal(content, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
