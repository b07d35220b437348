package state

import (
	"bytes"

	"go.etcd.io/bbolt"
)

// maxOperations is how many of the last operations are kept.
const maxOperations = 10_000

// AddOperation keeps an operation about a resource. IDs order operations by their time. The oldest go when there are too many.
func (t *Tx) AddOperation(id, resource string, operation []byte) error {
	t.wrote = true
	operations, history := t.tx.Bucket(bucketOperations), t.tx.Bucket(bucketHistory)
	if err := operations.Put([]byte(id), append(joined(resource, ""), operation...)); err != nil {
		return err
	}
	if err := history.Put(joined(resource, id), nil); err != nil {
		return err
	}
	// Sequences count what was put in, in the one bucket, and what was taken out, in the other, so that nobody has to count.
	n, err := operations.NextSequence()
	if err != nil || n-history.Sequence() <= maxOperations {
		return err
	}
	return t.dropOldest(operations, history)
}

func (t *Tx) dropOldest(operations, history *bbolt.Bucket) error {
	key, value := operations.Cursor().First()
	if key == nil {
		return nil
	}
	resource, _, _ := bytes.Cut(value, []byte{0})
	if err := history.Delete(joined(string(resource), string(key))); err != nil {
		return err
	}
	if err := operations.Delete(key); err != nil {
		return err
	}
	_, err := history.NextSequence()
	return err
}

// Operation returns an operation, nil if it is not there.
func (t *Tx) Operation(id string) []byte {
	_, operation, _ := bytes.Cut(t.tx.Bucket(bucketOperations).Get([]byte(id)), []byte{0})
	return bytes.Clone(operation)
}

// Operations are at most limit operations about a resource, the newest first, after one of them, or from the newest on.
func (t *Tx) Operations(resource, after string, limit int) (all [][]byte) {
	cursor := t.tx.Bucket(bucketHistory).Cursor()
	prefix := joined(resource, "")
	end := joined(resource, after)
	if after == "" {
		end = append(bytes.Clone(prefix), 0xff)
	}
	key, _ := cursor.Seek(end)
	if key == nil {
		key, _ = cursor.Last()
	} else {
		key, _ = cursor.Prev()
	}
	for ; key != nil && bytes.HasPrefix(key, prefix) && len(all) < limit; key, _ = cursor.Prev() {
		all = append(all, t.Operation(string(key[len(prefix):])))
	}
	return all
}
