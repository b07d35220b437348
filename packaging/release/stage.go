package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// common makes what several platforms have: the man pages, and the licences of each system.
func (r *release) common(work string) (dir string, err error) {
	dir = filepath.Join(work, "common")
	man := filepath.Join(dir, "man")
	if err := os.MkdirAll(man, 0o755); err != nil {
		return "", err
	}
	if r.built[native] == "" {
		binary := filepath.Join(work, native.binary())
		if err := r.build(binary, native); err != nil {
			return "", err
		}
		r.built[native] = binary
	}
	if err := r.command("", r.built[native], "__man", man); err != nil {
		return "", err
	}
	// Built first: with another GOOS, go run would build a program that cannot run here.
	licences := filepath.Join(work, "licences")
	if err := r.command("", "go", "build", "-o", licences, "./internal/licences"); err != nil {
		return "", err
	}
	for _, p := range r.platforms {
		texts := filepath.Join(dir, "licences", p.system)
		if _, err := os.Stat(texts); err == nil {
			continue
		}
		r.say("licences of %s", p.system)
		if err := r.command("", licences, texts, p.system); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// build makes a binary. The flags are those of the Dockerfile: they leave out what depends on the place where it is built.
func (r *release) build(file string, p platform) error {
	r.say("building for %v", p)
	const variables = "github.com/iotcast/iotcast/internal/version."
	linker := fmt.Sprintf("-s -w -X %slinked=%s -X %sdate=%s", variables, r.version, variables, r.date.Format(time.RFC3339))
	return r.command("CGO_ENABLED=0 GOOS="+p.system+" GOARCH="+p.arch,
		"go", "build", "-trimpath", "-buildvcs=false", "-tags", "timetzdata", "-ldflags", linker, "-o", file, "./cmd/iotcast")
}

// command runs a program in the repository, with more variables in its environment.
func (r *release) command(env string, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), strings.Fields(env)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, out.String())
	}
	return nil
}

// stage makes the tree of a platform: archive is what the archive holds, package what besides is in packages.
func (r *release) stage(dir string, p platform, common string) error {
	archive := filepath.Join(dir, "archive")
	if err := os.MkdirAll(archive, 0o755); err != nil {
		return err
	}
	binary := filepath.Join(archive, p.binary())
	if built := r.built[p]; built != "" {
		if err := copyFile(binary, built); err != nil {
			return err
		}
	} else if err := r.build(binary, p); err != nil {
		return err
	}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		if err := copyFile(filepath.Join(archive, name), filepath.Join(r.root, name)); err != nil {
			return err
		}
	}
	for to, from := range map[string]string{
		"archive/config": "config", "archive/resources": "resources", "archive/completions": "cmd/iotcast/completion",
		"package/etc": "packaging/etc", "package/systemd": "packaging/systemd", "package/deb": "packaging/deb", "package/rpm": "packaging/rpm",
	} {
		if err := os.CopyFS(filepath.Join(dir, to), withoutGo{os.DirFS(filepath.Join(r.root, from))}); err != nil {
			return err
		}
	}
	if err := os.CopyFS(filepath.Join(archive, "docs"), pages{os.DirFS(filepath.Join(r.root, "docs"))}); err != nil {
		return err
	}
	if err := r.relink(archive); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(archive, "licences"), os.DirFS(filepath.Join(common, "licences", p.system))); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(archive, "man"), os.DirFS(filepath.Join(common, "man"))); err != nil {
		return err
	}
	if err := compressDocs(filepath.Join(dir, "package"), archive); err != nil {
		return err
	}
	return r.settle(dir, binary)
}

// withoutGo is a tree without its Go files, which are not for users of the binary. A main.go is an example's, and its program.
type withoutGo struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (w withoutGo) ReadDir(name string) (kept []fs.DirEntry, err error) {
	all, err := fs.ReadDir(w.FS, name)
	for _, e := range all {
		if path.Ext(e.Name()) != ".go" || e.Name() == "main.go" {
			kept = append(kept, e)
		}
	}
	return kept, err
}

// pages is the tree of the docs without the programs that make and check them.
type pages struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (p pages) ReadDir(name string) (kept []fs.DirEntry, err error) {
	all, err := fs.ReadDir(p.FS, name)
	for _, e := range all {
		if !e.IsDir() && path.Ext(e.Name()) != ".go" || e.Name() == "reference" || e.Name() == "examples" {
			kept = append(kept, e)
		}
	}
	return kept, err
}

// compressDocs makes man pages and changelog as packages have them.
func compressDocs(dir, archive string) error {
	pages, err := filepath.Glob(filepath.Join(archive, "man", "*"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "man"), 0o755); err != nil {
		return err
	}
	compressed := map[string]string{filepath.Join(archive, "CHANGELOG.md"): filepath.Join(dir, "CHANGELOG.md.gz")}
	for _, page := range pages {
		compressed[page] = filepath.Join(dir, "man", filepath.Base(page)+".gz")
	}
	for from, to := range compressed {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := compress(to, text); err != nil {
			return err
		}
	}
	return nil
}

func compress(file string, text []byte) error {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // writes no time by itself
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// settle gives all files the time of the release, and modes that do not depend on the umask here.
func (r *release) settle(dir, binary string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if d.IsDir() || path == binary {
			mode = 0o755
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		return os.Chtimes(path, r.date, r.date)
	})
}

func copyFile(to, from string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}
