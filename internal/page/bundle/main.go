// Command bundle makes the pages: of the index.html of each, its style and its script, with all that those import, one
// document that needs nothing else. With -check it fails where that would change a file, and changes none.
//
//	go run ./internal/page/bundle [-check]
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// pages are the documents, from the root of the repository, by the folders that they are made of.
var pages = map[string]string{
	"internal/gateway/viewer/page": "internal/gateway/viewer/viewer.html",
	"internal/console/page":        "internal/console/console.html",
}

func main() {
	check := flag.Bool("check", false, "change nothing, and fail where something would change")
	flag.Parse()
	var errs []error
	for folder, document := range pages {
		errs = append(errs, write(folder, document, *check))
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(folder, document string, check bool) error {
	made, err := page(folder)
	if err != nil {
		return fmt.Errorf("making %s: %w", document, err)
	}
	before, err := os.ReadFile(document)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	switch {
	case bytes.Equal(before, made):
		return nil
	case check:
		return fmt.Errorf("%s is not what %s makes: go run ./internal/page/bundle", document, folder)
	}
	return os.WriteFile(document, made, 0o644)
}

// What an index.html has in place of its style and its script.
const (
	styleLink  = `<link rel="stylesheet" href="style.css">`
	scriptLink = `<script type="module" src="main.js"></script>`
)

// page makes one document of a folder.
func page(folder string) ([]byte, error) {
	index, err := os.ReadFile(filepath.Join(folder, "index.html"))
	if err != nil {
		return nil, err
	}
	for _, link := range []string{styleLink, scriptLink} {
		if n := bytes.Count(index, []byte(link)); n != 1 {
			return nil, fmt.Errorf("index.html has %d times %s, want once", n, link)
		}
	}
	style, err := bundle(filepath.Join(folder, "style.css"))
	if err != nil {
		return nil, err
	}
	script, err := bundle(filepath.Join(folder, "main.js"))
	if err != nil {
		return nil, err
	}
	return []byte(strings.NewReplacer(
		styleLink, "<style>"+style+"</style>",
		scriptLink, `<script type="module">`+script+"</script>",
	).Replace(string(index))), nil
}

// bundle is a file with all that it imports. The library escapes what would end its element.
func bundle(file string) (string, error) {
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{file}, Bundle: true, Format: api.FormatESModule, Target: api.ES2022, Charset: api.CharsetUTF8,
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true, LegalComments: api.LegalCommentsNone,
	})
	if len(result.Errors) > 0 {
		return "", errors.New(strings.Join(api.FormatMessages(result.Errors, api.FormatMessagesOptions{Kind: api.ErrorMessage}), ""))
	}
	return strings.TrimSpace(string(result.OutputFiles[0].Contents)), nil
}
