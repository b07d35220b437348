package helm

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pod is what a node of Kubernetes makes of a workload, on this machine.
type pod struct {
	args []string // with the files that they name here
	env  map[string]string
}

// layOut makes the first pod of a workload.
func layOut(t *testing.T, all []metav1.Object, w workload) pod {
	t.Helper()
	return layOutAt(t, all, w, 0)
}

// layOutAt makes the pod of an index.
func layOutAt(t *testing.T, all []metav1.Object, w workload, index int) pod {
	t.Helper()
	here := map[string]string{"/resources/": "../../resources/", "/config/": "../../config/"} // as the Dockerfile has them in the image
	for _, mount := range w.container().VolumeMounts {
		for _, volume := range w.template.Spec.Volumes {
			if volume.Name == mount.Name && volume.ConfigMap != nil {
				here[mount.MountPath+"/"] = write(t, of[corev1.ConfigMap](all)[volume.ConfigMap.Name].Data) + "/"
			}
		}
	}
	p := pod{env: map[string]string{}}
	for _, arg := range w.container().Args {
		for path, local := range here {
			if rest, ok := strings.CutPrefix(arg, path); ok {
				arg = local + rest
			}
		}
		p.args = append(p.args, arg)
	}
	for _, e := range w.container().Env {
		p.env[e.Name] = variable(all, e, index)
		for name, value := range p.env {
			p.env[e.Name] = strings.ReplaceAll(p.env[e.Name], "$("+name+")", value)
		}
	}
	return p
}

// write writes the files of a ConfigMap as a node does: all are links, so that they can be exchanged at once.
func write(t *testing.T, data map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "..2026"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..2026", filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	for name, content := range data {
		if err := os.WriteFile(filepath.Join(dir, "..2026", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func variable(all []metav1.Object, e corev1.EnvVar, index int) string {
	switch from := e.ValueFrom; {
	case from == nil:
		return e.Value
	case from.SecretKeyRef != nil:
		if s := of[corev1.Secret](all)[from.SecretKeyRef.Name]; s != nil {
			return string(s.Data[from.SecretKeyRef.Key])
		}
		return "somebodys-own"
	case from.FieldRef.FieldPath == "metadata.name":
		return "pod-" + strconv.Itoa(index)
	default:
		return strconv.Itoa(index)
	}
}

// configs are the files that its arguments name.
func (p pod) configs(t *testing.T) (files []string) {
	t.Helper()
	for _, arg := range p.args {
		if !strings.Contains(arg, "/") {
			continue
		}
		found, err := filepath.Glob(arg)
		if err != nil || len(found) == 0 {
			t.Errorf("there is no %s (%v)", arg, err)
		}
		files = append(files, found...)
	}
	return files
}
