// Command feed follows a path with iotcast's client for Go: feed URL OPTIONS
//
// It takes the same options and lines of input, and prints the same, as feed.mjs.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/plugins/feed"
)

type line struct {
	Event   string `json:"event"`
	ID      string `json:"id,omitempty"`
	Text    string `json:"text,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Dropped int    `json:"dropped,omitempty"`
	Code    int    `json:"code,omitempty"`
}

func emit(l line) {
	text, _ := json.Marshal(l)
	_, _ = os.Stdout.Write(append(text, '\n'))
}

func main() {
	var options struct {
		TokenURL  string                   `json:"tokenURL"`
		Backoff   struct{ Min, Max int64 } `json:"backoff"`
		Heartbeat int64                    `json:"heartbeat"`
		DeviceIDs []string                 `json:"device_ids"`
		Format    string                   `json:"payload_format"`
		Topics    []string                 `json:"topics"`
	}
	if err := json.Unmarshal([]byte(os.Args[2]), &options); err != nil {
		emit(line{Event: "error", Text: err.Error()})
		return
	}
	o := feed.Options{
		Choice:    feed.Choice{DeviceIDs: options.DeviceIDs, Topics: options.Topics},
		JSON:      options.Format == "json",
		Heartbeat: ms(options.Heartbeat), MinWait: ms(options.Backoff.Min), MaxWait: ms(options.Backoff.Max),
	}
	if options.TokenURL != "" {
		o.Token = func(ctx context.Context) (string, error) { return get(ctx, options.TokenURL) }
	}
	f, err := feed.New(os.Args[1], o)
	if err != nil {
		emit(line{Event: "error", Text: err.Error()})
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		follow(ctx, f)
	}()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "close" {
			cancel()
			continue
		}
		var choice feed.Choice
		if err := json.Unmarshal(in.Bytes(), &choice); err != nil {
			emit(line{Event: "error", Text: err.Error()})
		}
		_ = f.Choose(ctx, choice)
	}
	cancel()
	<-ended
}

func follow(ctx context.Context, f *feed.Feed) {
	for event, err := range f.Events(ctx) {
		if refused := (*feed.RefusedError)(nil); errors.As(err, &refused) {
			emit(line{Event: "refused", Code: refused.Status, Reason: err.Error()})
			return
		} else if err != nil {
			emit(line{Event: "closed"})
			return
		}
		switch e := event.(type) {
		case feed.Message:
			payload, err := e.Payload()
			if err != nil {
				emit(line{Event: "error", Text: err.Error()})
			}
			emit(line{Event: "message", ID: e.EventID, Text: string(payload)})
		case feed.Gap:
			emit(line{Event: "gap", Reason: e.Reason, Dropped: e.Dropped})
		case feed.Connected:
			emit(line{Event: "open"})
		case feed.Lost:
			code := websocket.CloseStatus(e.Err)
			if code < 0 {
				code = websocket.StatusAbnormalClosure
			}
			emit(line{Event: "waiting", Code: int(code), Reason: e.Err.Error()})
		case feed.Watching:
			emit(line{Event: "watching", Text: strings.Join(append(e.DeviceIDs, e.Topics...), " ")})
		case feed.ChoiceRefused:
			emit(line{Event: "choice_refused", Reason: e.Message})
		}
	}
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func get(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}
