// Command release makes the archives and packages of iotcast, with their checksums:
//
//	go -C packaging/release run . [-version 0.2.0] [-only linux/amd64] [-out DIRECTORY] [-binary FILE]
//
// The same commit and the same Go give the same bytes: times are that of the commit, or SOURCE_DATE_EPOCH. Without -version it
// is that of the git tag, and behind a tag that of a snapshot of what comes next. docs/install.md says what is in them.
//
// version.go finds the version, stage.go makes what is in the archives, archive.go and packages.go put it together.
package main

import (
	"cmp"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// platforms are what there are releases for.
var platforms = []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}}

// native is the one on which a binary can run to write its man pages.
var native = platform{runtime.GOOS, runtime.GOARCH}

type platform struct{ system, arch string }

func (p platform) String() string { return p.system + "/" + p.arch }

// binary is the name of the program.
func (p platform) binary() string {
	if p.system == "windows" {
		return "iotcast.exe"
	}
	return "iotcast"
}

// release is what is to be made.
type release struct {
	root      string // of the repository
	out       string
	version   string // as semver.org has it
	date      time.Time
	platforms []platform
	built     map[platform]string // the binaries that are there
	progress  io.Writer
}

func main() {
	r := release{platforms: platforms, built: map[platform]string{}, progress: os.Stdout}
	only := flag.String("only", "", "make what is for these `platforms` only, such as linux/amd64, with commas between them")
	flag.StringVar(&r.version, "version", "", "the `version`, such as 0.2.0; without, that of the git tag")
	flag.StringVar(&r.out, "out", "", "the `directory` to write to, an empty one (default: dist in the repository, which is emptied)")
	binary := flag.String("binary", "", "take this `file`, which runs here, instead of building")
	flag.Parse()
	if err := r.run(*only, *binary, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func (r *release) run(only, binary string, more []string) (err error) {
	if len(more) > 0 {
		return fmt.Errorf("%q: there are flags only, see -help", more[0])
	}
	if r.root, err = filepath.Abs(filepath.Join("..", "..")); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(r.root, "packaging", "release")); err != nil {
		return fmt.Errorf("run it as go -C packaging/release run .: %w", err)
	}
	if only != "" {
		if r.platforms, err = parsePlatforms(only); err != nil {
			return err
		}
	}
	if binary != "" {
		r.built[native] = r.inRoot(binary)
	}
	if r.version, err = versionOf(r.root, r.version); err != nil {
		return err
	}
	if r.date, err = dateOf(r.root); err != nil {
		return err
	}
	if r.out == "" {
		r.out = filepath.Join(r.root, "dist")
		if err := os.RemoveAll(r.out); err != nil {
			return err
		}
	}
	r.out = r.inRoot(r.out)
	return r.make()
}

// inRoot is a path as it is meant by who calls this in the repository: go -C has changed the directory.
func (r *release) inRoot(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.root, path)
}

func parsePlatforms(only string) (all []platform, err error) {
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(platforms, func(p platform) bool { return p.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: %q is none of %v", name, platforms)
		}
		all = append(all, platforms[i])
	}
	return all, nil
}

// make makes all files.
func (r *release) make() error {
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if there, err := os.ReadDir(r.out); err != nil || len(there) > 0 {
		return cmp.Or(err, fmt.Errorf("-out: %s must be empty, so that SHA256SUMS names files of this version only", r.out))
	}
	r.say("iotcast %s of %s", r.version, r.date.Format(time.RFC3339))
	work, err := os.MkdirTemp("", "iotcast-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	common, err := r.common(work)
	if err != nil {
		return err
	}
	for _, p := range r.platforms {
		stage := filepath.Join(work, p.system+"-"+p.arch)
		if err := r.stage(stage, p, common); err != nil {
			return fmt.Errorf("%v: %w", p, err)
		}
		if err := r.archive(filepath.Join(stage, "archive"), p); err != nil {
			return fmt.Errorf("%v: archive: %w", p, err)
		}
		if p.system != "linux" {
			continue
		}
		for _, format := range []string{"deb", "rpm"} {
			if err := r.pack(stage, p, format); err != nil {
				return fmt.Errorf("%v: %s: %w", p, format, err)
			}
		}
	}
	return r.checksums()
}

func (r *release) say(format string, args ...any) { fmt.Fprintf(r.progress, format+"\n", args...) }

// create makes one of the files, and says so when it is whole.
func (r *release) create(name string, write func(io.Writer) error) error {
	file, err := os.Create(filepath.Join(r.out, name))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := write(file); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	r.say("  %s, %.1f MB", name, float64(info.Size())/1e6)
	return file.Close()
}

// checksums makes SHA256SUMS, which sha256sum --check reads.
func (r *release) checksums() error {
	entries, err := os.ReadDir(r.out) // sorted
	if err != nil {
		return err
	}
	return r.create("SHA256SUMS", func(w io.Writer) error {
		for _, e := range entries {
			content, err := os.ReadFile(filepath.Join(r.out, e.Name()))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%x  %s\n", sha256.Sum256(content), e.Name()); err != nil {
				return err
			}
		}
		return nil
	})
}
