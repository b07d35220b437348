package tests

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const headerConnectionID = "X-Yc-Apigateway-Websocket-Connection-Id"

// client is a WebSocket client of some make and what has happened to it.
type client struct {
	t    *testing.T
	name string
	send func(command) error

	mu       sync.Mutex
	opened   bool
	id       string // connection ID, from the header of the 101
	messages []received
	closed   *event
	failed   string
	paused   bool
}

type received struct {
	text   string
	binary bool
	at     time.Time
}

// event is what client programs print, one a line.
type event struct {
	Event  string `json:"event"` // open, message, close, error, paused
	ID     string `json:"id"`
	Data   string `json:"data"`
	Binary bool   `json:"binary"`
	Code   int    `json:"code"`
	Reason string `json:"reason"`
	Error  string `json:"error"`
}

// command is what client programs obey, one a line.
type command struct {
	Send  int   `json:"send,omitempty"` // a message of so many bytes
	Pause *bool `json:"pause,omitempty"`
}

// connectAll connects a client of each make.
func connectAll(t *testing.T, url string) []*client {
	t.Helper()
	all := []*client{connectWS(t, url), connectPython(t, url), connectGo(t, url)}
	for _, c := range all {
		c.waitOpen()
	}
	return all
}

// connectWS starts the npm package's client.
func connectWS(t *testing.T, url string) *client {
	t.Helper()
	return startClient(t, "ws", exec.Command(toolPath("node"), "clients/ws.mjs", url))
}

// connectPython starts the Python library's client.
func connectPython(t *testing.T, url string) *client {
	t.Helper()
	return startClient(t, "python", exec.Command(python, "clients/websockets_client.py", url))
}

func startClient(t *testing.T, name string, cmd *exec.Cmd) *client {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	events, w := io.Pipe()
	cmd.Stdout = w
	commands := json.NewEncoder(stdin)
	c := &client{t: t, name: name, send: func(cmd command) error { return commands.Encode(cmd) }}
	p := start(t, name, cmd)
	go func() {
		<-p.done
		w.Close()
	}()
	go func() {
		in := bufio.NewReaderSize(events, 1<<20)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			var e event
			if err := json.Unmarshal(line, &e); err != nil {
				e = event{Event: "error", Error: fmt.Sprintf("unreadable line %.200q: %v", line, err)}
			}
			c.record(e)
		}
	}()
	return c
}

// connectGo connects coder/websocket's client.
func connectGo(t *testing.T, url string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, res, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		t.Fatalf("connecting the Go client: %v", err)
	}
	ws.SetReadLimit(-1)
	c := &client{t: t, name: "go", send: func(cmd command) error {
		return ws.Write(context.Background(), websocket.MessageText, make([]byte, cmd.Send))
	}}
	c.record(event{Event: "open", ID: res.Header.Get(headerConnectionID)})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			kind, data, err := ws.Read(context.Background())
			if err != nil {
				c.record(closing(err))
				return
			}
			c.record(event{Event: "message", Data: string(data), Binary: kind == websocket.MessageBinary})
		}
	}()
	t.Cleanup(func() {
		_ = ws.CloseNow()
		<-done
	})
	return c
}

func closing(err error) event {
	var ce websocket.CloseError
	if errors.As(err, &ce) {
		return event{Event: "close", Code: int(ce.Code), Reason: ce.Reason}
	}
	return event{Event: "close", Code: int(websocket.StatusAbnormalClosure), Reason: err.Error()}
}

func (c *client) record(e event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e.Event {
	case "open":
		c.opened, c.id = true, e.ID
	case "message":
		c.messages = append(c.messages, received{text: e.Data, binary: e.Binary, at: time.Now()})
	case "close":
		c.closed = &e
	case "paused":
		c.paused = true
	default:
		c.failed += e.Error + "\n"
	}
}

// wait waits for something to become true of the client.
func (c *client) wait(what string, ok func() bool) {
	c.t.Helper()
	eventually(c.t, c.name+" client: "+what, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return ok()
	})
}

func (c *client) waitOpen() {
	c.t.Helper()
	c.wait("connected", func() bool {
		if c.failed != "" {
			c.t.Fatalf("%s client: %s", c.name, c.failed)
		}
		return c.opened
	})
}

// waitMessages waits for at least n WebSocket messages and returns all.
func (c *client) waitMessages(n int) []received {
	c.t.Helper()
	c.wait(fmt.Sprintf("%d messages", n), func() bool { return len(c.messages) >= n })
	return c.received()
}

// received is all that has arrived.
func (c *client) received() []received {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]received(nil), c.messages...)
}

// waitClosed waits for the end of the connection, and expects this code.
func (c *client) waitClosed(code int) {
	c.t.Helper()
	c.wait("closed", func() bool { return c.closed != nil })
	if got := c.end(); got.Code != code {
		c.t.Errorf("%s client: closed with %d %q, want %d", c.name, got.Code, got.Reason, code)
	}
}

// end is how the connection ended, nil while it is open.
func (c *client) end() *event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// mustBeOpen fails if the connection has ended.
func (c *client) mustBeOpen() {
	c.t.Helper()
	if e := c.end(); e != nil {
		c.t.Errorf("%s client: closed with %d %q, and should be open", c.name, e.Code, e.Reason)
	}
}

// do sends the client a command.
func (c *client) do(cmd command) {
	c.t.Helper()
	if err := c.send(cmd); err != nil {
		c.t.Fatalf("%s client: %v", c.name, err)
	}
}
