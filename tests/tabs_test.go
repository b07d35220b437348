package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// tabs are those of one browser.
type tabs struct {
	t     *testing.T
	stdin io.Writer
	all   map[string]*feed
}

func startTabs(t *testing.T, names ...string) *tabs {
	t.Helper()
	p, stdin, events := converse(t, "tabs", exec.Command(toolPath("node"), "clients/tabs.mjs", toolPath("chromium")))
	b := &tabs{t: t, stdin: stdin, all: map[string]*feed{}}
	for _, name := range names {
		b.all[name] = &feed{process: p, t: t, name: "tab " + name}
	}
	go func() {
		in := bufio.NewScanner(events)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			e := readFeedEvent(in.Bytes())
			if f := b.all[e.Tab]; f != nil {
				f.add(e)
			}
		}
	}()
	return b
}

type fields = map[string]any

// do has one tab do what the fields say.
func (b *tabs) do(tab string, what fields) {
	b.t.Helper()
	what["tab"] = tab
	line, err := json.Marshal(what)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.stdin.Write(append(line, '\n')); err != nil {
		b.t.Fatal(err)
	}
}

// open opens a tab with a page of one host, and the client of another.
func (b *tabs) open(tab, page, module, url string, options fields) *feed {
	b.t.Helper()
	more := fields{"backoff": fields{"min": 50, "max": 200}}
	for name, value := range options {
		more[name] = value
	}
	b.do(tab, fields{"page": "http://" + page, "module": "http://" + module, "url": url, "options": more})
	b.all[tab].wait("open", 1)
	return b.all[tab]
}

// The tabs of a browser share one connection where they ask for the same, and each gets every
// message once, in order: while tabs come and go, the network is cut, and one begins to choose
// for itself. What cannot share has a connection of its own.
func TestTabsShareAConnection(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := newIotcast(t)
	cast.launchWithHistory("max_messages: 100000 }, watch: {}, latest: { by: topic", trigger(b, "broker_id: factory\nbatching: { count: 3, period: 20ms }", ""), "viewer: /live/")
	n := startProxy(t, cast.gateway)
	other := startFakeGateway(t)
	connections := func(opened, open float64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%v connections were opened, and %v are open", opened, open), func() bool {
			return cast.metric("websocket_handshakes", `status="101"`) == opened && cast.metric("websocket_closed", "") == opened-open
		})
	}

	stop, last := make(chan struct{}), make(chan int)
	defer func() {
		if stop != nil {
			close(stop)
			<-last
		}
	}()
	go func() {
		client := b.publisher()
		pace := time.NewTicker(10 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ; i++ {
			<-pace.C
			client.Publish("hall/press", 1, false, strconv.Itoa(i)).Wait()
			select {
			case <-stop:
				last <- i
				return
			default:
			}
		}
	}()

	const url = "ws://%s/telemetry"
	browser := startTabs(t, "a", "b", "c", "d", "e", "f")
	open := func(name string, options fields) *feed {
		return browser.open(name, n.Addr()+"/live/iotcast.js", n.Addr()+"/live", fmt.Sprintf(url, n.Addr()), options)
	}
	shared := []*feed{open("a", nil), open("b", nil), open("c", nil)}
	connections(3, 1)

	n.Cut()
	for _, f := range shared {
		f.wait("waiting", 1)
	}
	n.Mend()
	for _, f := range shared {
		f.wait("open", 2)
	}
	connections(6, 1)

	browser.do("a", fields{"close": true})
	d := open("d", fields{"token": "another"})
	connections(7, 2)
	// A page of another origin than the module, and one without the worker beside it.
	e := browser.open("e", other.addr, cast.gateway+"/live", cast.url("/telemetry"), nil)
	f := browser.open("f", other.addr, other.addr, cast.url("/telemetry"), nil)
	connections(9, 4)

	browser.do("c", fields{"watch": fields{"topics": []string{"hall/+"}}})
	browser.all["c"].wait("watch", 1)
	connections(10, 5)
	before := browser.all["b"].count("message")
	browser.all["b"].wait("message", before+100)

	close(stop)
	end := <-last
	stop = nil
	for _, f := range []*feed{browser.all["b"], browser.all["c"], d, e, f} {
		eventually(t, f.name+" has the last message", func() bool {
			all := f.told()
			return all[len(all)-1].Text == strconv.Itoa(end)
		})
		for _, event := range f.told() {
			if event.Event == "message" {
				f.mustTell(event.Text + "-" + strconv.Itoa(end))
				break
			}
		}
	}
	for _, e := range browser.all["b"].told() {
		if e.Event == "watch" {
			t.Errorf("tab b got the answer to another tab: %+v", e)
		}
	}
	browser.do("b", fields{"close": true})
	connections(10, 4)
}
