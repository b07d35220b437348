// Command generate writes docs/reference, the pages on our components and
// top-level fields, from what the components say of themselves, and the OpenAPI
// documents of internal/control, from the types that it serves.
//
//	go run ./docs/generate          writes them
//	go run ./docs/generate -check   fails if they are not as it would write them
//
// A snippet that is a whole config is fenced as yaml, which `iotcast lint`
// reads; one that is a part of a config is fenced as yml, which it skips.
package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const command = "go run ./docs/generate"

func main() {
	check := flag.Bool("check", false, "compare the pages with what would be written, and write nothing")
	dir := flag.String("dir", "docs/reference", "the `directory` of the pages")
	openapi := flag.String("openapi", "internal/control", "the `directory` of the OpenAPI documents")
	flag.Parse()
	if err := run(*dir, *openapi, *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir, openapi string, check bool) error {
	pages, err := render()
	if err != nil {
		return err
	}
	documents, err := documents()
	if err != nil {
		return err
	}
	stale, err := compare(dir, "*.md", pages)
	if err != nil {
		return err
	}
	more, err := compare(openapi, "*.yaml", documents)
	if err != nil {
		return err
	}
	stale = append(stale, more...)
	maps.Copy(pages, documents)
	if check {
		if len(stale) > 0 {
			return fmt.Errorf("stale pages: %s\nMend them with: %s", strings.Join(stale, ", "), command)
		}
		return nil
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.MkdirAll(openapi, 0o755)); err != nil {
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
func compare(dir, pattern string, pages map[string]string) (stale []string, err error) {
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
	there, err := filepath.Glob(filepath.Join(dir, pattern))
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
