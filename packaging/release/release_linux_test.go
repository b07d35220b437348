package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	rpmutils "github.com/sassoftware/go-rpmutils"
)

var root = sync.OnceValue(func() string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		panic(err)
	}
	return dir
})

// program is the binary that the variable IOTCAST names, or one that is built for the tests.
var program = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("IOTCAST"); path != "" {
		return filepath.Abs(path)
	}
	path := filepath.Join(root(), ".cache", "iotcast")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./cmd/iotcast")
	build.Dir = root()
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building iotcast: %w\n%s", err, out)
	}
	return path, nil
})

func newRelease(t *testing.T, version string) *release {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return &release{
		root: root(), out: t.TempDir(), version: version, date: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC),
		platforms: []platform{native}, built: map[platform]string{native: binary}, progress: io.Discard,
	}
}

// The same input gives the same bytes, in another place and under another umask. A small program stands for iotcast, of which
// most of the time would go into compression.
func TestReproducible(t *testing.T) {
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(t.TempDir(), "iotcast")
	if err := os.WriteFile(small, fmt.Appendf(nil, "#!/bin/sh\nexec %s \"$@\"\n", binary), 0o700); err != nil {
		t.Fatal(err)
	}
	var all []map[string][]byte
	for _, mask := range []int{0o022, 0o077} {
		r := newRelease(t, "0.2.0-dev.7.g0123456789ab")
		r.built[native] = small
		before := syscall.Umask(mask)
		err := r.make()
		syscall.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, contents(t, r.out))
	}
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[native.arch]
	names := []string{
		"SHA256SUMS", "iotcast-0.2.0~dev.7.g0123456789ab-1." + arch + ".rpm",
		"iotcast_0.2.0-dev.7.g0123456789ab_linux_" + native.arch + ".tar.gz",
		"iotcast_0.2.0~dev.7.g0123456789ab_" + native.arch + ".deb",
	}
	if got := sortedNames(all[0]); !slices.Equal(got, names) {
		t.Errorf("files %q, want %q", got, names)
	}
	for name, content := range all[0] {
		if !bytes.Equal(content, all[1][name]) {
			t.Errorf("%s differs from one run to the next", name)
		}
		line := fmt.Sprintf("%x  %s\n", sha256.Sum256(content), name)
		if name != "SHA256SUMS" && !bytes.Contains(all[0]["SHA256SUMS"], []byte(line)) {
			t.Errorf("SHA256SUMS has no line %q", line)
		}
	}
	checkArchive(t, all[0][names[2]])
	checkRPM(t, all[0][names[1]])
}

func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, e := range entries {
		if all[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func sortedNames(files map[string][]byte) (names []string) {
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func checkArchive(t *testing.T, archive []byte) {
	t.Helper()
	compressed, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	folder := "iotcast_0.2.0-dev.7.g0123456789ab_linux_" + native.arch + "/"
	modes, pages := map[string]int64{}, map[string]string{}
	for r := tar.NewReader(compressed); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
			t.Errorf("the archive tells who has made %s", h.Name)
		}
		name, ok := strings.CutPrefix(h.Name, folder)
		if !ok {
			t.Errorf("%s is outside of %s", h.Name, folder)
		}
		modes[name] = h.Mode
		if path.Ext(name) == ".md" && !strings.HasPrefix(name, "licences/") {
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			pages[name] = string(text)
		}
	}
	for name, text := range pages {
		for _, to := range link.FindAllStringSubmatch(text, -1) {
			target := path.Join(path.Dir(name), to[1])
			if modes[target] == 0 && modes[target+"/"] == 0 {
				t.Errorf("%s leads to %s, which the archive has not", name, to[1])
			}
		}
	}
	if len(pages) < 20 || !strings.Contains(pages["README.md"], "(https://github.com/iotcast/iotcast/blob/HEAD/internal/fanout)") {
		t.Errorf("%d pages, and the README does not lead to the source", len(pages))
	}
	for name, mode := range map[string]int64{
		"iotcast": 0o755, "LICENSE": 0o644, "README.md": 0o644, "CHANGELOG.md": 0o644, "config/quickstart/root.yaml": 0o644,
		"resources/grafana-dashboard.json": 0o644, "licences/sbom.cdx.json": 0o644, "completions/iotcast.zsh": 0o644, "man/iotcast.1": 0o644,
		"man/iotcast-trigger.1": 0o644, "config/": 0o755, "config/examples/kafka/main.go": 0o644,
		"docs/README.md": 0o644, "docs/flow.svg": 0o644, "docs/reference/README.md": 0o644, "docs/examples/devices.html": 0o644,
	} {
		if modes[name] != mode {
			t.Errorf("the archive has %s with mode %o, want %o", name, modes[name], mode)
		}
	}
	for _, name := range []string{"config/config.go", "docs/generate/", "docs/site/"} {
		if _, has := modes[name]; has {
			t.Errorf("the archive has %s", name)
		}
	}
}

func checkRPM(t *testing.T, content []byte) {
	t.Helper()
	rpm, err := rpmutils.ReadRpm(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	files, err := rpm.Header.GetFiles()
	if err != nil {
		t.Fatal(err)
	}
	const config, noReplace = 1 << 0, 1 << 4
	got := map[string]string{}
	for _, f := range files {
		got[f.Name()] = fmt.Sprintf("%o %s:%s %t", f.Mode()&0o7777, f.UserName(), f.GroupName(), f.Flags()&(config|noReplace) == config|noReplace)
	}
	for name, want := range map[string]string{
		"/usr/bin/iotcast": "755 root:root false", "/usr/lib/systemd/system/iotcast.service": "644 root:root false",
		"/etc/iotcast/iotcast.yaml": "644 root:root true", "/etc/iotcast/iotcast.env": "640 root:root true",
		"/etc/iotcast/streams":                   "755 root:root false",
		"/usr/share/zsh/site-functions/_iotcast": "644 root:root false", "/usr/share/man/man1/iotcast.1.gz": "644 root:root false",
	} {
		if got[name] != want {
			t.Errorf("the RPM package has %s as %q, want %q", name, got[name], want)
		}
	}
	for tag, file := range map[int]string{rpmutils.POSTIN: "post", rpmutils.PREUN: "preun", rpmutils.POSTUN: "postun"} {
		script, err := rpm.Header.GetString(tag)
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := os.ReadFile(filepath.Join(root(), "packaging", "rpm", file)); script != string(want) {
			t.Errorf("the script %s of the RPM package is another: %q", file, script)
		}
	}
}

// Windows has a zip archive with a program that it can start.
func TestZip(t *testing.T) {
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "iotcast.exe"), []byte("MZ"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := newRelease(t, "0.2.0")
	if err := r.archive(tree, platform{"windows", "amd64"}); err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(filepath.Join(r.out, "iotcast_0.2.0_windows_amd64.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	last := z.File[len(z.File)-1]
	if last.Name != "iotcast_0.2.0_windows_amd64/iotcast.exe" || !last.Modified.Equal(r.date) || last.UncompressedSize64 != 2 {
		t.Errorf("the archive has %s of %v, %d bytes", last.Name, last.Modified, last.UncompressedSize64)
	}
}
