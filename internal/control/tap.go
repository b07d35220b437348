package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/tap"
)

// tapService shows messages on their way through this process.
type tapService struct{ tap *tap.Tap }

// tapRoutes are over HTTP alone.
func tapRoutes(cfg Config) []plainRoute {
	s := tapService{tap: cfg.Tap}
	return []plainRoute{
		plainRouteTo(http.MethodGet, "/tap", false, "/iotcast.TapService/GetMessages", s.follow),
		plainRouteTo(http.MethodGet, "/tap/latest", false, "/iotcast.TapService/GetLatest", s.latest),
		plainRouteTo(http.MethodGet, "/tap/losses", false, "/iotcast.TapService/GetLosses", s.losses),
	}
}

func (s tapService) available() error {
	if s.tap == nil {
		return status.Error(codes.FailedPrecondition, "this process has no tap")
	}
	return nil
}

// follow shows messages as they come, and the way of each when it has an end.
func (s tapService) follow(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	if err := s.available(); err != nil {
		return err
	}
	filter, heartbeat, err := tapFilterOf(r.URL.RawQuery)
	if err != nil {
		return err
	}
	f := s.tap.Follow(filter)
	defer f.Close()
	if err := f.Err(); err != nil {
		return status.Errorf(codes.ResourceExhausted, "%v: end another first", err)
	}
	serveEvents(ctx, w, r, heartbeat, func(ctx context.Context) (any, error) {
		received, ways, skipped, err := f.Next(ctx)
		if err != nil {
			return nil, err
		}
		return tapped{shownMessages(received), shownWays(ways), skipped}, nil
	})
	return nil
}

// latest shows the last message of each device.
func (s tapService) latest(_ context.Context, w http.ResponseWriter, r *http.Request) error {
	if err := s.available(); err != nil {
		return err
	}
	if !s.tap.KeepsLatest() {
		return status.Error(codes.NotFound, "the last messages of devices are kept for the console only: set management_api.console")
	}
	query, err := parametersOf(r.URL.RawQuery, "registry_id")
	if err != nil {
		return err
	}
	return answerJSON(w, struct {
		Messages []shownMessage `json:"messages"`
	}{append([]shownMessage{}, shownMessages(s.tap.Latest(query.Get("registry_id")))...)})
}

// losses shows what was given up or rejected, and why.
func (s tapService) losses(_ context.Context, w http.ResponseWriter, r *http.Request) error {
	if err := s.available(); err != nil {
		return err
	}
	if _, err := parametersOf(r.URL.RawQuery); err != nil {
		return err
	}
	return answerJSON(w, struct {
		Ways []shownWay `json:"ways"`
	}{append([]shownWay{}, shownWays(s.tap.Losses())...)})
}

// What one tap may ask for.
const (
	maxTapped     = 1000     // device IDs, topics and streams
	maxTapFilters = 32 << 10 // bytes of the topic filters together: each of their levels takes memory
	maxTapText    = 1 << 10  // bytes of any other parameter
	minTapBeat    = time.Second
	maxTapBeat    = time.Hour
)

// lists are the parameters that may be there more than once.
var lists = []string{"device_id", "topic", "stream"}

// parametersOf reads a query that has no other parameters than these.
func parametersOf(query string, names ...string) (url.Values, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "the query of the URL is malformed: write what is special in it as %XX")
	}
	for name, value := range values {
		switch {
		case len(names) == 0:
			return nil, status.Errorf(codes.InvalidArgument, "there is no parameter %.50q, nor any other", name)
		case !slices.Contains(names, name):
			return nil, status.Errorf(codes.InvalidArgument, "there is no parameter %.50q, but %s", name, strings.Join(names, ", "))
		case slices.Contains(lists, name):
		case len(value) > 1:
			return nil, status.Errorf(codes.InvalidArgument, "parameter %s is there more than once", name)
		case len(value[0]) > maxTapText:
			return nil, status.Errorf(codes.InvalidArgument, "%s has %d bytes, and may have %d", name, len(value[0]), maxTapText)
		}
	}
	return values, nil
}

// tapFilterOf reads what is to be followed.
func tapFilterOf(query string) (f tap.Filter, heartbeat time.Duration, err error) {
	values, err := parametersOf(query, append([]string{"gateway_id", "path", "text", "heartbeat"}, lists...)...)
	if err != nil {
		return f, 0, err
	}
	f = tap.Filter{
		DeviceIDs: commaList(values["device_id"]), Topics: commaList(values["topic"]), Streams: commaList(values["stream"]),
		Gateway: values.Get("gateway_id"), Path: values.Get("path"), Text: values.Get("text"),
	}
	if err := checkTapLists(&f); err != nil {
		return f, 0, status.Error(codes.InvalidArgument, err.Error())
	}
	heartbeat = eventHeartbeat
	if values.Has("heartbeat") {
		heartbeat, err = time.ParseDuration(values.Get("heartbeat"))
		if err != nil || heartbeat < minTapBeat || heartbeat > maxTapBeat {
			return f, 0, status.Errorf(codes.InvalidArgument, "heartbeat must be a duration of %s to %s, such as 30s, not %.50q", minTapBeat, maxTapBeat, values.Get("heartbeat"))
		}
	}
	return f, heartbeat, nil
}

// commaList are the values of a parameter, each of which may have several with commas between.
func commaList(values []string) (all []string) {
	for _, one := range values {
		all = append(all, strings.Split(one, ",")...)
	}
	return all
}

func checkTapLists(f *tap.Filter) error {
	if n := len(f.DeviceIDs) + len(f.Topics) + len(f.Streams); n > maxTapped {
		return fmt.Errorf("%d devices, topics and streams are asked for, and %d may be", n, maxTapped)
	}
	for _, id := range f.DeviceIDs {
		if err := iotcore.ValidateID("device_id", id); err != nil {
			return err
		}
	}
	bytes := 0
	for _, filter := range f.Topics {
		if bytes += len(filter); bytes > maxTapFilters {
			return fmt.Errorf("topic: the filters have more than the %d bytes that they may have together", maxTapFilters)
		}
		if err := iotcore.ValidateSyntax(filter); err != nil {
			return fmt.Errorf("topic: %w", err)
		}
	}
	if slices.Contains(f.Streams, "") {
		return errors.New("stream is empty: name one, or leave it out")
	}
	return nil
}

// tapped is what one event tells.
type tapped struct {
	Messages []shownMessage `json:"messages,omitempty"`
	Ways     []shownWay     `json:"ways,omitempty"`
	Skipped  int            `json:"skipped,omitempty"` // messages and ways that found no room since the event before
}

// shownMessage is a message as an envelope has it, with what is known of it besides.
type shownMessage struct {
	EventMetadata eventMetadata  `json:"event_metadata"`
	Details       messageDetails `json:"details"`
	Stream        string         `json:"stream,omitempty"`
	QoS           byte           `json:"qos"`
	Retained      bool           `json:"retained,omitempty"`
	Duplicate     bool           `json:"duplicate,omitempty"`
	PayloadBytes  int            `json:"payload_bytes"` // of which the payload has the first
}

type eventMetadata struct {
	EventID   string    `json:"event_id"`
	EventType string    `json:"event_type"`
	CreatedAt time.Time `json:"created_at"`
}

type messageDetails struct {
	RegistryID string `json:"registry_id,omitempty"`
	DeviceID   string `json:"device_id,omitempty"`
	BrokerID   string `json:"broker_id,omitempty"`
	Topic      string `json:"mqtt_topic"`
	Payload    []byte `json:"payload"` // base64
}

// shownWay is a message with the steps of its way.
type shownWay struct {
	EventID string       `json:"event_id"`
	Done    bool         `json:"done"` // nothing more comes
	Message shownMessage `json:"message"`
	Steps   []tap.Step   `json:"steps"`
}

func shownMessageOf(m *tap.Message) shownMessage {
	return shownMessage{
		EventMetadata: eventMetadata{m.EventID, envelope.DefaultEventType, m.ReceivedAt.UTC()},
		Details:       messageDetails{m.RegistryID, m.DeviceID, m.BrokerID, m.Topic, payloadOf(m)},
		Stream:        m.Stream, QoS: m.QoS, Retained: m.Retained, Duplicate: m.Duplicate, PayloadBytes: m.PayloadBytes,
	}
}

// payloadOf is the payload, which is shared with others who follow, and never null.
func payloadOf(m *tap.Message) []byte {
	if m.Payload == nil {
		return []byte{}
	}
	return m.Payload
}

func shownMessages(all []tap.Message) []shownMessage {
	shown := make([]shownMessage, len(all))
	for i := range all {
		shown[i] = shownMessageOf(&all[i])
	}
	return shown
}

func shownWays(all []tap.Way) []shownWay {
	shown := make([]shownWay, len(all))
	for i, way := range all {
		steps := make([]tap.Step, len(way.Steps))
		for j, s := range way.Steps {
			s.At, s.First, s.Last = s.At.UTC(), utc(s.First), utc(s.Last)
			steps[j] = s
		}
		shown[i] = shownWay{way.Message.EventID, way.Done, shownMessageOf(&all[i].Message), steps}
	}
	return shown
}

func utc(at *time.Time) *time.Time {
	if at == nil {
		return nil
	}
	in := at.UTC()
	return &in
}
