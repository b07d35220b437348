package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"

	"go.etcd.io/bbolt"
)

// Record is what is kept of a resource.
type Record struct {
	Version  uint64 // how often it has been written
	Resource []byte // as others may see it
	Private  []byte // what they may not
}

// Tx reads and writes at one moment. What it returns is valid after its end.
type Tx struct {
	tx    *bbolt.Tx
	wrote bool
}

// Get returns a record, false if there is none.
func (t *Tx) Get(kind Kind, key string) (r Record, ok bool, err error) {
	value := t.tx.Bucket([]byte(kind)).Get([]byte(key))
	if value == nil {
		return r, false, nil
	}
	r, err = decode(value)
	if err != nil {
		err = fmt.Errorf("reading %s %q of the state: %w", kind, key, err)
	}
	return r, true, err
}

// Put writes a record and counts its version up.
func (t *Tx) Put(kind Kind, key string, r Record) error {
	t.wrote = true
	bucket := t.tx.Bucket([]byte(kind))
	if old := bucket.Get([]byte(key)); old != nil {
		before, err := decode(old)
		if err != nil {
			return err
		}
		r.Version = before.Version
	}
	r.Version++
	return bucket.Put([]byte(key), encode(r))
}

// Delete removes a record, if it is there.
func (t *Tx) Delete(kind Kind, key string) error {
	t.wrote = true
	return t.tx.Bucket([]byte(kind)).Delete([]byte(key))
}

// Entry is a record with its key.
type Entry struct {
	Key string
	Record
}

// Walk goes through the records of a kind whose keys begin with prefix and come after a key, in the order of the keys.
func (t *Tx) Walk(kind Kind, prefix, after string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		cursor := t.tx.Bucket([]byte(kind)).Cursor()
		key, value := cursor.Seek([]byte(max(prefix, after)))
		if key != nil && after != "" && string(key) == after {
			key, value = cursor.Next()
		}
		for ; key != nil && bytes.HasPrefix(key, []byte(prefix)); key, value = cursor.Next() {
			r, err := decode(value)
			if err != nil {
				err = fmt.Errorf("reading %s %q of the state: %w", kind, key, err)
			}
			if !yield(Entry{string(key), r}, err) {
				return
			}
		}
	}
}

// Named is the key of the record with a name within a scope, such as the registry of a device; empty if there is none.
func (t *Tx) Named(kind Kind, scope, name string) string {
	return string(t.tx.Bucket(bucketNames).Get(joined(string(kind), scope, name)))
}

// Name gives a record a name within a scope, and takes that from the one that has it.
func (t *Tx) Name(kind Kind, scope, name, key string) error {
	t.wrote = true
	return t.tx.Bucket(bucketNames).Put(joined(string(kind), scope, name), []byte(key))
}

// Unname takes a name from the record that has it.
func (t *Tx) Unname(kind Kind, scope, name string) error {
	t.wrote = true
	return t.tx.Bucket(bucketNames).Delete(joined(string(kind), scope, name))
}

func joined(parts ...string) []byte {
	var key []byte
	for i, part := range parts {
		if i > 0 {
			key = append(key, 0)
		}
		key = append(key, part...)
	}
	return key
}

// encode writes a record: a checksum, which bbolt has for its own pages only, then the version, the length of the resource,
// the resource, and the rest.
func encode(r Record) []byte {
	value := make([]byte, 4, 4+2*binary.MaxVarintLen64+len(r.Resource)+len(r.Private))
	value = binary.AppendUvarint(value, r.Version)
	value = binary.AppendUvarint(value, uint64(len(r.Resource)))
	value = append(append(value, r.Resource...), r.Private...)
	binary.BigEndian.PutUint32(value, crc32.ChecksumIEEE(value[4:]))
	return value
}

var errDamaged = errors.New("it is damaged")

func decode(value []byte) (r Record, err error) {
	if len(value) < 4 || crc32.ChecksumIEEE(value[4:]) != binary.BigEndian.Uint32(value) {
		return r, errDamaged
	}
	rest := bytes.Clone(value[4:])
	var n int
	if r.Version, n = binary.Uvarint(rest); n <= 0 {
		return r, errDamaged
	}
	rest = rest[n:]
	length, n := binary.Uvarint(rest)
	if n <= 0 || length > uint64(len(rest)-n) {
		return r, errDamaged
	}
	rest = rest[n:]
	r.Resource, r.Private = rest[:length:length], rest[length:]
	return r, nil
}
