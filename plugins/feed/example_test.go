package feed_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"time"

	"github.com/iotcast/iotcast/plugins/feed"
	"github.com/iotcast/iotcast/plugins/gateway"
)

// A program follows the alarms of all devices, from those of the last hour on.
func Example() {
	g, err := gateway.New(gateway.Options{Watch: true, History: gateway.History{MaxAge: time.Hour}})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(g) // in place of a gateway of iotcast
	for _, topic := range []string{"$devices/boiler/events", "$devices/pump/events/alarm"} {
		if err := g.Broadcast(gateway.Message{Topic: topic, Payload: []byte("22 bar")}); err != nil {
			log.Fatal(err)
		}
	}

	f, err := feed.New(server.URL, feed.Options{
		Choice: feed.Choice{Topics: []string{"$devices/+/events/alarm/#"}},
		Rewind: time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	for event, err := range f.Events(context.Background()) {
		if err != nil {
			log.Fatal(err) // the gateway refuses for good
		}
		switch e := event.(type) {
		case feed.Gap:
			fmt.Println("messages are missing:", e.Reason)
		case feed.Message:
			payload, err := e.Payload()
			fmt.Println(e.DeviceID, string(payload), err)
		}
		if f.LastEventID() != "" { // from which another feed may go on
			break
		}
	}
	server.Close()
	g.Close(context.Background())
	// Output: pump 22 bar <nil>
}
