// Command api fails if a public package has changed in a way that breaks programs, and the version has not.
//
//	go -C docs/api run .          compares with the last tag v*
//
// Public are plugins and the packages below it, but for those that are internal. They are compared with those of the newest
// version that is tagged and reachable. An incompatible change is allowed if the version that CHANGELOG.md begins with has
// another major number than the tag, or, as long as that is 0, another minor number (Semantic Versioning, section 4). The
// changelog begins with a heading "## [1.2.3]", or with "## [Unreleased]" and the sentence "What will be 1.2.3.".
//
// It is a module of its own, so that the others do not need what it needs.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/exp/apidiff"
	"golang.org/x/tools/go/packages"
)

func main() {
	repository := flag.String("repository", "../..", "the `directory` of the repository")
	flag.Parse()
	if err := check(*repository, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}

// check compares a repository with its last tag.
func check(repository string, out io.Writer) error {
	tag, before, err := lastTag(repository)
	if err != nil {
		return err
	}
	if tag == "" {
		_, err := fmt.Fprintln(out, "There is no tag v* yet: nothing to compare with.")
		return err
	}
	changes, err := changesSince(repository, tag)
	if err != nil {
		return err
	}
	next, err := nextVersion(repository)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d incompatible changes since %s\n", len(changes), tag)
	for _, c := range changes {
		fmt.Fprintln(out, "-", c)
	}
	if len(changes) > 0 && !before.mayBreak(next) {
		return fmt.Errorf("the Go API has changed incompatibly since %s, and CHANGELOG.md begins with %s: keep what programs use (deprecate it first), or begin the changelog with %s and say there what programs must change", tag, next, before.breaking())
	}
	return nil
}

// version is major, minor and patch.
type version [3]int

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// mayBreak reports whether next, which follows v, may break programs.
func (v version) mayBreak(next version) bool {
	return next[0] > v[0] || v[0] == 0 && next[0] == 0 && next[1] > v[1]
}

// breaking is the least version that may.
func (v version) breaking() version {
	if v[0] == 0 {
		return version{0, v[1] + 1, 0}
	}
	return version{v[0] + 1, 0, 0}
}

func parseVersion(text []string) (v version) {
	for i := range v {
		v[i], _ = strconv.Atoi(text[i]) // digits
	}
	return v
}

var tagged = regexp.MustCompile(`(?m)^v(\d+)\.(\d+)\.(\d+)$`) // and no pre-release

// lastTag is the newest version that was tagged before what is checked out; "": there is none.
func lastTag(repository string) (tag string, v version, err error) {
	tags, err := git(repository, "tag", "--list", "v*", "--merged", "HEAD")
	if err != nil {
		return "", v, err
	}
	for _, match := range tagged.FindAllStringSubmatch(string(tags), -1) {
		if at := parseVersion(match[1:]); tag == "" || slices.Compare(at[:], v[:]) > 0 {
			tag, v = match[0], at
		}
	}
	return tag, v, nil
}

var heading = regexp.MustCompile(`(?m)^## \[(?:(\d+)\.(\d+)\.(\d+)\]|Unreleased\]\s+What will be (\d+)\.(\d+)\.(\d+)\.|[^\n]*)`)

// nextVersion is that of the changelog's first heading.
func nextVersion(repository string) (version, error) {
	text, err := os.ReadFile(filepath.Join(repository, "CHANGELOG.md"))
	if err != nil {
		return version{}, err
	}
	found := heading.FindStringSubmatch(string(text))
	switch {
	case found == nil:
		return version{}, errors.New("CHANGELOG.md has no heading ## [1.2.3]")
	case found[1] != "":
		return parseVersion(found[1:4]), nil
	case found[4] != "":
		return parseVersion(found[4:7]), nil
	}
	return version{}, fmt.Errorf("CHANGELOG.md begins with %q: write ## [1.2.3], or ## [Unreleased] and below it \"What will be 1.2.3.\"", found[0])
}

// changesSince are the incompatible changes of public packages since a tag.
func changesSince(repository, tag string) (changes []string, err error) {
	dir, err := os.MkdirTemp("", "iotcast-api-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := extract(repository, tag, dir); err != nil {
		return nil, err
	}
	before, err := public(dir)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", tag, err)
	}
	now, err := public(repository)
	if err != nil {
		return nil, err
	}
	for _, path := range slices.Sorted(maps.Keys(before)) {
		if now[path] == nil {
			changes = append(changes, path+": package removed")
			continue
		}
		for _, c := range apidiff.Changes(before[path].Types, now[path].Types).Changes {
			if !c.Compatible {
				changes = append(changes, path+": "+c.Message)
			}
		}
	}
	return changes, nil
}

// extract writes the files of a tag to a directory.
func extract(repository, tag, dir string) error {
	archive, err := git(repository, "archive", "--format=tar", tag)
	if err != nil {
		return err
	}
	tar := exec.Command("tar", "-x", "-C", dir)
	tar.Stdin = bytes.NewReader(archive)
	return run(tar)
}

// public are the packages that programs of others may import, by path.
func public(dir string) (map[string]*packages.Package, error) {
	all, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedTypes | packages.NeedImports | packages.NeedDeps | packages.NeedExportFile, Dir: dir,
	}, "./plugins/...")
	if err != nil {
		return nil, err
	}
	found := make(map[string]*packages.Package)
	for _, p := range all {
		if len(p.Errors) > 0 {
			return nil, fmt.Errorf("%s: %w", p.PkgPath, p.Errors[0])
		}
		if !slices.Contains(strings.Split(p.PkgPath, "/"), "internal") {
			found[p.PkgPath] = p
		}
	}
	return found, nil
}

func git(repository string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	c := exec.Command("git", append([]string{"-C", repository}, args...)...)
	c.Stdout = &out
	err := run(c)
	return out.Bytes(), err
}

// run tells what a command has said of its failure.
func run(c *exec.Cmd) error {
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %s", c, cmp.Or(strings.TrimSpace(said.String()), err.Error()))
	}
	return nil
}
