package tests

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func TestPassword(t *testing.T) {
	t.Parallel()
	hash := func(input string, args ...string) (string, error) {
		cmd := exec.Command(binary, append([]string{"password"}, args...)...)
		cmd.Stdin = strings.NewReader(input)
		printed, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(printed)), err
	}
	printed, err := hash("Correct-Horse-1\n")
	if err != nil || bcrypt.CompareHashAndPassword([]byte(printed), []byte("Correct-Horse-1")) != nil {
		t.Errorf("printed %q, %v", printed, err)
	}
	if printed, err := hash("Correct-Horse\n"); err == nil || !strings.Contains(printed, "give at least 14") {
		t.Errorf("a short one: printed %q, %v", printed, err)
	}
	if printed, err := hash("", "Correct-Horse-1"); err == nil || !strings.Contains(printed, "takes no arguments") {
		t.Errorf("as an argument: printed %q, %v", printed, err)
	}
}
