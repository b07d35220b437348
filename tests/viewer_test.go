package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// viewerPage is the viewer in a browser.
type viewerPage struct {
	t     *testing.T
	stdin io.WriteCloser
	out   *bufio.Reader
}

// shown is what the viewer shows.
type shown struct {
	State    string   `json:"state"`
	Messages int      `json:"messages,string"`
	Gaps     int      `json:"gaps,string"`
	Resumed  int      `json:"resumed,string"`
	Pill     string   `json:"pill"`
	Notice   string   `json:"notice"`
	Names    []string `json:"names"` // of what is drawn
	Notes    []string `json:"notes"` // newest first
	Errors   []string `json:"errors"`
}

func openViewer(t *testing.T, url string) *viewerPage {
	t.Helper()
	dir := filepath.Dir(screenshot)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, stdin, out := converse(t, "viewer", exec.Command(toolPath("node"), "clients/viewer.mjs", toolPath("chromium"), url, dir))
	return &viewerPage{t: t, stdin: stdin, out: bufio.NewReader(out)}
}

// look says what the page shows. A name other than "look" keeps a screenshot.
func (v *viewerPage) look(name string) (s shown) {
	v.t.Helper()
	if _, err := io.WriteString(v.stdin, name+"\n"); err != nil {
		v.t.Fatal(err)
	}
	line, err := v.out.ReadBytes('\n')
	if err != nil {
		v.t.Fatalf("the browser has ended: %v", err)
	}
	if err := json.Unmarshal(line, &s); err != nil {
		v.t.Fatalf("answer of the browser %.300q: %v", line, err)
	}
	if len(s.Errors) > 0 {
		v.t.Fatalf("in the browser: %s", strings.Join(s.Errors, "\n"))
	}
	return s
}

func (v *viewerPage) wait(what string, ok func(shown) bool) {
	v.t.Helper()
	var last shown
	defer func() {
		if v.t.Failed() {
			v.t.Logf("the page shows: %+v", last)
		}
	}()
	eventuallyWithin(v.t, 90*time.Second, "the viewer shows "+what, func() bool {
		last = v.look("look")
		return ok(last)
	})
}

func (v *viewerPage) waitMessages(n int) {
	v.t.Helper()
	v.wait(fmt.Sprintf("%d messages", n), func(s shown) bool { return s.Messages >= n })
}
