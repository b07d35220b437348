package control

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestManyLookers: no more follow the overview than there is room for, and there is room again when one ends.
func TestManyLookers(t *testing.T) {
	d := newDesk(t, func(cfg *Config) {
		cfg.Console = http.NotFoundHandler()
		cfg.Metrics = func(context.Context) ([]byte, error) { return nil, nil }
	})
	client := plainClient(t, true)
	look := func() *http.Response {
		res, err := client.Get("http://" + d.server.Addr().String() + "/console/overview")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
	var first *http.Response
	for range maxLookers {
		if first = look(); first.StatusCode != http.StatusOK {
			t.Fatal(first.Status)
		}
	}
	res := look()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusTooManyRequests || !strings.Contains(string(text), "64") {
		t.Errorf("one more: %s %s", res.Status, text)
	}
	_ = first.Body.Close()
	eventually(t, "there is room", func() bool {
		res := look()
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}
