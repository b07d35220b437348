package gateway_test

import (
	"context"
	"errors"
	"expvar"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/plugins/feed"
	"github.com/iotcast/iotcast/plugins/gateway"
)

// A server with live readings on one path, the client for pages beside it, and a proper end.
func Example() {
	g, err := gateway.New(gateway.Options{
		Format:  gateway.Format{RegistryID: "my-registry"},
		History: gateway.History{MaxAge: 5 * time.Minute}, // for pages that were away
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/telemetry", g)
	mux.Handle("/live/", gateway.Client()) // import { connect } from "/live/iotcast.js"
	server := httptest.NewServer(mux)      // or your own http.Server

	// In your program: whenever a device says something.
	if err := g.Broadcast(gateway.Message{Topic: "$devices/boiler/events", Payload: []byte(`{"temperature":21.5}`)}); err != nil {
		log.Fatal(err)
	}

	// A client, which begins with what there was in the last minute. Pages do the same by iotcast.js.
	f, err := feed.New(server.URL+"/telemetry", feed.Options{Rewind: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	for event, err := range f.Events(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		if m, ok := event.(feed.Message); ok {
			payload, _ := m.Payload()
			fmt.Println(m.RegistryID, m.DeviceID, string(payload))
			break
		}
	}

	server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	g.Close(ctx) // after the server: it knows nothing of these connections
	// Output: my-registry boiler {"temperature":21.5}
}

func ExampleGateway_Broadcast() {
	g, err := gateway.New(gateway.Options{Format: gateway.Format{BrokerID: "factory"}})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(g)
	page, _, err := websocket.Dial(context.Background(), server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}

	// Several messages go out in one envelope.
	err = g.Broadcast(
		gateway.Message{EventID: "1", CreatedAt: time.Unix(0, 0), Topic: "line-1", Payload: []byte("on")},
		gateway.Message{EventID: "2", CreatedAt: time.Unix(1, 0), Topic: "line-2", Payload: []byte("off")},
	)
	if err != nil {
		log.Fatal(err)
	}

	_, envelope, err := page.Read(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(envelope))
	_ = page.Close(websocket.StatusNormalClosure, "")
	server.Close()
	g.Close(context.Background())
	// Output:
	// {"messages":[{"event_metadata":{"event_id":"1","event_type":"yandex.cloud.events.iot.IoTMessage","created_at":"1970-01-01T00:00:00Z"},"details":{"broker_id":"factory","mqtt_topic":"line-1","payload":"b24="}},{"event_metadata":{"event_id":"2","event_type":"yandex.cloud.events.iot.IoTMessage","created_at":"1970-01-01T00:00:01Z"},"details":{"broker_id":"factory","mqtt_topic":"line-2","payload":"b2Zm"}}]}
}

func ExampleGateway_BroadcastRaw() {
	g, err := gateway.New(gateway.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Close(context.Background())

	// Frames need not be envelopes: pictures of a camera, say.
	err = g.BroadcastRaw(gateway.Frame{Data: []byte{0xff, 0xd8, 0xff}, Binary: true})
	fmt.Println(err)
	// Output: <nil>
}

// Each user gets the messages of the user's own devices, and logs in with a cookie.
func ExampleOptions_authorize() {
	devices := map[string][]string{"alice": {"boiler", "pump"}}
	g, err := gateway.New(gateway.Options{
		Watch: true,
		Authorize: func(r *http.Request) (gateway.Permit, error) {
			cookie, err := r.Cookie("user") // stands for your own login: anyone can write this one
			if errors.Is(err, http.ErrNoCookie) {
				return gateway.Permit{}, gateway.StatusError(http.StatusUnauthorized)
			}
			return gateway.Permit{
				Within:  &gateway.Choice{DeviceIDs: devices[cookie.Value]}, // none for who has none
				Expires: time.Now().Add(time.Hour),
			}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(g)

	_, res, _ := websocket.Dial(context.Background(), server.URL, nil)
	fmt.Println(res.Status)
	page, _, err := websocket.Dial(context.Background(), server.URL, &websocket.DialOptions{
		HTTPHeader: http.Header{"Cookie": {"user=alice"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, topic := range []string{"$devices/oven/events", "$devices/pump/events"} {
		if err := g.Broadcast(gateway.Message{EventID: "1", CreatedAt: time.Unix(0, 0), Topic: topic}); err != nil {
			log.Fatal(err)
		}
	}
	_, envelope, err := page.Read(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(envelope))
	_ = page.Close(websocket.StatusNormalClosure, "")
	server.Close()
	g.Close(context.Background())
	// Output:
	// 401 Unauthorized
	// {"messages":[{"event_metadata":{"event_id":"1","event_type":"yandex.cloud.events.iot.IoTMessage","created_at":"1970-01-01T00:00:00Z"},"details":{"registry_id":"","device_id":"pump","mqtt_topic":"$devices/pump/events","payload":""}}]}
}

// An envelope can be written without a gateway, too.
func ExampleFormat_Envelope() {
	envelope, err := gateway.Format{RegistryID: "my-registry", JSON: true}.Envelope(gateway.Message{
		EventID:   "2153b5d2-c6af-4c69-a28d-74ce965b7613",
		CreatedAt: time.Date(2019, 9, 25, 15, 51, 17, 0, time.UTC),
		Topic:     "$devices/boiler/events",
		Payload:   []byte(`{"temperature":21.5}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(envelope))
	// Output: {"messages":[{"event_metadata":{"event_id":"2153b5d2-c6af-4c69-a28d-74ce965b7613","event_type":"yandex.cloud.events.iot.IoTMessage","created_at":"2019-09-25T15:51:17Z"},"details":{"registry_id":"my-registry","device_id":"boiler","mqtt_topic":"$devices/boiler/events","payload":{"temperature":21.5}}}]}
}

// Metrics are read when somebody asks for them.
func ExampleGateway_Stats() {
	g, err := gateway.New(gateway.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Close(context.Background())
	stats := expvar.Func(func() any { return g.Stats() }) // for expvar.Publish("telemetry", stats)
	fmt.Println(stats)
	// Output: {"Connections":0,"Messages":0,"Deliveries":0,"Bytes":0,"Dropped":0,"Repeated":0,"QueuedBytes":0,"HistoryMessages":0,"LatestMessages":0,"Refused":null,"Closed":null}
}
