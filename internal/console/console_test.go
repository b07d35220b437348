package console

import (
	"bytes"
	"compress/gzip"
	"testing"
)

// TestBudget: the page is loaded over links of any kind.
func TestBudget(t *testing.T) {
	const limit = 80 << 10
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(document)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if packed.Len() > limit {
		t.Errorf("the page is %d bytes compressed, and may be %d", packed.Len(), limit)
	}
}
