package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers the format
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers the format
)

// pack makes a package of a staged tree, as packaging/nfpm.yaml describes it.
func (r *release) pack(stage string, p platform, format string) error {
	variables := map[string]string{"VERSION": r.version, "ARCH": p.arch}
	file := filepath.Join(r.root, "packaging", "nfpm.yaml")
	config, err := nfpm.ParseFileWithEnvMapping(file, func(name string) string { return variables[name] })
	if err != nil {
		return err
	}
	info, err := config.Get(format)
	if err != nil {
		return err
	}
	info.MTime = r.date
	for _, c := range info.Contents {
		if c.Source != "" {
			c.Source = filepath.Join(stage, c.Source)
		}
	}
	for _, script := range []*string{&info.Scripts.PostInstall, &info.Scripts.PreRemove, &info.Scripts.PostRemove} {
		*script = filepath.Join(stage, *script)
	}
	if err := r.debianChangelog(filepath.Join(stage, "package", "changelog.gz"), info); err != nil {
		return err
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	return r.create(packager.ConventionalFileName(info), func(w io.Writer) error { return packager.Package(info, w) })
}

// debianChangelog makes the changelog in the form that Debian wants of every package: what changed is in ours.
func (r *release) debianChangelog(file string, info *nfpm.Info) error {
	version := info.Version
	if info.Prerelease != "" {
		version += "~" + info.Prerelease
	}
	const form = "%s (%s) unstable; urgency=medium\n\n  * What changed is in CHANGELOG.md.gz.\n\n -- %s  %s\n"
	if err := compress(file, fmt.Appendf(nil, form, info.Name, version, info.Maintainer, r.date.Format(time.RFC1123Z))); err != nil {
		return err
	}
	return os.Chmod(file, 0o644) // whatever the umask
}
