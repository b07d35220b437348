package devbroker

import (
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// keep makes a message the last of its permanent topic. It is a retained message to mochi, but its publisher need not ask,
// and who is subscribed already gets it as any other. An empty one ends the keeping, as in MQTT.
func (h *hook) keep(cl *mqtt.Client, topics []string, pk packets.Packet) {
	for _, topic := range topics {
		kept := pk.Copy(false)
		kept.TopicName = topic
		kept.FixedHeader.Retain = true
		kept.Origin = cl.ID
		kept.Created = time.Now().Unix()
		change := h.server.Topics.RetainMessage(kept)
		if h.store != nil {
			h.store.OnRetainMessage(cl, kept, change)
		}
	}
	atomic.StoreInt64(&h.server.Info.Retained, int64(h.server.Topics.Retained.Len()))
}
