package main

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path"
)

// archive packs a tree into one top folder: as zip for Windows, as tar.gz for all others.
func (r *release) archive(tree string, p platform) error {
	folder := "iotcast_" + r.version + "_" + p.system + "_" + p.arch
	if p.system == "windows" {
		return r.create(folder+".zip", func(w io.Writer) error {
			z := zip.NewWriter(w)
			err := each(tree, func(name string, info fs.FileInfo, content io.Reader) error {
				return r.addToZip(z, path.Join(folder, name), info, content)
			})
			return cmp.Or(err, z.Close())
		})
	}
	return r.create(folder+".tar.gz", func(w io.Writer) error {
		compressed := gzip.NewWriter(w)
		t := tar.NewWriter(compressed)
		err := each(tree, func(name string, info fs.FileInfo, content io.Reader) error {
			return r.addToTar(t, path.Join(folder, name), info, content)
		})
		return cmp.Or(err, t.Close(), compressed.Close())
	})
}

// each calls add for all files and directories, sorted by name; content is nil for a directory.
func each(tree string, add func(name string, info fs.FileInfo, content io.Reader) error) error {
	files := os.DirFS(tree)
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || d.IsDir() {
			return add(name, info, nil)
		}
		file, err := files.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		return add(name, info, file)
	})
}

// addToTar writes an entry without owner, which is nobody's on the machine where it is unpacked.
func (r *release) addToTar(t *tar.Writer, name string, info fs.FileInfo, content io.Reader) error {
	header := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), ModTime: r.date, Typeflag: tar.TypeReg, Size: info.Size()}
	if content == nil {
		header.Name, header.Typeflag, header.Size = header.Name+"/", tar.TypeDir, 0
	}
	if err := t.WriteHeader(header); err != nil || content == nil {
		return err
	}
	_, err := io.Copy(t, content)
	return err
}

func (r *release) addToZip(z *zip.Writer, name string, info fs.FileInfo, content io.Reader) error {
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: r.date}
	header.SetMode(info.Mode())
	if content == nil {
		header.Name, header.Method = header.Name+"/", zip.Store
	}
	entry, err := z.CreateHeader(header)
	if err != nil || content == nil {
		return err
	}
	_, err = io.Copy(entry, content)
	return err
}
