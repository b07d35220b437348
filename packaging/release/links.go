package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// link is one of Markdown to a file, with what is in it of the file's name.
var link = regexp.MustCompile(`\]\(([^)#:\s]+)([)#])`)

// relink lets the pages of an archive refer to the repository for what the archive has not.
func (r *release) relink(archive string) error {
	return filepath.WalkDir(archive, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(file) != ".md" {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		from, err := filepath.Rel(archive, filepath.Dir(file))
		if err != nil {
			return err
		}
		changed := link.ReplaceAllStringFunc(string(text), func(found string) string {
			parts := link.FindStringSubmatch(found)
			target := path.Join(filepath.ToSlash(from), parts[1])
			if exists(filepath.Join(archive, target)) || !exists(filepath.Join(r.root, target)) {
				return found
			}
			return "](" + r.source() + target + parts[2]
		})
		return os.WriteFile(file, []byte(changed), 0o644)
	})
}

// source is where the files of this version are. A snapshot has no tag.
func (r *release) source() string {
	at := "v" + r.version
	if strings.Contains(r.version, "-dev.") {
		at = "HEAD"
	}
	return "https://github.com/iotcast/iotcast/blob/" + at + "/"
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
