// Package kubernetes checks the manifests in resources/kubernetes: each against the
// types of the Kubernetes API, with no field that these do not have, and that what
// they name is there.
package kubernetes

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// object makes an empty one of a kind.
var object = map[string]func() any{
	"v1 ConfigMap":                           func() any { return new(corev1.ConfigMap) },
	"v1 Service":                             func() any { return new(corev1.Service) },
	"apps/v1 Deployment":                     func() any { return new(appsv1.Deployment) },
	"apps/v1 StatefulSet":                    func() any { return new(appsv1.StatefulSet) },
	"batch/v1 Job":                           func() any { return new(batchv1.Job) },
	"policy/v1 PodDisruptionBudget":          func() any { return new(policyv1.PodDisruptionBudget) },
	"autoscaling/v2 HorizontalPodAutoscaler": func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
}

// load reads all manifests.
func load(t *testing.T) (all []any) {
	t.Helper()
	files, err := filepath.Glob("../../resources/kubernetes/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal("no manifests", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range bytes.Split(content, []byte("\n---\n")) {
			var kind metav1.TypeMeta
			doc = append(bytes.Clone(doc), '\n') // of which Split has robbed it
			if err := yaml.Unmarshal(doc, &kind); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			empty, ok := object[kind.APIVersion+" "+kind.Kind]
			if !ok {
				t.Fatalf("%s: kind %q of %q is not known here", file, kind.Kind, kind.APIVersion)
			}
			o := empty()
			if err := yaml.UnmarshalStrict(doc, o); err != nil {
				t.Errorf("%s: %s: %v", file, kind.Kind, err)
			}
			all = append(all, o)
		}
	}
	return all
}

// of are those of one kind, by name.
func of[T any](all []any, name func(*T) string) map[string]*T {
	found := map[string]*T{}
	for _, o := range all {
		if typed, ok := o.(*T); ok {
			found[name(typed)] = typed
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

func workloads(all []any) map[string]workload {
	found := map[string]workload{}
	for _, o := range all {
		switch o := o.(type) {
		case *appsv1.StatefulSet:
			found[o.Name] = workload{"StatefulSet", o.Spec.Replicas, o.Spec.Selector, o.Spec.Template, o.Spec.ServiceName}
		case *appsv1.Deployment:
			found[o.Name] = workload{"Deployment", o.Spec.Replicas, o.Spec.Selector, o.Spec.Template, ""}
		}
	}
	return found
}

// scalers are the autoscalers, by name.
func scalers(all []any) map[string]*autoscalingv2.HorizontalPodAutoscaler {
	return of(all, func(h *autoscalingv2.HorizontalPodAutoscaler) string { return h.Name })
}

func services(all []any) map[string]*corev1.Service {
	return of(all, func(s *corev1.Service) string { return s.Name })
}

// TestNames: what a manifest names is there.
func TestNames(t *testing.T) {
	all := load(t)
	for name, w := range workloads(all) {
		pod := labels.Set(w.template.Labels)
		if selector, err := metav1.LabelSelectorAsSelector(w.selector); err != nil || !selector.Matches(pod) {
			t.Errorf("%s %s does not select its own pods", w.kind, name)
		}
		if s := services(all)[w.service]; w.kind == "StatefulSet" &&
			(s == nil || s.Spec.ClusterIP != corev1.ClusterIPNone || !labels.SelectorFromSet(s.Spec.Selector).Matches(pod)) {
			t.Errorf("StatefulSet %s has no headless service %s over its pods", name, w.service)
		}
		for _, c := range w.template.Spec.Containers {
			if c.ReadinessProbe == nil || c.LivenessProbe == nil {
				t.Errorf("%s: a probe is missing", name)
			}
			ports := map[string]bool{}
			for _, p := range c.Ports {
				ports[p.Name] = true
			}
			for _, probe := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe, c.StartupProbe} {
				if probe != nil && !ports[probe.HTTPGet.Port.StrVal] {
					t.Errorf("%s: a probe asks on port %s, which there is not", name, probe.HTTPGet.Port.StrVal)
				}
			}
			if c.Resources.Requests == nil || c.Resources.Limits.Memory().IsZero() {
				t.Errorf("%s: no resources", name)
			}
		}
	}
	for name, s := range services(all) {
		found := false
		for _, w := range workloads(all) {
			if !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(w.template.Labels)) {
				continue
			}
			found = true
			for _, p := range s.Spec.Ports {
				if !hasPort(w, p.TargetPort.StrVal) {
					t.Errorf("Service %s: no container has port %s", name, p.TargetPort.StrVal)
				}
			}
		}
		if !found {
			t.Errorf("Service %s selects nothing", name)
		}
	}
	for name, b := range of(all, func(b *policyv1.PodDisruptionBudget) string { return b.Name }) {
		if w, ok := workloads(all)[name]; !ok || b.Spec.Selector.MatchLabels["app.kubernetes.io/name"] != w.selector.MatchLabels["app.kubernetes.io/name"] {
			t.Errorf("PodDisruptionBudget %s is for no pods", name)
		}
	}
	for name, h := range scalers(all) {
		ref := h.Spec.ScaleTargetRef
		if w, ok := workloads(all)[ref.Name]; !ok || ref.Kind != w.kind || w.replicas != nil {
			t.Errorf("HorizontalPodAutoscaler %s scales nothing that leaves its replicas open", name)
		}
	}
}

func hasPort(w workload, name string) bool {
	for _, c := range w.template.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == name {
				return true
			}
		}
	}
	return false
}

// TestArguments: the configs that iotcast is run with are part of its image, and
// each variable that is set is one of theirs, and the other way round each that has
// no default is set.
func TestArguments(t *testing.T) {
	variable := regexp.MustCompile(`\$\{([A-Z_]+)(:)?`)
	for name, pod := range pods(load(t)) {
		for _, c := range pod.Containers {
			if !strings.HasPrefix(c.Image, "iotcast:") {
				continue
			}
			known, needed := map[string]bool{"GOMEMLIMIT": true}, map[string]bool{}
			for _, arg := range c.Args {
				for _, file := range configs(t, arg) {
					content, err := os.ReadFile(file)
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					for _, m := range variable.FindAllStringSubmatch(string(content), -1) {
						known[m[1]] = true
						if m[2] == "" {
							needed[m[1]] = true
						}
					}
				}
			}
			used := ""
			for _, e := range c.Env {
				used += e.Value
			}
			for _, e := range c.Env {
				delete(needed, e.Name)
				if !known[e.Name] && !strings.Contains(used, "$("+e.Name+")") {
					t.Errorf("%s: no config reads %s", name, e.Name)
				}
			}
			for missing := range needed {
				t.Errorf("%s: %s is not set", name, missing)
			}
		}
	}
}

func pods(all []any) map[string]corev1.PodSpec {
	found := map[string]corev1.PodSpec{}
	for name, w := range workloads(all) {
		found[name] = w.template.Spec
	}
	for name, j := range of(all, func(j *batchv1.Job) string { return j.Name }) {
		found[name] = j.Spec.Template.Spec
	}
	return found
}

// configs are the files that an argument means, in the image and here.
func configs(t *testing.T, arg string) []string {
	t.Helper()
	if !strings.HasPrefix(arg, "/") {
		return nil
	}
	path := filepath.Join("../..", arg)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "*.yaml")
	}
	files, err := filepath.Glob(path)
	if err != nil || len(files) == 0 {
		t.Errorf("there is no %s", arg)
	}
	return files
}

// TestGatewaysHaveTimeToDrain: longer than all that happens between SIGTERM and the
// last goodbye.
func TestGatewaysHaveTimeToDrain(t *testing.T) {
	pod := pods(load(t))["iotcast-gateway"]
	root, err := os.ReadFile("../../config/cluster/gateway/root.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		ShutdownTimeout string `json:"shutdown_timeout"`
	}
	if err := yaml.Unmarshal(root, &config); err != nil {
		t.Fatal(err)
	}
	stop := time.Duration(pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
	need := stop + duration(t, config.ShutdownTimeout) + 6*time.Second
	need += duration(t, value(pod, "DRAIN_PERIOD"))
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace < need {
		t.Errorf("terminationGracePeriodSeconds is %v, and %v are needed", grace, need)
	}
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// value is that of a variable.
func value(pod corev1.PodSpec, name string) string {
	for _, e := range pod.Containers[0].Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// TestScale: each trigger that the autoscaler can start has two or three parts, and
// gateways know of all that it can start, by their own names.
func TestScale(t *testing.T) {
	all := load(t)
	parts, err := strconv.Atoi(value(pods(all)["iotcast-trigger"], "PARTS"))
	if most := int(scalers(all)["iotcast-trigger"].Spec.MaxReplicas); err != nil || parts < 2*most || parts > 3*most {
		t.Errorf("there are %d parts for up to %d triggers (%v)", parts, most, err)
	}
	gateway := pods(all)["iotcast-gateway"]
	var nodes []string
	for i := range scalers(all)["iotcast-gateway"].Spec.MaxReplicas {
		nodes = append(nodes, strings.ReplaceAll(value(gateway, "NODE_ID"), "$(POD_INDEX)", strconv.Itoa(int(i))))
	}
	if got := value(gateway, "NODES"); got != strings.Join(nodes, ",") {
		t.Errorf("NODES is %s, want %s", got, strings.Join(nodes, ","))
	}
}

// TestNATSConfig: that of the cluster is the one that is tested.
func TestNATSConfig(t *testing.T) {
	tested, err := os.ReadFile("../../config/cluster/nats-server.conf")
	if err != nil {
		t.Fatal(err)
	}
	maps := of(load(t), func(m *corev1.ConfigMap) string { return m.Name })
	if maps["nats"].Data["nats-server.conf"] != string(tested) {
		t.Error("the ConfigMap nats differs from config/cluster/nats-server.conf")
	}
}
