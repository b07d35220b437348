// Command generate writes docs/reference, the pages on our components and
// top-level fields, from what the components say of themselves.
//
//	go run ./docs/generate          writes the pages
//	go run ./docs/generate -check   fails if they are not as it would write them
//
// A snippet that is a whole config is fenced as yaml, which `iotcast lint`
// reads; one that is a part of a config is fenced as yml, which it skips.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const command = "go run ./docs/generate"

func main() {
	check := flag.Bool("check", false, "compare the pages with what would be written, and write nothing")
	dir := flag.String("dir", "docs/reference", "the `directory` of the pages")
	flag.Parse()
	if err := run(*dir, *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string, check bool) error {
	pages, err := render()
	if err != nil {
		return err
	}
	stale, err := compare(dir, pages)
	if err != nil {
		return err
	}
	if check {
		if len(stale) > 0 {
			return fmt.Errorf("stale pages: %s\nMend them with: %s", strings.Join(stale, ", "), command)
		}
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, path := range stale {
		if err := update(path, pages); err != nil {
			return err
		}
	}
	return nil
}

// compare lists the files that are missing, different, or there for no component.
func compare(dir string, pages map[string]string) (stale []string, err error) {
	for name, want := range pages {
		path := filepath.Join(dir, name)
		got, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		if err != nil || string(got) != want {
			stale = append(stale, path)
		}
	}
	there, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return nil, err
	}
	for _, path := range there {
		if _, ok := pages[filepath.Base(path)]; !ok {
			stale = append(stale, path)
		}
	}
	slices.Sort(stale)
	return stale, nil
}

func update(path string, pages map[string]string) error {
	content, ok := pages[filepath.Base(path)]
	if !ok {
		return os.Remove(path)
	}
	return os.WriteFile(path, []byte(content), 0o644)
}
