package main

import (
	"io"
	"path/filepath"

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
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	return r.create(packager.ConventionalFileName(info), func(w io.Writer) error { return packager.Package(info, w) })
}
