package page

import (
	"os/exec"
	"testing"
)

// The modules that need no browser are tested in their own language; tests/ has the pages in one.
func TestModules(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=spec", "values.test.js", "tail.test.js", "time.test.js").CombinedOutput()
	if err != nil {
		t.Fatalf("node --test: %v\n%s", err, out)
	}
}
