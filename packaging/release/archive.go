package main

import (
	"archive/tar"
	"archive/zip"
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
			if err := each(tree, func(name string, info fs.FileInfo, content io.Reader) error {
				return r.addToZip(z, folder, name, info, content)
			}); err != nil {
				return err
			}
			return z.Close()
		})
	}
	return r.create(folder+".tar.gz", func(w io.Writer) error {
		compressed := gzip.NewWriter(w)
		t := tar.NewWriter(compressed)
		if err := each(tree, func(name string, info fs.FileInfo, content io.Reader) error {
			return r.addToTar(t, folder, name, info, content)
		}); err != nil {
			return err
		}
		if err := t.Close(); err != nil {
			return err
		}
		return compressed.Close()
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
func (r *release) addToTar(t *tar.Writer, folder, name string, info fs.FileInfo, content io.Reader) error {
	header := &tar.Header{Name: path.Join(folder, name), Mode: int64(info.Mode().Perm()), ModTime: r.date, Typeflag: tar.TypeReg, Size: info.Size()}
	if content == nil {
		header.Name, header.Typeflag, header.Size = header.Name+"/", tar.TypeDir, 0
	}
	if err := t.WriteHeader(header); err != nil || content == nil {
		return err
	}
	_, err := io.Copy(t, content)
	return err
}

func (r *release) addToZip(z *zip.Writer, folder, name string, info fs.FileInfo, content io.Reader) error {
	header := &zip.FileHeader{Name: path.Join(folder, name), Method: zip.Deflate, Modified: r.date}
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
