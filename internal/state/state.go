// Package state keeps what is made while the process runs and must outlive it: the records of a management API, in one bbolt
// file. It knows neither what a record is about nor who may change it.
package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

const (
	// fileName is that of the file in its directory.
	fileName = "state.db"

	// openTimeout is how long another process may hold the file.
	openTimeout = 2 * time.Second

	format = "iotcast state 1"
)

// The buckets of the file.
var (
	bucketMeta       = []byte("meta")       // "format"
	bucketNames      = []byte("names")      // kind, NUL, scope, NUL, name: the key of the record with that name
	bucketOperations = []byte("operations") // operation ID
	bucketHistory    = []byte("history")    // resource ID, NUL, operation ID
	keyFormat        = []byte("format")
)

// Kind is a kind of records. Each has keys of its own.
type Kind string

// The kinds.
const (
	Registries Kind = "registries"
	Devices    Kind = "devices"
	Brokers    Kind = "brokers"
	Triggers   Kind = "triggers"
)

// Kinds are all of them, those first that others refer to.
var Kinds = []Kind{Registries, Devices, Brokers, Triggers}

// Store is an open file. It may be used concurrently.
type Store struct {
	db   *bbolt.DB
	path string
	committer
}

// Open opens the file in a directory, and makes both if they are not there. A file that is damaged, or that another program
// has made, is an error, and is left as it is.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the state: %w", err)
	}
	path := filepath.Join(dir, fileName)
	info, err := os.Stat(path)
	isNew := errors.Is(err, fs.ErrNotExist)
	if err != nil && !isNew {
		return nil, fmt.Errorf("looking for the state: %w", err)
	}
	if !isNew {
		if err := inspect(path, info.Size()); err != nil {
			return nil, err
		}
	}
	db, err := open(path, &bbolt.Options{Timeout: openTimeout})
	if err != nil {
		return nil, err
	}
	if err := db.Update(prepare); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("preparing %s: %w", path, err)
	}
	s := &Store{db: db, path: path}
	s.committer.start(db)
	return s, nil
}

func open(path string, options *bbolt.Options) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, options)
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("opening %s: another process has it open: each needs a state_dir of its own", path)
	}
	if file := (*fs.PathError)(nil); errors.As(err, &file) { // not about what is in it
		return nil, fmt.Errorf("opening the state: %w", err)
	}
	return nil, damaged(path, err)
}

// damaged is the error about a file that cannot be read.
func damaged(path string, why any) error {
	return fmt.Errorf("%s is no state of iotcast, or is damaged (%v): put a copy of it in its place, or move it away and begin anew", path, why)
}

// inspect reads the whole file before anything is written to it.
func inspect(path string, size int64) (err error) {
	if size == 0 { // bbolt would take it for a new one
		return damaged(path, "it is empty")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if why := recover(); why != nil {
			err = damaged(path, why)
		}
	}()
	// Nothing else may write to the file meanwhile: bbolt locks it when it opens it, and reads little.
	db, err := open(path, &bbolt.Options{Timeout: openTimeout, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the state: %w", err)
	}
	defer func() { _ = file.Close() }()
	if err := checkPages(file, size); err != nil {
		return damaged(path, err)
	}
	return db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil || string(meta.Get(keyFormat)) != format {
			return damaged(path, "another program, or another version, has written it")
		}
		t := &Tx{tx: tx}
		for _, kind := range Kinds {
			for _, err := range t.Walk(kind, "", "") {
				if err != nil {
					return damaged(path, err)
				}
			}
		}
		return nil
	})
}

func prepare(tx *bbolt.Tx) error {
	names := [][]byte{bucketNames, bucketOperations, bucketHistory}
	for _, kind := range Kinds {
		names = append(names, []byte(kind))
	}
	for _, name := range names {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	return meta.Put(keyFormat, []byte(format))
}

// Path is that of the file.
func (s *Store) Path() string { return s.path }

// Read lets f read, at one moment of the state.
func (s *Store) Read(f func(*Tx) error) error {
	return s.db.View(func(tx *bbolt.Tx) error { return f(&Tx{tx: tx}) })
}

// Close waits for what is being written, and closes the file.
func (s *Store) Close() error {
	s.committer.stop()
	return s.db.Close()
}
