package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/iotcast/iotcast/internal/version"
)

const (
	flagDevice  = "device"
	flagTrigger = "trigger"
	flagRoute   = "route"
	flagText    = "text"
	flagOutput  = "output"

	outputText = "text"
	outputJSON = "json"

	// tapSilence is how long nothing may come: a sign of life comes each 10 s.
	tapSilence = 30 * time.Second
	// maxTapEvent is above what one event of the API can have.
	maxTapEvent = 128 << 20
)

func tapCommand() *cli.Command {
	return &cli.Command{
		Name:  "tap",
		Usage: "Follow messages on their way, until it is interrupted",
		Description: `
Shows each message with its way and times: when it was received, batched, encoded,
broadcast and written to connections, or why it was dropped. Without flags it
shows all; with several, what fits all of them. A message fits --device and
--topic if it fits one of these.

   iotcast tap --device boiler
   iotcast tap --route main/telemetry --output json | jq -c 'select(.way)'

It asks for the role viewer. While nobody follows, nothing is kept.`[1:],
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: flagDevice, Usage: "Messages of the device with this `ID`; several by commas or a flag each"},
			&cli.StringSliceFlag{Name: flagTopics, Aliases: []string{"t"}, Usage: "Messages on the topics of a `filter`; several by commas or a flag each"},
			&cli.StringSliceFlag{Name: flagTrigger, Usage: "Messages of the trigger with this `ID`, or of another stream; several by commas or a flag each"},
			&cli.StringFlag{Name: flagRoute, Usage: "Messages that come to a route, as `GATEWAY/PATH`"},
			&cli.StringFlag{Name: flagText, Usage: "Messages with this `text` in the topic, the device ID or the payload"},
			&cli.StringFlag{Name: flagOutput, Value: outputText, Usage: "Print as `FORMAT`: text, or json, a line for each message that is received and for each way"},
			&cli.IntFlag{Name: flagCount, Aliases: []string{"n"}, Usage: "End after this `number` of ways"},
		}, connectionFlags()...),
		OnUsageError: usageError,
		Action:       followTap,
	}
}

func followTap(c *cli.Context) error {
	if words, err := operands(c); err != nil || len(words) > 0 {
		return errors.Join(err, unexpected(c, words))
	}
	if output := c.String(flagOutput); output != outputText && output != outputJSON {
		return usageError(c, fmt.Errorf("--%s %q must be text or json", flagOutput, output), true)
	}
	if c.IsSet(flagCount) && c.Int(flagCount) < 1 {
		return usageError(c, fmt.Errorf("--%s must be at least 1", flagCount), true)
	}
	ctx, stop := interrupted(c.Context)
	defer stop()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	to, err := readTarget(c)
	if err != nil {
		return err
	}
	events, err := openTap(ctx, c, to)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer events.Close()
	fmt.Fprintln(c.App.ErrWriter, "Following.")
	printer := newTapPrinter(c)
	take, stop := whileSomethingComes(printer.event, func() { end(fmt.Errorf("nothing came for %v", tapSilence)) })
	defer stop()
	err = readEvents(events, take)
	switch cause := context.Cause(ctx); {
	case err == nil: // all that were to be shown
		return nil
	case errors.Is(cause, context.Canceled): // somebody has had enough
		return nil
	case cause != nil:
		err = cause
	}
	var failed *printError
	if errors.As(err, &failed) {
		return failed.error
	}
	return fmt.Errorf("the management API at %s does not go on: %w: start this again when it is back", to.address, err)
}

// whileSomethingComes takes what readEvents reads, and calls silent when nothing has come for too long. Meanwhile show has all
// the time that it needs: a pager may wait for somebody who reads.
func whileSomethingComes(show func(data []byte) (more bool, err error), silent func()) (take func([]byte) (bool, error), stop func()) {
	clock := time.AfterFunc(tapSilence, silent)
	return func(data []byte) (bool, error) {
		if data == nil {
			clock.Reset(tapSilence)
			return true, nil
		}
		clock.Stop()
		defer clock.Reset(tapSilence)
		return show(data)
	}, func() { clock.Stop() }
}

// openTap asks for what the flags name, and returns the events once they begin.
func openTap(ctx context.Context, c *cli.Context, to target) (io.ReadCloser, error) {
	query := url.Values{}
	for name, flag := range map[string]string{"device_id": flagDevice, "topic": flagTopics, "stream": flagTrigger} {
		if values := c.StringSlice(flag); len(values) > 0 {
			query[name] = values
		}
	}
	if text := c.String(flagText); text != "" {
		query.Set("text", text)
	}
	if gateway, path, ok := strings.Cut(c.String(flagRoute), "/"); gateway != "" || ok {
		if gateway != "" {
			query.Set("gateway_id", gateway)
		}
		if ok {
			query.Set("path", "/"+path)
		}
	}
	u := url.URL{Scheme: "http", Host: to.address, Path: "/tap", RawQuery: query.Encode()}
	if to.secure {
		u.Scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", version.UserAgent())
	req.Header.Set("Accept", "text/event-stream")
	if to.token != "" {
		req.Header.Set("Authorization", "Bearer "+to.token)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: to.tls, ResponseHeaderTimeout: patience, DisableCompression: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, errors.New(unreachable(to.address, err.Error()))
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", to.address, err)
	}
	return nil, explain(c, to.address, refusal(res.Status, text))
}

// readEvents reads server-sent events (WHATWG HTML, section 9.2.6) as this API writes them, a line of data each. Take gets the
// data, or nil for a sign of life, and says whether to go on. The error is why no more can be read.
func readEvents(from io.Reader, take func(data []byte) (more bool, err error)) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxTapEvent)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			data = nil
		}
		if more, err := take(data); err != nil || !more {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errors.New("it has ended the connection")
}

// printError is that nothing can be printed, or what comes cannot be read.
type printError struct{ error }

// tapPrinter prints events.
type tapPrinter struct {
	out, log io.Writer
	json     bool
	colours  palette
	left     int // ways until the end; 0: no end
}

func newTapPrinter(c *cli.Context) *tapPrinter {
	p := &tapPrinter{out: c.App.Writer, log: c.App.ErrWriter, json: c.String(flagOutput) == outputJSON, left: c.Int(flagCount)}
	if isTerminal(c.App.Writer) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		p.colours = terminalColours
	}
	return p
}

// isTerminal reports whether what is written is seen by somebody at once, and obeyed.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// event prints what one has.
func (p *tapPrinter) event(data []byte) (more bool, err error) {
	var e struct {
		Messages []json.RawMessage `json:"messages"`
		Ways     []json.RawMessage `json:"ways"`
		Skipped  int               `json:"skipped"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return false, &printError{fmt.Errorf("what comes is not what the management API sends: %w", err)}
	}
	var b bytes.Buffer
	if p.json {
		for _, message := range e.Messages {
			fmt.Fprintf(&b, "{\"message\":%s}\n", message)
		}
	}
	more = true
	for _, way := range e.Ways {
		if p.json {
			fmt.Fprintf(&b, "{\"way\":%s}\n", way)
		} else if err := p.way(&b, way); err != nil {
			return false, &printError{err}
		}
		if p.left--; p.left == 0 {
			more = false
			break
		}
	}
	if e.Skipped > 0 && p.json {
		fmt.Fprintf(&b, "{\"skipped\":%d}\n", e.Skipped)
	}
	if _, err := p.out.Write(b.Bytes()); err != nil {
		return false, &printError{err}
	}
	if e.Skipped > 0 && !p.json {
		fmt.Fprintf(p.log, "%s were left out: more come than can be shown. Ask for less, by --%s or --%s\n", counted(e.Skipped, "message"), flagDevice, flagTopics)
	}
	return more, nil
}

func (p *tapPrinter) way(b *bytes.Buffer, text []byte) error {
	var w tapWay
	if err := json.Unmarshal(text, &w); err != nil {
		return fmt.Errorf("what comes is not what the management API sends: %w", err)
	}
	w.write(b, p.colours)
	return nil
}
