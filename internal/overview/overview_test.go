package overview

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// exposed are metrics of a healthy process, with counters as they stand.
func exposed(extra string) string {
	return `# TYPE input_received counter
input_received{path="root.input",stream="telemetry"} 1000
# TYPE input_connection_up counter
input_connection_up{path="root.input",stream="telemetry"} 1
# TYPE websocket_gateway_up gauge
websocket_gateway_up{gateway="main",stream=""} 1
# TYPE websocket_connections gauge
websocket_connections{gateway="main",path="/telemetry",stream=""} 3
` + extra
}

// process is one that an Overview looks at.
type process struct {
	text  atomic.Pointer[string]
	facts atomic.Pointer[Facts]
}

func watched(text string, facts Facts) (*process, *Overview) {
	p := new(process)
	p.set(text, facts)
	return p, Start(Config{
		Metrics: func(context.Context) ([]byte, error) {
			if text := *p.text.Load(); text != "" {
				return []byte(text), nil
			}
			return nil, errors.New("there are none")
		},
		Facts: func(context.Context) Facts { return *p.facts.Load() },
	})
}

func (p *process) set(text string, facts Facts) { p.text.Store(&text); p.facts.Store(&facts) }

func ids(findings []Finding) (all []string) {
	for _, f := range findings {
		all = append(all, f.ID)
	}
	return all
}

// calm is a process in which one trigger runs.
func calm() Facts {
	return Facts{
		Streams: true, Running: map[string]bool{"telemetry": true}, Triggers: map[string]bool{"telemetry": true}, Disconnected: map[string]string{},
		Gateways: map[string]Gateway{"main": {Routes: map[string]RouteFacts{"/telemetry": {QueueBytes: 1000}}}},
	}
}

// A reader gets what there is, each sample once, and is not kept beyond its context.
func TestNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, o := watched(exposed(""), calm())
		defer o.Close()
		synctest.Wait()
		samples, findings, n, err := o.Next(t.Context(), -1)
		if len(samples) != 0 || findings == nil || len(findings) != 0 || err != nil {
			t.Fatalf("at the beginning: %v, %v, %v", samples, findings, err)
		}
		p.set(strings.Replace(exposed(""), " 1000", " 1010", 1), calm())
		samples, findings, n, err = o.Next(t.Context(), n)
		if len(samples) != 1 || err != nil || samples[0].Triggers["telemetry"].Received != 2 || samples[0].Routes["main /telemetry"].Connections != 3 {
			t.Fatalf("the first sample: %+v, %v", samples, err)
		}
		if len(findings) != 0 {
			t.Errorf("a healthy process has %v", findings)
		}
		if samples, _, n, _ = o.Next(t.Context(), n); len(samples) != 1 || samples[0].Triggers["telemetry"].Received != 0 {
			t.Errorf("the second sample: %+v", samples)
		}
		ctx, cancel := context.WithTimeout(t.Context(), Period/2)
		defer cancel()
		if _, _, _, err := o.Next(ctx, n); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next ended with %v", err)
		}
		time.Sleep(2 * time.Hour)
		if samples, _, _, _ := o.Next(t.Context(), -1); len(samples) != kept {
			t.Errorf("after two hours: %d samples", len(samples))
		}
	})
}

// A counter that goes back has begun anew, and one of a stream that was away has not.
func TestCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		facts := calm()
		p, o := watched(exposed(""), facts)
		defer o.Close()
		received := func() figure {
			t.Helper()
			time.Sleep(Period)
			synctest.Wait()
			samples, _, _, _ := o.Next(t.Context(), -1)
			return samples[len(samples)-1].Triggers["telemetry"].Received
		}
		synctest.Wait()
		p.set(strings.Replace(exposed(""), " 1000", " 50", 1), facts)
		if got := received(); got != 10 {
			t.Errorf("begun anew: %v", got)
		}
		paused := calm()
		paused.Running = map[string]bool{}
		p.set(strings.Replace(exposed(""), " 1000", " 50", 1), paused)
		if got := received(); got != 0 {
			t.Errorf("paused: %v", got)
		}
		p.set(strings.Replace(exposed(""), " 1000", " 60", 1), facts)
		if got := received(); got != 2 {
			t.Errorf("resumed: %v", got)
		}
	})
}

// What a stream of a file has given up stands elsewhere than what a trigger has.
func TestGivenUpByStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		facts := calm()
		facts.Triggers = nil
		p, o := watched(exposed(""), facts)
		defer o.Close()
		for _, more := range []string{"", "iot_mqtt_rejected{stream=\"telemetry\"} 2\n"} {
			p.set(exposed(more), facts)
			time.Sleep(Period)
			synctest.Wait()
		}
		_, findings, _, err := o.Next(t.Context(), -1)
		if err != nil || len(findings) != 1 || findings[0].View != "#/message" || !strings.Contains(findings[0].Mend, "below Message") {
			t.Errorf("%v %+v", err, findings)
		}
	})
}

// Each finding is there while something is wrong, has since when, and goes when it is mended.
func TestFindings(t *testing.T) {
	with := func(change func(*Facts)) Facts {
		facts := calm()
		change(&facts)
		return facts
	}
	gateway := func(change func(*Gateway)) Facts {
		return with(func(f *Facts) {
			g := f.Gateways["main"]
			change(&g)
			f.Gateways["main"] = g
		})
	}
	for id, test := range map[string]struct {
		text  string // more metrics
		facts Facts
		want  string // in one of its texts
	}{
		"metrics":                              {"", calm(), "there are none"},
		"start alarms":                         {exposed(""), with(func(f *Facts) { f.Failed = map[string]string{"alarms": "no such path"} }), "no such path"},
		"broker telemetry":                     {exposed(""), with(func(f *Facts) { f.Disconnected["telemetry"] = "not Authorized" }), "not Authorized"},
		"unkept":                               {exposed(""), with(func(f *Facts) { f.Unkept = true }), "state_dir"},
		"unwritten":                            {exposed(""), with(func(f *Facts) { f.Unwritten = "no space left on device" }), "no space left"},
		"open":                                 {exposed(""), with(func(f *Facts) { f.Open = "0.0.0.0:1" }), "0.0.0.0:1"},
		"node b":                               {exposed(""), with(func(f *Facts) { f.Unreachable = []string{"b"} }), "does not answer"},
		"gateway main":                         {exposed(""), gateway(func(g *Gateway) { g.Failed = "stopped listening" }), "stopped listening"},
		"connections main":                     {exposed(""), gateway(func(g *Gateway) { g.Connections, g.MaxConnections = 9, 10 }), "9 of the 10"},
		"lag telemetry":                        {exposed("iot_mqtt_oldest_unacked_seconds{stream=\"telemetry\"} 90\n"), calm(), "90 s"},
		"queue main\n/telemetry":               {exposed("websocket_queued_bytes{gateway=\"main\",path=\"/telemetry\"} 950\n"), calm(), "950 of 1000"},
		"failed telemetry":                     {exposed("output_error{stream=\"telemetry\"} 1\n"), calm(), "once"},
		"given up telemetry":                   {exposed("iot_mqtt_rejected{stream=\"telemetry\"} 2\n"), calm(), "2 messages"},
		"dropped telemetry":                    {exposed("iot_mqtt_dropped{stream=\"telemetry\"} 2\n"), calm(), "2 messages"},
		"session telemetry":                    {exposed("iot_mqtt_session_lost{stream=\"telemetry\"} 1\n"), calm(), "session"},
		"nobody telemetry":                     {exposed("websocket_broadcast_no_connections{stream=\"telemetry\"} 4\n"), calm(), "No connection"},
		"accept main":                          {exposed("websocket_accept_failed{gateway=\"main\"} 4\n"), calm(), "4 times"},
		"slow main\n/telemetry":                {exposed("websocket_closed{gateway=\"main\",path=\"/telemetry\",reason=\"slow_consumer\"} 2\n"), calm(), "2 connections were closed for being slow on main /telemetry"},
		"left out main\n/telemetry":            {exposed("websocket_dropped{gateway=\"main\",path=\"/telemetry\"} 2\nwebsocket_gaps{gateway=\"main\",path=\"/telemetry\",reason=\"slow_consumer\"} 1\n"), calm(), "told of one gap"},
		"gap main\n/telemetry":                 {exposed("websocket_gaps{gateway=\"main\",path=\"/telemetry\",reason=\"history\"} 3\n"), calm(), "3 gaps"},
		"refused main\n/telemetry\norigin":     {exposed("websocket_handshakes{gateway=\"main\",path=\"/telemetry\",status=\"403\",reason=\"origin\"} 2\n"), calm(), "allowed_origins"},
		"refused main\n\npath":                 {exposed("# TYPE websocket_handshakes counter\nwebsocket_handshakes{gateway=\"main\",path=\"\",status=\"404\",reason=\"path\"} 1\n"), calm(), "no such route"},
		"handler main\n/telemetry\non_message": {exposed("websocket_handler_errors{gateway=\"main\",path=\"/telemetry\",handler=\"on_message\"} 1\n"), calm(), "on_message"},
	} {
		t.Run(id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, o := watched(exposed(""), calm())
				defer o.Close()
				look := func(after time.Duration) []Finding {
					time.Sleep(after)
					synctest.Wait()
					_, findings, _, _ := o.Next(t.Context(), -1)
					return findings
				}
				look(Period)
				p.set(test.text, test.facts)
				found := look(Period)
				if got := ids(found); !slices.Equal(got, []string{strings.ReplaceAll(id, "\n", " ")}) {
					t.Fatalf("found %q", got)
				}
				f := found[0]
				if !strings.Contains(f.What+f.Why+f.Mend, test.want) || f.What == "" || f.Mend == "" {
					t.Errorf("it says %+v", f)
				}
				if later := look(Period); len(later) != 1 || !later[0].Since.Equal(f.Since) {
					t.Errorf("later: %+v", later)
				}
				// What was counted stays so, and is forgotten after five minutes.
				if test.text != "" {
					p.set(strings.NewReplacer(" 90\n", " 0\n", " 950\n", " 0\n").Replace(test.text), calm())
				} else {
					p.set(exposed(""), calm())
				}
				if after := look(6 * time.Minute); len(after) != 0 {
					t.Errorf("mended: %+v", after)
				}
			})
		})
	}
}

// The worst comes first.
func TestOrder(t *testing.T) {
	found := find(nil, errors.New("none"), nil, nil, Facts{Unkept: true, Failed: map[string]string{"b": "", "a": ""}})
	if got := ids(found); !slices.Equal(got, []string{"start a", "start b", "metrics", "unkept"}) {
		t.Errorf("%q", got)
	}
}

// A removed gateway is nothing wrong, nor what its routes were.
func TestRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		facts := calm()
		facts.Gateways = map[string]Gateway{}
		_, o := watched(strings.Replace(exposed(""), "websocket_gateway_up{gateway=\"main\",stream=\"\"} 1", "websocket_gateway_up{gateway=\"main\",stream=\"\"} 0", 1), facts)
		defer o.Close()
		time.Sleep(Period)
		synctest.Wait()
		samples, findings, _, _ := o.Next(t.Context(), -1)
		if len(samples) != 1 || len(samples[0].Routes) != 0 || len(findings) != 0 {
			t.Errorf("%+v, %+v", samples, findings)
		}
	})
}

// many are the metrics of a process with n triggers and n routes, of which the first has a number of its own.
func many(n, first int) string {
	var b strings.Builder
	for _, name := range []string{
		"input_received", "output_sent", "output_error", "iot_mqtt_rejected", "iot_mqtt_dropped",
		"iot_mqtt_unacked", "input_connection_up", "processor_received", "processor_sent", "batch_created",
	} {
		fmt.Fprintf(&b, "# TYPE %s counter\n", name)
		for i := range n {
			fmt.Fprintf(&b, "%s{label=\"\",path=\"root.input\",stream=\"trigger-%d\"} %d\n", name, i+first, i)
		}
	}
	for _, name := range []string{"websocket_connections", "websocket_messages", "websocket_deliveries", "websocket_bytes", "websocket_dropped", "websocket_queued_bytes"} {
		fmt.Fprintf(&b, "# TYPE %s counter\n", name)
		for i := range n {
			fmt.Fprintf(&b, "%s{gateway=\"main\",path=\"/path-%d\",stream=\"\"} %d\n", name, i+first, i)
		}
	}
	fmt.Fprint(&b, "# TYPE websocket_closed counter\n")
	for i := range n {
		for _, reason := range []string{
			"closed_by_client", "slow_consumer", "connection_lost", "idle_timeout", "invalid_utf8",
			"max_lifetime", "message_too_big", "ping_timeout", "protocol_error", "shutdown", "token_expired",
		} {
			fmt.Fprintf(&b, "websocket_closed{gateway=\"main\",path=\"/path-%d\",reason=%q,stream=\"\"} %d\n", i+first, reason, i)
		}
	}
	return b.String()
}

// However many triggers and routes come and go, a bounded number is kept, and none is left out of the sum.
func TestBounds(t *testing.T) {
	h := newHistory()
	for round := range 5 {
		now, err := read([]byte(many(200, 1000*round)))
		if err != nil {
			t.Fatal(err)
		}
		s := sampleOf(now, now, nil, time.Now(), Period)
		connections := figure(0)
		for _, r := range s.Routes {
			connections += r.Connections
		}
		if len(s.Triggers) != maxSeries || len(s.Routes) != maxSeries || connections != 199*200/2 {
			t.Errorf("%d triggers, %d routes, %v connections", len(s.Triggers), len(s.Routes), connections)
		}
		h.add(s)
		if len(h.triggers) != maxSeries || len(h.routes) != maxSeries {
			t.Errorf("%d and %d are kept", len(h.triggers), len(h.routes))
		}
	}
}

func BenchmarkSample(b *testing.B) {
	text := many(50, 0)
	o := &Overview{
		cfg: Config{
			Metrics: func(context.Context) ([]byte, error) { return []byte(text), nil },
			Facts:   func(context.Context) Facts { return Facts{} },
		},
		connected: map[string]bool{}, recent: recent{}, since: map[string]time.Time{}, history: newHistory(), news: make(chan struct{}),
	}
	at := time.Now()
	for b.Loop() {
		o.take(b.Context(), at)
		at = at.Add(Period)
	}
	b.ReportMetric(float64(strings.Count(text, "\n")), "lines")
}

// BenchmarkHour is the memory of an hour.
func BenchmarkHour(b *testing.B) {
	now, _ := read([]byte(many(50, 0)))
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		h := newHistory()
		for range kept {
			h.add(sampleOf(now, now, nil, time.Now(), Period))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
		runtime.KeepAlive(h)
	}
}
