package gateway

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/iotcast/iotcast/internal/fanout"
)

// refuse asks for a connection as a page of another origin does.
func refuse(t *testing.T, g *Gateway, origin string) {
	t.Helper()
	if status := statusOf(t, g, ways()[0]+"Origin: "+origin+"\r\n\r\n"); status != http.StatusForbidden {
		t.Fatal(status)
	}
}

// TestRefusedOriginsAreNamed: the log names each origin once, with what to do about it,
// and no more of them than a log can bear.
func TestRefusedOriginsAreNamed(t *testing.T) {
	var lines bytes.Buffer
	cfg := Config{Label: "main", Address: "127.0.0.1:0", Routes: []RouteConfig{{Path: "/a", Limits: fanout.Limits{QueueBytes: 1 << 20}}}}
	g, err := Start(cfg, new(record).observe, slog.New(slog.NewTextHandler(&lines, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		refuse(t, g, "http://localhost:8000")
	}
	for i := range 150 {
		refuse(t, g, fmt.Sprintf("https://%d.test", i))
	}
	g.Close(t.Context()) // and so nobody writes any more
	if n := strings.Count(lines.String(), "origin=http://localhost:8000"); n != 1 {
		t.Errorf("%d lines name the origin:\n%s", n, lines.String())
	}
	if n := strings.Count(lines.String(), "level=WARN"); !strings.Contains(lines.String(), "allowed_origins") || n > 15 {
		t.Errorf("%d lines:\n%s", n, lines.String())
	}
}
