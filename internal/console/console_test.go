package console

import (
	"bytes"
	"compress/gzip"
	"os/exec"
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

// TestModules runs the tests of modules that need no browser.
func TestModules(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", "page/views/message/ways.test.js").CombinedOutput()
	if err != nil {
		t.Fatalf("node --test: %v\n%s", err, out)
	}
}
