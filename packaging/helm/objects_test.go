package helm

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// object makes an empty one of a kind.
var object = map[string]func() metav1.Object{
	"v1 ConfigMap":                            func() metav1.Object { return new(corev1.ConfigMap) },
	"v1 Secret":                               func() metav1.Object { return new(corev1.Secret) },
	"v1 Service":                              func() metav1.Object { return new(corev1.Service) },
	"apps/v1 Deployment":                      func() metav1.Object { return new(appsv1.Deployment) },
	"apps/v1 StatefulSet":                     func() metav1.Object { return new(appsv1.StatefulSet) },
	"policy/v1 PodDisruptionBudget":           func() metav1.Object { return new(policyv1.PodDisruptionBudget) },
	"autoscaling/v2 HorizontalPodAutoscaler":  func() metav1.Object { return new(autoscalingv2.HorizontalPodAutoscaler) },
	"networking.k8s.io/v1 Ingress":            func() metav1.Object { return new(networkingv1.Ingress) },
	"networking.k8s.io/v1 NetworkPolicy":      func() metav1.Object { return new(networkingv1.NetworkPolicy) },
	"monitoring.coreos.com/v1 ServiceMonitor": func() metav1.Object { return new(monitoringv1.ServiceMonitor) },
	"monitoring.coreos.com/v1 PrometheusRule": func() metav1.Object { return new(monitoringv1.PrometheusRule) },
}

// objects are all that the chart makes, each with no field that its type has not.
func objects(t *testing.T, c *chart.Chart, v values) (all []metav1.Object) {
	t.Helper()
	rendered, err := render(c, v)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(rendered)) {
		if filepath.Ext(file) != ".yaml" {
			continue
		}
		for _, doc := range regexp.MustCompile(`(?m)^---$`).Split(rendered[file], -1) {
			var kind *metav1.TypeMeta
			if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
				t.Fatalf("%s: %v\n%s", file, err, doc)
			}
			if kind == nil {
				continue // nothing, or comments
			}
			empty, ok := object[kind.APIVersion+" "+kind.Kind]
			if !ok {
				t.Fatalf("%s: kind %q of %q is not known here", file, kind.Kind, kind.APIVersion)
			}
			o := empty()
			if err := yaml.UnmarshalStrict([]byte(doc), o); err != nil {
				t.Errorf("%s: %s: %v", file, kind.Kind, err)
			}
			if id := kind.Kind + " " + o.GetName(); names[id] || o.GetNamespace() != "plant" {
				t.Errorf("%s: %s is there twice, or not in the namespace", file, id)
			}
			names[kind.Kind+" "+o.GetName()] = true
			all = append(all, o)
		}
	}
	return all
}

// of are those of one kind, by name.
func of[T any, P interface {
	*T
	metav1.Object
}](all []metav1.Object) map[string]P {
	found := map[string]P{}
	for _, o := range all {
		if typed, ok := o.(P); ok {
			found[typed.GetName()] = typed
		}
	}
	return found
}

// workload is a StatefulSet or a Deployment.
type workload struct {
	kind     string
	replicas *int32
	selector *metav1.LabelSelector
	template corev1.PodTemplateSpec
	service  string // headless, of a StatefulSet
}

func (w workload) container() corev1.Container { return w.template.Spec.Containers[0] }

func (w workload) labels() labels.Set { return w.template.Labels }

func (w workload) ports() (names []string) {
	for _, p := range w.container().Ports {
		names = append(names, p.Name)
	}
	return names
}

// value is that of a variable.
func (w workload) value(name string) string {
	for _, e := range w.container().Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

func workloads(all []metav1.Object) map[string]workload {
	found := map[string]workload{}
	for name, o := range of[appsv1.StatefulSet](all) {
		found[name] = workload{"StatefulSet", o.Spec.Replicas, o.Spec.Selector, o.Spec.Template, o.Spec.ServiceName}
	}
	for name, o := range of[appsv1.Deployment](all) {
		found[name] = workload{"Deployment", o.Spec.Replicas, o.Spec.Selector, o.Spec.Template, ""}
	}
	return found
}

// TestObjects: what an object names is there.
func TestObjects(t *testing.T) {
	each(t, func(t *testing.T, c *chart.Chart, v values) {
		all := objects(t, c, v)
		pods, services := workloads(all), of[corev1.Service](all)
		for name, w := range pods {
			if !selects(t, w.selector, w.labels()) {
				t.Errorf("%s %s does not select its own pods", w.kind, name)
			}
			for other := range pods {
				if other != name && selects(t, w.selector, pods[other].labels()) {
					t.Errorf("%s %s selects the pods of %s", w.kind, name, other)
				}
			}
			if s := services[w.service]; w.kind == "StatefulSet" && (s == nil || s.Spec.ClusterIP != corev1.ClusterIPNone || !labels.SelectorFromSet(s.Spec.Selector).Matches(w.labels())) {
				t.Errorf("StatefulSet %s has no headless service %s over its pods", name, w.service)
			}
			container(t, name, w)
			mounts(t, all, name, w.template.Spec)
		}
		for name, s := range services {
			// A connection must find a pod that listens, whichever the Service takes.
			var found []workload
			for _, w := range pods {
				if labels.SelectorFromSet(s.Spec.Selector).Matches(w.labels()) {
					found = append(found, w)
				}
			}
			if len(found) == 0 {
				t.Errorf("Service %s selects nothing", name)
			}
			for _, p := range s.Spec.Ports {
				for _, w := range found {
					if p.Name == "" || !slices.Contains(w.ports(), p.TargetPort.StrVal) {
						t.Errorf("Service %s: no container has port %s, or it has no name", name, p.TargetPort.StrVal)
					}
				}
			}
		}
		for name, b := range of[policyv1.PodDisruptionBudget](all) {
			if w, ok := pods[name]; !ok || !selects(t, b.Spec.Selector, w.labels()) {
				t.Errorf("PodDisruptionBudget %s is for no pods", name)
			}
		}
		for name, h := range of[autoscalingv2.HorizontalPodAutoscaler](all) {
			ref := h.Spec.ScaleTargetRef
			if w, ok := pods[ref.Name]; !ok || ref.Kind != w.kind || w.replicas != nil {
				t.Errorf("HorizontalPodAutoscaler %s scales nothing that leaves its replicas open", name)
			}
		}
		for name, i := range of[networkingv1.Ingress](all) {
			for _, rule := range i.Spec.Rules {
				for _, path := range rule.HTTP.Paths {
					to := path.Backend.Service
					if s := services[to.Name]; s == nil || !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == to.Port.Name }) {
						t.Errorf("Ingress %s leads to no port %s of %s", name, to.Port.Name, to.Name)
					}
				}
			}
		}
		for name, m := range of[monitoringv1.ServiceMonitor](all) {
			asked := 0
			for _, s := range services {
				if selects(t, &m.Spec.Selector, s.Labels) {
					asked++
					if s.Labels[m.Spec.JobLabel] != "iotcast" || !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == m.Spec.Endpoints[0].Port }) {
						t.Errorf("ServiceMonitor %s: Service %s has no such port, or another job than the alerts ask for", name, s.Name)
					}
				}
			}
			if asked != 1 {
				t.Errorf("ServiceMonitor %s asks %d Services", name, asked)
			}
		}
		for name, p := range of[networkingv1.NetworkPolicy](all) {
			policyOf(t, name, p, pods)
		}
	})
}

func selects(t *testing.T, s *metav1.LabelSelector, set labels.Set) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return !selector.Empty() && selector.Matches(set)
}

// container is complete: ports with names, probes at them, resources.
func container(t *testing.T, name string, w workload) {
	t.Helper()
	c := w.container()
	if len(w.template.Spec.Containers) != 1 || c.ReadinessProbe == nil || c.LivenessProbe == nil {
		t.Fatalf("%s: a probe is missing, or there is a second container", name)
	}
	for _, p := range c.Ports {
		if wrong := validation.IsValidPortName(p.Name); len(wrong) > 0 {
			t.Errorf("%s: port %d is called %q: %v", name, p.ContainerPort, p.Name, wrong)
		}
	}
	for _, probe := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe, c.StartupProbe} {
		if probe != nil && !slices.Contains(w.ports(), probe.HTTPGet.Port.StrVal) {
			t.Errorf("%s: a probe asks on port %s, which there is not", name, probe.HTTPGet.Port.StrVal)
		}
	}
	if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Errorf("%s: no resources", name)
	}
}

// mounts have volumes, and these and the variables ConfigMaps and Secrets: the chart's own, which begin with the name of the release,
// must be there.
func mounts(t *testing.T, all []metav1.Object, name string, pod corev1.PodSpec) {
	t.Helper()
	volumes := map[string]bool{"data": true} // of claims
	maps, secrets := of[corev1.ConfigMap](all), of[corev1.Secret](all)
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil && maps[v.ConfigMap.Name] == nil {
			t.Errorf("%s: there is no ConfigMap %s", name, v.ConfigMap.Name)
		}
	}
	for _, m := range pod.Containers[0].VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("%s: there is no volume %s", name, m.Name)
		}
	}
	for _, e := range pod.Containers[0].Env {
		if e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil {
			continue
		}
		ref := e.ValueFrom.SecretKeyRef
		if strings.HasPrefix(ref.Name, "iotcast-") && (secrets[ref.Name] == nil || len(secrets[ref.Name].Data[ref.Key]) == 0) {
			t.Errorf("%s: there is no key %s in a Secret %s", name, ref.Key, ref.Name)
		}
	}
}

// policyOf is for the pods of its name, and closes none of their ports to all.
func policyOf(t *testing.T, name string, p *networkingv1.NetworkPolicy, pods map[string]workload) {
	t.Helper()
	w, ok := pods[name]
	if !ok || !selects(t, &p.Spec.PodSelector, w.labels()) {
		t.Errorf("NetworkPolicy %s is for no pods", name)
		return
	}
	var open []string
	for _, rule := range p.Spec.Ingress {
		for _, port := range rule.Ports {
			open = append(open, port.Port.StrVal)
			if port.Port.Type != intstr.String || !slices.Contains(w.ports(), port.Port.StrVal) {
				t.Errorf("NetworkPolicy %s: no container has port %v", name, port.Port)
			}
		}
		for _, from := range rule.From {
			if !slices.ContainsFunc(slices.Collect(maps.Values(pods)), func(w workload) bool { return selects(t, from.PodSelector, w.labels()) }) {
				t.Errorf("NetworkPolicy %s: a rule is for no pods", name)
			}
		}
	}
	if slices.Sort(open); !slices.Equal(open, slices.Sorted(slices.Values(w.ports()))) {
		t.Errorf("NetworkPolicy %s has rules for %v of %v", name, open, w.ports())
	}
}

// TestRestricted: pods keep the strictest of the Pod Security Standards, and a little more.
func TestRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, c *chart.Chart, v values) {
		for name, w := range workloads(objects(t, c, v)) {
			pod := w.template.Spec
			for _, result := range evaluator.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &w.template.ObjectMeta, &pod) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
			root := w.container().SecurityContext.ReadOnlyRootFilesystem
			if token := pod.AutomountServiceAccountToken; token == nil || *token || root == nil || !*root {
				t.Errorf("%s has a token for Kubernetes, or writes to its image", name)
			}
		}
	})
}

// TestSecrets: what is in a Secret is nowhere else.
func TestSecrets(t *testing.T) {
	each(t, func(t *testing.T, c *chart.Chart, v values) {
		all := objects(t, c, v)
		for name, secret := range of[corev1.Secret](all) {
			for key, content := range secret.Data {
				if key != "password" {
					continue
				}
				for _, o := range all {
					if text, err := yaml.Marshal(o); err != nil || o.GetName() != name && bytes.Contains(text, content) {
						t.Errorf("%s of Secret %s is in %s, too (%v)", key, name, o.GetName(), err)
					}
				}
			}
		}
	})
}

// TestConfigs: iotcast has nothing to say against those that it is run with, each variable that they read and that has no default is set,
// and each that is set is read.
func TestConfigs(t *testing.T) {
	iotcast := binary(t)
	variable := regexp.MustCompile(`\$\{([A-Z_]+)(:)?`)
	each(t, func(t *testing.T, c *chart.Chart, v values) {
		all := objects(t, c, v)
		for name, w := range workloads(all) {
			if strings.HasSuffix(name, "-nats") {
				continue
			}
			pod := layOut(t, all, w)
			known, needed := map[string]bool{"GOMEMLIMIT": true}, map[string]bool{}
			lint := []string{"lint", "--skip-env-var-check"}
			for _, file := range pod.configs(t) {
				lint = append(lint, file)
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range variable.FindAllStringSubmatch(string(content), -1) {
					known[m[1]] = true
					if m[2] == "" {
						needed[m[1]] = true
					}
				}
			}
			if out, err := exec.CommandContext(t.Context(), iotcast, lint...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
			used := ""
			for _, e := range w.container().Env {
				used += e.Value
			}
			for _, e := range w.container().Env {
				delete(needed, e.Name)
				if !known[e.Name] && !strings.Contains(used, "$("+e.Name+")") {
					t.Errorf("%s: no config reads %s", name, e.Name)
				}
			}
			for missing := range needed {
				t.Errorf("%s: %s is not set", name, missing)
			}
		}
	})
}

// TestTexts: what a value says arrives as it is, whatever characters it has.
func TestTexts(t *testing.T) {
	mapping := "# a: \"b\" 'c' <d> & ${! e }\nroot = \"\\u003c\\n\" # 🌡"
	v := set("streams", []any{values{
		"name": "telemetry", "path": "/telemetry",
		"iot_mqtt":   values{"registry_id": "true", "max_unacked": 1234567},
		"processors": []any{values{"mapping": mapping}},
	}})
	data := of[corev1.ConfigMap](objects(t, load(t), v))["iotcast-gateway"].Data["telemetry.yaml"]
	var config struct {
		Input struct {
			MQTT map[string]any `json:"iot_mqtt"`
		} `json:"input"`
		Pipeline struct {
			Processors []map[string]any `json:"processors"`
		} `json:"pipeline"`
	}
	if err := yaml.Unmarshal([]byte(data), &config); err != nil {
		t.Fatal(err)
	}
	if got := config.Pipeline.Processors[0]["mapping"]; got != mapping {
		t.Errorf("the mapping is %q, want %q", got, mapping)
	}
	if in := config.Input.MQTT; in["registry_id"] != "true" || in["max_unacked"] != 1234567.0 || in["clean_session"] != false {
		t.Errorf("the input is %v", in)
	}
}

// TestTimeToEnd: pods have longer than all that happens between SIGTERM and the last goodbye.
func TestTimeToEnd(t *testing.T) {
	each(t, func(t *testing.T, c *chart.Chart, v values) {
		all := objects(t, c, v)
		for name, w := range workloads(all) {
			if strings.HasSuffix(name, "-nats") {
				continue
			}
			var root struct {
				ShutdownTimeout string `json:"shutdown_timeout"`
				Gateways        []struct {
					DrainPeriod string `json:"drain_period"`
				} `json:"websocket_gateways"`
			}
			if err := yaml.Unmarshal([]byte(of[corev1.ConfigMap](all)[name].Data["root.yaml"]), &root); err != nil {
				t.Fatal(err)
			}
			need := duration(t, root.ShutdownTimeout, 20*time.Second) // Benthos' own default
			for _, g := range root.Gateways {
				need += duration(t, g.DrainPeriod, 0) + 6*time.Second
			}
			if hook := w.container().Lifecycle; hook != nil {
				need += time.Duration(hook.PreStop.Sleep.Seconds) * time.Second
			}
			if grace := time.Duration(*w.template.Spec.TerminationGracePeriodSeconds) * time.Second; grace <= need {
				t.Errorf("%s: terminationGracePeriodSeconds is %v, and more than %v is needed", name, grace, need)
			}
		}
	})
}

func duration(t *testing.T, s string, otherwise time.Duration) time.Duration {
	t.Helper()
	if s == "" {
		return otherwise
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestScale: each trigger that there can be has two or three parts, and gateways know of all that there can be, by their own names.
func TestScale(t *testing.T) {
	each(t, func(t *testing.T, c *chart.Chart, v values) {
		all := objects(t, c, v)
		triggers, ok := workloads(all)["iotcast-trigger"]
		if !ok {
			return // no cluster
		}
		var stream struct {
			Input struct {
				MQTT struct {
					Leases struct {
						Parts int `json:"parts"`
					} `json:"leases"`
				} `json:"iot_mqtt"`
			} `json:"input"`
		}
		if err := yaml.Unmarshal([]byte(of[corev1.ConfigMap](all)["iotcast-trigger"].Data["telemetry.yaml"]), &stream); err != nil {
			t.Fatal(err)
		}
		parts, most := stream.Input.MQTT.Leases.Parts, count(all, "iotcast-trigger", triggers)
		if parts < 2*most || parts > 3*most {
			t.Errorf("there are %d parts for up to %d triggers", parts, most)
		}
		gateways := workloads(all)["iotcast-gateway"]
		var nodes []string
		for i := range count(all, "iotcast-gateway", gateways) {
			nodes = append(nodes, strings.ReplaceAll(gateways.value("NODE_ID"), "$(POD_INDEX)", strconv.Itoa(i)))
		}
		var root struct {
			ConnectionAPI struct {
				Nodes []string `json:"nodes"`
			} `json:"connection_api"`
		}
		if err := yaml.Unmarshal([]byte(of[corev1.ConfigMap](all)["iotcast-gateway"].Data["root.yaml"]), &root); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(root.ConnectionAPI.Nodes, nodes) {
			t.Errorf("gateways know of %v, want %v", root.ConnectionAPI.Nodes, nodes)
		}
	})
}

// count is how many pods a workload can have.
func count(all []metav1.Object, name string, w workload) int {
	if h := of[autoscalingv2.HorizontalPodAutoscaler](all)[name]; h != nil {
		return int(h.Spec.MaxReplicas)
	}
	return int(*w.replicas)
}

// TestFiles: alerts and dashboard are whole.
func TestFiles(t *testing.T) {
	all := objects(t, load(t), read(t, "testdata/single.yaml"))
	alerts, err := os.ReadFile("../../resources/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var want monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict(alerts, &want); err != nil {
		t.Fatal(err)
	}
	if got := of[monitoringv1.PrometheusRule](all)["iotcast"].Spec; !reflect.DeepEqual(got, want) {
		t.Errorf("the alerts are %+v", got)
	}
	dashboard, err := os.ReadFile("../../resources/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := of[corev1.ConfigMap](all)["iotcast-dashboard"].Data["iotcast.json"]; strings.TrimSpace(got) != strings.TrimSpace(string(dashboard)) {
		t.Error("the dashboard is another one")
	}
}

// TestNATSConfig: that of the cluster is the one that is tested, but for its comments.
func TestNATSConfig(t *testing.T) {
	tested, err := os.ReadFile("../../config/cluster/nats-server.conf")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimLeft(regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(string(tested), ""), "\n")
	got := of[corev1.ConfigMap](objects(t, load(t), read(t, "cluster.yaml")))["iotcast-nats"].Data["nats-server.conf"]
	if got != want {
		t.Errorf("the NATS servers have another config than config/cluster/nats-server.conf:\n%s", got)
	}
}

var errNoBinary = errors.New("IOTCAST must name the binary: go build -o .cache/iotcast ./cmd/iotcast, and IOTCAST=$PWD/.cache/iotcast")

// binary is iotcast.
func binary(t *testing.T) string {
	t.Helper()
	name := os.Getenv("IOTCAST")
	if name == "" {
		t.Fatal(errNoBinary)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(fmt.Errorf("%w: %w", errNoBinary, err))
	}
	return path
}
