package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repository makes one, and returns what writes a file of it, and what runs git.
func repository(t *testing.T) (dir string, write func(path, text string), do func(args ...string)) {
	t.Helper()
	dir = t.TempDir()
	write = func(path, text string) {
		t.Helper()
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	do = func(args ...string) {
		t.Helper()
		if _, err := git(dir, append([]string{"-c", "user.name=x", "-c", "user.email=x@example.com"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	do("init", "--quiet")
	write("go.mod", "module example.com/m\n\ngo 1.26\n")
	write("plugins/plugins.go", "package plugins\n\nfunc Run(name string) {}\n")
	write("plugins/gone/gone.go", "package gone\n")
	write("plugins/internal/own/own.go", "package own\n\nfunc Own() {}\n")
	write("other/other.go", "package other\n\nfunc Other() {}\n")
	write("CHANGELOG.md", "# Changelog\n\n## [0.1.0] - 2026-01-01\n")
	do("add", ".")
	do("commit", "--quiet", "-m", "first")
	return dir, write, do
}

func said(t *testing.T, dir string) (out string, err error) {
	t.Helper()
	var b bytes.Buffer
	err = check(dir, &b)
	return b.String(), err
}

// TestCheck: what breaks programs fails, unless the version says so.
func TestCheck(t *testing.T) {
	dir, write, do := repository(t)
	if out, err := said(t, dir); err != nil || !strings.Contains(out, "no tag") {
		t.Errorf("without a tag: %s %v", out, err)
	}
	do("tag", "v0.1.0")
	do("tag", "v0.2.0-rc.1") // is no version that programs rely on
	do("tag", "very-old")
	if out, err := said(t, dir); err != nil || !strings.Contains(out, "0 incompatible changes since v0.1.0") {
		t.Errorf("without a change: %s %v", out, err)
	}

	// Nobody outside may use these.
	write("plugins/internal/own/own.go", "package own\n")
	write("other/other.go", "package other\n")
	write("plugins/plugins.go", "package plugins\n\nfunc Run(name string) {}\n\nfunc More() {}\n")
	if out, err := said(t, dir); err != nil || !strings.Contains(out, "0 incompatible") {
		t.Errorf("with compatible changes: %s %v", out, err)
	}

	write("plugins/plugins.go", "package plugins\n\nfunc Run(name string, age int) {}\n")
	if err := os.RemoveAll(filepath.Join(dir, "plugins/gone")); err != nil {
		t.Fatal(err)
	}
	const unreleased = "# Changelog\n\n## [Unreleased]\n\nWhat will be "
	for changelog, want := range map[string]string{
		"# Changelog\n\n## [0.1.0] - 2026-01-01\n":                           "begins with 0.1.0",
		"# Changelog\n\n## [0.1.1]\n\n## [0.9.0]\n":                          "with 0.2.0",
		unreleased + "0.1.7.\n":                                              "begins with 0.1.7",
		"# Changelog\n\n## [Unreleased]\n\n- More.\n\nWhat will be 0.2.0.\n": "What will be",
		"# Changelog\n": "no heading",
		"# Changelog\n\n## [0.2.0] - 2026-02-02\n\n## [0.1.0] - 2026-01-01\n": "",
		unreleased + "0.2.0.\n\n## [0.1.0]\n":                                 "",
		unreleased + "1.0.0.\n":                                               "",
	} {
		write("CHANGELOG.md", changelog)
		out, err := said(t, dir)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", changelog, err, want)
		}
		if err == nil && (!strings.Contains(out, "2 incompatible changes") || !strings.Contains(out, "Run: changed from func(string)") || !strings.Contains(out, "gone: package removed")) {
			t.Errorf("%q: %s", changelog, out)
		}
	}

	// From 1.0.0 on it takes a major version.
	do("commit", "--quiet", "--all", "-m", "second")
	do("tag", "v1.9.0")
	do("tag", "v1.10.0")
	write("plugins/plugins.go", "package plugins\n")
	write("CHANGELOG.md", unreleased+"1.11.0.\n")
	if _, err := said(t, dir); err == nil || !strings.Contains(err.Error(), "since v1.10.0") || !strings.Contains(err.Error(), "with 2.0.0") {
		t.Errorf("a minor version: %v", err)
	}
	write("CHANGELOG.md", unreleased+"2.0.0.\n")
	if _, err := said(t, dir); err != nil {
		t.Error(err)
	}

	// What does not compile cannot be compared.
	write("plugins/plugins.go", "package plugins\n\nfunc Run() { unknown() }\n")
	if _, err := said(t, dir); err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("code that does not compile: %v", err)
	}
}
