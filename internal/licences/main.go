// Command licences fails if code that iotcast links is under a licence that is not permissive,
// and writes the texts of all licences and a list of the modules (an SBOM, by CycloneDX) into a
// directory:
//
//	go run ./internal/licences DIRECTORY [GOOS]
//
// GOOS is the system of the binary, linux by default: each links packages of its own.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/licensecheck"
)

// permissive are the licences that code of the binary may have, by their SPDX names.
var permissive = []string{
	"MIT", "MIT-0", "Apache-2.0", "BSD-2-Clause", "BSD-2-Clause-Views", "BSD-3-Clause",
	"ISC", "0BSD", "Unlicense", "CC0-1.0", "Zlib", "BlueOak-1.0.0",
}

// accepted are modules under another licence. The MPL binds those who change a file of theirs:
// here nobody does, and the source is where the module is.
var accepted = map[string]string{
	"github.com/hashicorp/golang-lru/v2":     "MPL-2.0",
	"github.com/hashicorp/golang-lru/arc/v2": "MPL-2.0",
}

// dual are modules whose users may choose: the licence that we choose.
var dual = map[string]string{
	"github.com/eclipse/paho.mqtt.golang": "BSD-3-Clause",
	"github.com/eclipse/paho.golang":      "BSD-3-Clause",
}

// restricted are words in headers of files that are not under the licence of their module.
// A comment may break the line between any two of them.
var restricted = regexp.MustCompile(`(?i)` + strings.ReplaceAll(
	`redpanda community license|business source license|server side public license|elastic license|(affero|lesser|gnu) general public license|licenses/(rcl|bsl)\.md|spdx-license-identifier:[^\n]*(GPL|BUSL|SSPL)`,
	" ", `[\s/*#]+`))

const (
	headerBytes = 2048
	coverage    = 70 // percent of a text that must be known words of licences
)

var (
	licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense|edl)s?([.-].*)?$`)
	noticeFile  = regexp.MustCompile(`(?i)^(notice|patents)(\..*)?$`)
)

type module struct {
	Path, Version, Dir string
	Main               bool
	Replace            *module
	licences           map[string]bool
	texts              map[string][]byte // by path in the module
}

type goPackage struct {
	ImportPath, Dir                                       string
	Standard                                              bool
	Module                                                *module
	GoFiles, CgoFiles, CFiles, HFiles, SFiles, EmbedFiles []string
}

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 {
		fmt.Fprintln(os.Stderr, "usage: go run ./internal/licences DIRECTORY [GOOS]")
		os.Exit(2)
	}
	system := "linux"
	if len(os.Args) == 3 {
		system = os.Args[2]
	}
	modules, err := linked("./cmd/iotcast", system)
	if err == nil {
		err = write(os.Args[1], modules)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%d modules\n", len(modules))
}

// linked are the modules of which a program for a system links packages, by their paths, and an
// error if something of that is not permissive.
func linked(program, system string) ([]*module, error) {
	list := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Standard,Module,GoFiles,CgoFiles,CFiles,HFiles,SFiles,EmbedFiles", program)
	list.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	env, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	where, version, _ := strings.Cut(strings.TrimSpace(string(env)), "\n")
	golang := &module{Path: "std", Version: strings.TrimPrefix(version, "go"), Dir: where}
	modules := map[string]*module{golang.Path: golang}
	errs := []error{golang.read(golang.Dir)}
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var p goPackage
		if err := decoder.Decode(&p); err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if p.Standard {
			continue
		}
		m := modules[p.Module.Path]
		if m == nil {
			m = p.Module
			modules[m.Path] = m
		}
		errs = append(errs, m.read(p.Dir), p.headers())
	}
	for _, m := range modules {
		errs = append(errs, m.judge())
	}
	return slices.SortedFunc(maps.Values(modules), func(a, b *module) int { return cmp.Compare(a.Path, b.Path) }), errors.Join(errs...)
}

// read takes the licences of a directory of the module and of those above it.
func (m *module) read(dir string) error {
	if m.texts == nil {
		m.texts, m.licences = map[string][]byte{}, map[string]bool{}
		// Connect has its licences in a directory: files say in their headers which is theirs.
		if path := filepath.Join("licenses", "Apache-2.0.txt"); m.Path == "github.com/redpanda-data/connect/v4" {
			if err := m.add(path, true); err != nil {
				return err
			}
		}
	}
	for ; strings.HasPrefix(dir, m.Dir); dir = filepath.Dir(dir) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			licence, notice := licenceFile.MatchString(e.Name()), noticeFile.MatchString(e.Name())
			if e.Type().IsRegular() && filepath.Ext(e.Name()) != ".go" && (licence || notice) {
				path, err := filepath.Rel(m.Dir, filepath.Join(dir, e.Name()))
				if err == nil {
					err = m.add(path, licence)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// add takes one text, and the licences in it.
func (m *module) add(path string, licence bool) error {
	if _, known := m.texts[path]; known {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(m.Dir, path))
	if err != nil {
		return err
	}
	m.texts[path] = text
	if !licence {
		return nil
	}
	found := licensecheck.Scan(text)
	if found.Percent < coverage && dual[m.Path] == "" {
		return fmt.Errorf("%s: %s is no licence that is known (%.0f %%)", m.Path, path, found.Percent)
	}
	for _, match := range found.Match {
		if !match.IsURL {
			m.licences[match.ID] = true
		}
	}
	return nil
}

func (m *module) judge() error {
	if chosen := dual[m.Path]; m.licences[chosen] {
		m.licences = map[string]bool{chosen: true}
	}
	if m.Replace != nil {
		return fmt.Errorf("%s: go.mod replaces it, so its licence is not that of its source", m.Path)
	}
	if len(m.licences) == 0 {
		return fmt.Errorf("%s: no licence in %s", m.Path, m.Dir)
	}
	for id := range m.licences {
		if !slices.Contains(permissive, id) && accepted[m.Path] != id {
			return fmt.Errorf("%s: the licence %s is not permissive", m.Path, id)
		}
	}
	return nil
}

// headers fails for a file whose header names another licence.
func (p *goPackage) headers() error {
	for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.CFiles, p.HFiles, p.SFiles, p.EmbedFiles) {
		if p.Module.Main {
			continue
		}
		text, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			return err
		}
		if found := restricted.Find(text[:min(len(text), headerBytes)]); found != nil {
			return fmt.Errorf("%s: %s is not permissive: %q", p.ImportPath, name, found)
		}
	}
	return nil
}

// write makes DIRECTORY/MODULE/FILE of each text, and DIRECTORY/sbom.cdx.json.
func write(dir string, modules []*module) error {
	bom := cyclonedx.NewBOM()
	components := []cyclonedx.Component{}
	for _, m := range modules {
		for path, text := range m.texts {
			file := filepath.Join(dir, m.Path, path)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(file, text, 0o644); err != nil {
				return err
			}
		}
		c := cyclonedx.Component{Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, Licenses: &cyclonedx.Licenses{}}
		for _, id := range slices.Sorted(maps.Keys(m.licences)) {
			*c.Licenses = append(*c.Licenses, cyclonedx.LicenseChoice{License: &cyclonedx.License{ID: id}})
		}
		if m.Main {
			c.Type = cyclonedx.ComponentTypeApplication
			bom.Metadata = &cyclonedx.Metadata{Component: &c}
			continue
		}
		c.PackageURL = "pkg:golang/" + m.Path
		if m.Version != "" {
			c.PackageURL += "@" + m.Version
		}
		c.BOMRef = c.PackageURL
		components = append(components, c)
	}
	bom.Components = &components
	var text bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&text, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "sbom.cdx.json"), text.Bytes(), 0o644)
}
