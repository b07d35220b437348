package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// browserPage is a page in a browser, driven step by step, see clients/viewerpage.mjs.
type browserPage struct {
	t     *testing.T
	stdin io.WriteCloser
	out   *bufio.Reader
}

func openBrowser(t *testing.T, url string) *browserPage {
	t.Helper()
	dir := filepath.Dir(screenshot)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, stdin, out := converse(t, "browser", exec.Command(toolPath("node"), "clients/viewerpage.mjs", toolPath("chromium"), dir))
	p := &browserPage{t: t, stdin: stdin, out: bufio.NewReader(out)}
	p.do("goto", url)
	t.Cleanup(func() {
		if t.Failed() {
			p.do("shot", "failed-"+strings.ReplaceAll(t.Name(), "/", "-"))
		}
	})
	return p
}

// do takes a step, and returns what came of it in JSON.
func (p *browserPage) do(step ...any) json.RawMessage {
	p.t.Helper()
	line, err := json.Marshal(step)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		p.t.Fatal(err)
	}
	answer, err := p.out.ReadBytes('\n')
	if err != nil {
		p.t.Fatalf("the browser has ended: %v", err)
	}
	var a struct {
		Value json.RawMessage
		Error string
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		p.t.Fatalf("answer of the browser %.300q: %v", answer, err)
	}
	if a.Error != "" {
		p.t.Errorf("%v: %s", step, a.Error)
		p.t.FailNow()
	}
	return a.Value
}

func (p *browserPage) wait(expression string) { p.t.Helper(); p.do("wait", expression) }

func (p *browserPage) text(expression string) (s string) {
	p.t.Helper()
	if err := json.Unmarshal(p.do("eval", expression), &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *browserPage) strings(step ...any) (all []string) {
	p.t.Helper()
	if err := json.Unmarshal(p.do(step...), &all); err != nil {
		p.t.Fatal(err)
	}
	return all
}

// inOrder says that nothing went wrong in the page, and that axe finds nothing.
func (p *browserPage) inOrder() {
	p.t.Helper()
	for _, e := range p.strings("errors") {
		p.t.Errorf("in the browser: %s", e)
	}
	for _, v := range p.strings("axe") {
		p.t.Errorf("axe: %s", v)
	}
}

const (
	isLive       = `document.body.dataset.state === 'live'`
	rowsOfTail   = `document.querySelectorAll('#messages tbody tr:not(.gap)').length`
	namesInTable = `[...document.querySelectorAll('#readings tbody tr:not(.gap) th')].map(th => th.textContent).join()`
	headsInTable = `[...document.querySelectorAll('#readings thead th')].map(th => th.textContent).join()`
)

func onDevice(name, payload string) message {
	return message{topic: "$devices/" + name + "/events", payload: []byte(payload)}
}

// A page on a route with history begins with that, and shows what devices send in many ways. What is looked for holds for
// charts, readings and messages; pause holds while that changes, and all of it can be done by keyboard.
func TestViewerShows(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := newIotcast(t)
	cast.launchWithHistory("max_messages: 1000", trigger(b, "registry_id: plant", ""), "viewer: /")
	nested := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	b.publish(1,
		onDevice("oven", `{"temperature":21.5,"door":true,"state":"heating","text":"22.5","inner":{"more":{"deep":7}},"ts":1767225600}`),
		onDevice("cellar", `[{"bn":"urn:dev:ow:1:","bt":1.7e9,"bu":"Cel","n":"senml","v":9.5},{"n":"open","vb":false}]`),
		onDevice("deep", nested),
		onDevice("plain", "out of order"),
	)
	eventually(t, "the history holds all", func() bool { return cast.metric("websocket_history_messages", `path="/telemetry"`) == 4 })
	p := openBrowser(t, "http://"+cast.gateway+"/?path=/telemetry")
	p.wait(isLive + ` && document.body.dataset.messages === '4'`)
	p.wait(namesInTable + ` === 'cellar,deep,oven,plain'`)
	for _, want := range []string{"temperature", "door", "state", "text", "inner.more.deep"} {
		p.do("fill", "#find", "oven")
		p.wait(headsInTable + `.includes(` + fmt.Sprintf("%q", want) + `)`)
	}
	p.do("fill", "#find", "")
	const panels = `[...document.querySelectorAll('.panel h2')].map(h => h.textContent).sort().join() === 'inner.more.deep,senml (Cel),temperature,text'`
	p.wait(panels)
	p.do("shot", "viewer-values")

	// It begins anew, as with another route: nothing says that there are no numbers while the charts of these are to come.
	p.do("eval", `window.denials = 0;
const empty = document.querySelector('#empty');
new MutationObserver(() => { denials += !empty.hidden && /^Nothing/.test(empty.querySelector('h2').textContent); })
	.observe(empty, { attributes: true, childList: true, characterData: true, subtree: true });
document.querySelector('#route').dispatchEvent(new Event('change'));`)
	p.wait(isLive + ` && document.body.dataset.messages === '4' && ` + panels)
	if n := string(p.do("eval", `denials`)); n != "0" {
		t.Errorf("the page said %s times that there is nothing to chart", n)
	}

	// One filter for all.
	p.do("fill", "#find", "cellar")
	p.wait(namesInTable + ` === 'cellar' && ` + rowsOfTail + ` === 1 && document.querySelectorAll('.panel').length === 1`)
	p.do("click", "#messages .pause")
	p.do("fill", "#find", "")
	b.publish(1, onDevice("oven", `{"temperature":23}`))
	p.wait(`document.body.dataset.messages === '5'`)
	p.wait(`/1 passed/.test(document.querySelector('#messages .pause').textContent) && ` + rowsOfTail + ` === 4`)
	p.do("click", "#messages .pause")
	b.publish(1, onDevice("oven", `{"temperature":24}`))
	p.wait(rowsOfTail + ` === 5`)

	// By keyboard: only one, a message in full, and back.
	p.do("eval", `document.querySelector('#readings tbody tr:nth-child(4) button').focus()`)
	p.do("press", "Enter")
	p.wait(`!document.querySelector('#only').hidden && ` + namesInTable + ` === 'oven'`)
	p.do("eval", `document.querySelector('#messages tbody tr:nth-child(2) button').focus()`)
	p.do("press", "Enter")
	p.wait(`/24/.test(document.querySelector('dialog[open] pre').textContent)`)
	p.inOrder()
	p.do("shot", "viewer-message")
	p.do("press", "Escape")
	p.wait(`!document.querySelector('dialog') && document.activeElement.closest('#messages')`)
	p.do("eval", `document.querySelector('#only').focus()`)
	p.do("press", "Enter")
	p.wait(`document.querySelector('#only').hidden && document.activeElement.id === 'find'`)
	p.wait(rowsOfTail + ` === 5`)
	p.do("eval", `document.querySelector('.plot').focus()`)
	p.do("press", "ArrowLeft")
	p.wait(`/now: /.test(document.activeElement.ariaValueText)`)

	var lines string
	if err := json.Unmarshal(p.do("download", "#messages button:nth-last-child(2)"), &lines); err != nil || strings.Count(lines, "\n") != 5 || !strings.Contains(lines, `"device_id":"oven"`) {
		t.Errorf("JSON lines: %v, %.200q", err, lines)
	}
	var sheet string
	if err := json.Unmarshal(p.do("download", "#messages button:nth-last-child(1)"), &sheet); err != nil || !strings.HasPrefix(sheet, "created_at,device_id,") || !strings.Contains(sheet, `"{""temperature"":24}"`) {
		t.Errorf("CSV: %v, %.200q", err, sheet)
	}

	// Colours stay with a name.
	const colours = `[...document.querySelectorAll('#legend button')].map(b => b.title + b.firstChild.style.cssText).sort().join()`
	p.wait(`document.querySelectorAll('#legend button').length === 2 || document.querySelectorAll('#legend button').length === 3`)
	before := p.text(colours)
	p.do("goto", "http://"+cast.gateway+"/?path=/telemetry")
	p.wait(colours + ` === ` + fmt.Sprintf("%q", before))

	for _, appears := range []struct {
		width  int
		scheme string
	}{{390, "light"}, {768, "dark"}, {1280, "light"}, {1920, "dark"}} {
		p.do("media", map[string]string{"colorScheme": appears.scheme})
		p.do("size", appears.width, 1000)
		p.wait(`document.querySelectorAll('.panel').length > 0 && ` + rowsOfTail + ` > 0`)
		p.do("shot", fmt.Sprintf("viewer-%s-%d", appears.scheme, appears.width))
		if wide := string(p.do("eval", "document.documentElement.scrollWidth > innerWidth")); wide != "false" {
			t.Errorf("at %d px the page is wider than its window", appears.width)
		}
		p.inOrder()
	}
	p.do("size", 640, 500) // 1280 px at 200 %
	p.do("media", map[string]string{"forcedColors": "active", "reducedMotion": "reduce", "colorScheme": "dark"})
	p.inOrder()
	p.do("shot", "viewer-forced")
}

// A route with tokens asks for one, says why it is refused and when it has expired, and goes on where it was.
func TestViewerAsksForToken(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123456789abcdef"
	for name, tokens := range map[string]string{
		"subprotocol": `tokens: { secret: "` + secret + `", query_parameter: "", subprotocol_prefix: "bearer." }`,
		"query":       `tokens: { secret: "` + secret + `", query_parameter: access_token }`,
	} {
		t.Run(name, func(t *testing.T) {
			b := startMosquitto(t)
			cast := newIotcast(t)
			cast.launchWithHistory("max_messages: 1000 }, "+strings.TrimSuffix(tokens, " }"), trigger(b, "registry_id: plant", ""), "viewer: /")
			p := openBrowser(t, "http://"+cast.gateway+"/?path=/telemetry")
			heading := func(want string) {
				t.Helper()
				p.wait(fmt.Sprintf(`!document.querySelector('#token').hidden && document.querySelector('#token h2').textContent.includes(%q)`, want))
			}
			give := func(token string) {
				t.Helper()
				p.do("fill", "#secret", token)
				p.do("press", "Enter")
			}
			heading("needs a token")
			give("  ")
			p.wait(`!document.querySelector('#lacks').hidden && document.activeElement.id === 'secret'`)
			p.inOrder()
			p.do("shot", "viewer-token-"+name)
			give("nonsense")
			heading("The token is refused")
			give(jwt(secret, 4*time.Second))
			p.wait(isLive)
			b.publish(1, onDevice("oven", `{"temperature":1}`))
			p.wait(`document.body.dataset.messages === '1'`)
			heading("The token has expired")
			b.publish(1, onDevice("oven", `{"temperature":2}`))
			give(jwt(secret, time.Hour))
			p.wait(isLive + ` && document.body.dataset.messages === '2' && document.body.dataset.gaps === '0'`)
			var at string
			if err := json.Unmarshal(p.do("url"), &at); err != nil || strings.Contains(at, "token") {
				t.Errorf("the page is at %q", at)
			}
			if kept := p.text(`JSON.stringify([{...localStorage}, {...sessionStorage}, document.querySelector('#secret').value])`); kept != `[{},{},""]` {
				t.Errorf("the page keeps %s", kept)
			}
		})
	}
}

// Behind a proxy that has the gateway below a prefix the page connects below that, too; and it says when the line is dead.
func TestViewerBehindProxy(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := newIotcast(t)
	cast.launchWithHistory("max_messages: 1000", trigger(b, "registry_id: plant", ""), "viewer: /live")
	n := startProxy(t, cast.gateway)
	front := httptest.NewServer(http.StripPrefix("/iot", httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: n.Addr()})))
	t.Cleanup(front.Close)
	p := openBrowser(t, front.URL+"/iot/live?path=/telemetry")
	p.wait(isLive)
	b.publish(1, onDevice("oven", `{"temperature":1}`))
	p.wait(`document.body.dataset.messages === '1'`)
	n.Swallow()
	p.wait(`document.body.dataset.state !== 'live' && /sign of life/.test(document.querySelector('#notice').textContent)`)
	p.do("shot", "viewer-dead-link")
	b.publish(1, onDevice("oven", `{"temperature":2}`))
	n.Mend()
	p.wait(isLive + ` && document.body.dataset.messages === '2' && document.body.dataset.gaps === '0'`)
	p.inOrder()
}

// tlsFront is a proxy that ends TLS before an address, with HTTP/2 for all but WebSockets, and returns its address.
func tlsFront(t *testing.T, addr string) string {
	t.Helper()
	front := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr}))
	front.EnableHTTP2 = true
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // browsers try a certificate that they do not know, and then trust it
	front.StartTLS()
	t.Cleanup(front.Close)
	return front.Listener.Addr().String()
}

// Behind a proxy that ends TLS the page connects by wss, which its policy allows as it does what is its own.
func TestViewerBehindTLS(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := newIotcast(t)
	cast.launchWithHistory("max_messages: 1000", trigger(b, "registry_id: plant", ""), "viewer: /")
	p := openBrowser(t, "https://"+tlsFront(t, cast.gateway)+"/?path=/telemetry")
	p.wait(isLive)
	b.publish(1, onDevice("oven", `{"temperature":1}`))
	p.wait(`document.body.dataset.messages === '1'`)
	p.inOrder()
}

// What the notice says is said to who does not see it, and once.
func TestViewerSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := newIotcast(t)
	cast.launchWithHistory("max_messages: 1000", trigger(b, "registry_id: plant", ""), "viewer: /")
	n := startProxy(t, cast.gateway)
	p := openBrowser(t, "http://"+n.Addr()+"/?path=/telemetry")
	p.wait(isLive)
	p.do("eval", `{
		globalThis.said_ = [];
		new MutationObserver(() => globalThis.said_.push(document.querySelector('[role=status].sr').textContent))
			.observe(document.querySelector('[role=status].sr'), { childList: true, characterData: true, subtree: true });
	}`)
	n.Cut()
	p.wait(`document.body.dataset.state === 'reconnecting' && /^No connection/.test(globalThis.said_.at(-1))`)
	n.Mend()
	p.wait(isLive + ` && /^Messages may be missing/.test(globalThis.said_.at(-1))`) // none had come before
	if all := p.text(`JSON.stringify(globalThis.said_)`); strings.Count(all, "No connection") > 2 {
		t.Errorf("it said %s", all)
	}
	p.inOrder()
}

// 5,000 devices at 2,000 messages a second: all can be reached, and the page stays smooth, of which it only tells.
func TestViewerManyDevices(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := newIotcast(t)
	cast.launchWithHistory("max_messages: 1000", trigger(b, "registry_id: plant\nbatching: { count: 100, period: 50ms }", ""), "viewer: /")
	p := openBrowser(t, "http://"+cast.gateway+"/?path=/telemetry")
	p.wait(isLive)
	p.do("eval", `{
		const frames = globalThis.frames_ = []; let last = performance.now();
		const step = at => { frames.push(at - last); last = at; requestAnimationFrame(step); };
		requestAnimationFrame(step);
		globalThis.long_ = [];
		new PerformanceObserver(list => {
			for (const e of list.getEntries()) globalThis.long_.push(Math.round(e.duration));
		}).observe({ type: 'longtask' });
	}`)
	const devices, seconds = 5000, 10
	for second := range seconds {
		began := time.Now()
		var all []message
		for i := range 2000 {
			d := (second*2000 + i) % devices
			all = append(all, onDevice(fmt.Sprintf("dev-%04d", d), fmt.Sprintf(`{"temperature":%d,"on":true}`, d%40+second)))
		}
		for at := 0; at < len(all); at += 100 {
			b.publish(1, all[at:at+100]...)
			time.Sleep(time.Until(began.Add(time.Duration(at+100) * time.Second / 2000))) // the pace that is asked for
		}
	}
	p.wait(`document.body.dataset.messages === '20000' && document.body.dataset.devices === '5000'`)
	p.wait(`document.querySelector('#readings table').ariaRowCount === '5001'`)
	t.Logf("frames: %s", p.text(`{ const f = globalThis.frames_.toSorted((a, b) => a - b); `+
		`[f.length + ' frames', 'median ' + f[f.length >> 1].toFixed(1), '99 % ' + f[Math.floor(f.length * .99)].toFixed(1), 'longest ' + f.at(-1).toFixed(1), 'above 50 ms: ' + f.filter(x => x > 50).length, 'long tasks: ' + globalThis.long_.join(' ')].join(', ') }`))
	p.do("eval", `document.querySelector('#readings .scroll').scrollTop = 1e9`)
	p.wait(namesInTable + `.endsWith('dev-4999')`)
	p.do("fill", "#find", "dev-4321")
	p.wait(namesInTable + ` === 'dev-4321' && document.querySelector('.panel').dataset.lines === '1'`)
	p.do("fill", "#find", "")
	p.do("shot", "viewer-many")
	p.inOrder()
}
