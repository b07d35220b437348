package tests

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/iotcast/iotcast/internal/console"
)

// crowd stands in for an iotcast that has 10,000 connections, 5,000 devices in the registry home, and 2,000 messages a second.
const (
	crowdConnections = 10_000
	crowdDevices     = 5_000
	crowdRate        = 2_000
)

func serveCrowd(t *testing.T) *managed {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/{$}", console.Handler())
	answer := func(w http.ResponseWriter, value any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value)
	}
	mux.HandleFunc("GET /console/account", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"account": "", "tokens": false, "roles": []string{}})
	})
	mux.HandleFunc("GET /apigateways/websocket/v1/connections", func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.FormValue("pageSize"))
		from := 0
		if after := r.FormValue("pageToken"); after != "" {
			from, _ = strconv.Atoi(strings.TrimLeft(strings.TrimPrefix(after, "c"), "0"))
			from++
		}
		list, next := []any{}, ""
		for i := from; i < crowdConnections && len(list) < size; i++ {
			next = fmt.Sprintf("c%08d", i)
			list = append(list, map[string]any{
				"id": next, "gatewayId": "main", "path": "/telemetry", "subject": fmt.Sprintf("user-%d", i%700),
				"identity":    map[string]string{"sourceIp": fmt.Sprintf("10.0.%d.%d", i/250, i%250), "userAgent": "Mozilla/5.0 (X11; Linux x86_64)"},
				"connectedAt": time.Now().Add(-time.Duration(i) * time.Second), "lastActiveAt": time.Now(),
				"watch": map[string]any{"deviceIds": []string{fmt.Sprintf("device-%d", i%5000)}}, "queuedBytes": i % 4096, "dropped": i % 3, "protocol": "websocket",
			})
		}
		page := map[string]any{"connections": list}
		if from+len(list) < crowdConnections {
			page["nextPageToken"] = next
		}
		answer(w, page)
	})
	mux.HandleFunc("GET /iot-devices/v1/devices", func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.FormValue("pageToken"))
		list := []any{}
		for i := from; i < min(from+1000, crowdDevices); i++ {
			list = append(list, map[string]any{
				"id": fmt.Sprintf("device-%d", i), "name": fmt.Sprintf("device-%d", i), "registryId": "home", "createdAt": time.Now(),
				"labels": map[string]string{"floor": strconv.Itoa(i % 9)}, "monitoringData": map[string]any{"lastAuthIp": "10.0.0.1", "lastPubActivityTime": time.Now()},
			})
		}
		page := map[string]any{"devices": list}
		if from+1000 < crowdDevices {
			page["nextPageToken"] = strconv.Itoa(from + 1000)
		}
		answer(w, page)
	})
	mux.HandleFunc("GET /iot-devices/v1/registries/home", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"id": "home", "name": "home", "status": "ACTIVE", "createdAt": time.Now()})
	})
	mux.HandleFunc("GET /tap", streamCrowd)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &managed{api: strings.TrimPrefix(server.URL, "http://")}
}

// streamCrowd sends messages and, each as a whole, their ways, as the tap does.
func streamCrowd(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	const every = 100 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; {
		var messages, ways []any
		now := time.Now()
		for range int(crowdRate * every / time.Second) {
			n++
			id := fmt.Sprintf("event-%d", n)
			payload := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"temperature": %d.5, "humidity": 40, "ok": true}`, n%90))
			m := map[string]any{
				"event_metadata": map[string]any{"event_id": id, "event_type": "message", "created_at": now},
				"details":        map[string]any{"registry_id": "home", "device_id": fmt.Sprintf("device-%d", n%crowdDevices), "mqtt_topic": fmt.Sprintf("$devices/device-%d/events", n%crowdDevices), "payload": payload},
				"stream":         "telemetry", "payload_bytes": 50,
			}
			var steps []any
			for _, step := range []string{"received", "batched", "encoded", "broadcast", "written", "acknowledged"} {
				steps = append(steps, map[string]any{
					"step": step, "at": now, "stream": "telemetry", "messages": 10, "connections": 10_000,
					"gateway": "main", "path": "/telemetry", "first": now, "last": now,
				})
			}
			messages, ways = append(messages, m), append(ways, map[string]any{"event_id": id, "done": true, "message": m, "steps": steps})
		}
		data, _ := json.Marshal(map[string]any{"messages": messages, "ways": ways})
		if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// crowdTime is how long frames are measured for, in milliseconds. With CONSOLE_FRAMES=5000 it is long enough for a figure.
func crowdTime(t *testing.T) int {
	text := cmp.Or(os.Getenv("CONSOLE_FRAMES"), "500")
	ms, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("CONSOLE_FRAMES: %v", err)
	}
	return ms
}

// A crowd can be looked at. How long frames are, the log says: -v.
func TestConsoleOfACrowd(t *testing.T) {
	m := serveCrowd(t)
	c := openConsole(t, "consoleviews.mjs", m)
	frames := func(what string, with args) {
		t.Helper()
		var measured map[string]float64
		with["ms"] = crowdTime(t)
		c.do("frames", with, &measured)
		printFrames(t, what, measured)
	}

	c.do("open", args{"address": "#/connections"})
	frames("10,000 connections, as they are loaded", args{})
	c.do("count", args{"text": "10,000 connections"})
	frames("10,000 connections, scrolled and searched", args{"scroll": true, "search": args{"label": "Search in all columns", "text": "user-12"}})
	c.do("press", args{"button": "Dropped"})
	frames("10,000 connections, sorted and refreshed", args{"scroll": true})
	c.do("shot", args{"name": "crowd-connections"})

	c.do("open", args{"address": "#/devices/home"})
	c.do("count", args{"text": "5,000 devices"})
	frames("5,000 devices with 2,000 messages a second, scrolled and searched", args{"scroll": true, "search": args{"label": "Search for name", "text": "device-12"}})
	c.do("shot", args{"name": "crowd-devices"})

	c.do("open", args{"address": "#/tail"})
	c.see("telemetry")
	frames("2,000 messages a second", args{})
	frames("2,000 messages a second, filtered by text", args{"search": args{"label": "Text in the payload", "text": "temperature"}})
	c.do("shot", args{"name": "crowd-tail"})
}

func printFrames(t *testing.T, what string, frames map[string]float64) {
	t.Helper()
	var all []string
	for name, value := range frames {
		all = append(all, fmt.Sprintf("%s %.1f", name, value))
	}
	slices.Sort(all)
	t.Logf("%s: %s (frames in ms)", what, strings.Join(all, ", "))
}
