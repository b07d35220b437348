package devbroker

import (
	"cmp"
	"crypto/subtle"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/mochi-mqtt/server/v2/system"
)

// hook checks passwords, reports drops and keeps resumed sessions whole. On its own, mochi v2.7.9
//   - loses a QoS 1 message that is published while a client takes over its session: the session is copied, and then
//     the original is cleared, with what has been added to it in between;
//   - can write such a message before the CONNACK, which ends the connection, or before older ones;
//   - resends the messages of one second in random order ([MQTT-4.6.0-1]).
//
// A subscriber that crashes and comes back under load meets all three, and "loses nothing" must hold there above all. Two
// of mochi's faults are out of a hook's reach: a will that is published in the instant of a takeover may be lost, and an
// MQTT 5 client with a small Receive Maximum is sent what waits for room in any order, as if it were acknowledged.
type hook struct {
	mqtt.HookBase
	server *mqtt.Server
	users  map[string]string
	log    *slog.Logger

	takeover sync.RWMutex // read: publishing with QoS > 0. write: moving a session to a new connection
	stored   atomic.Int64 // how many messages were put into sessions: the order to resend them in
	reported atomic.Int64 // how many drops the log knows of
}

func (h *hook) ID() string { return "devbroker" }

func (h *hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSysInfoTick,
		mqtt.OnPublish, mqtt.OnQosPublish, mqtt.OnPacketEncode, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished:
		return true
	}
	return false
}

func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	if len(h.users) == 0 {
		return true
	}
	user := string(pk.Connect.Username)
	want, known := h.users[user]
	if known && subtle.ConstantTimeCompare([]byte(want), pk.Connect.Password) == 1 {
		return true
	}
	h.log.Warn("refused an MQTT client: unknown user or wrong password", "user", user, "client", cl.ID, "remote", cl.Net.Remote)
	return false
}

// OnACLCheck allows every topic: who may connect may publish and subscribe.
func (h *hook) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

// OnSysInfoTick reports drops, a line a period at most, with the session that is the likeliest cause.
func (h *hook) OnSysInfoTick(info *system.Info) {
	dropped := info.InflightDropped + info.MessagesDropped
	before := h.reported.Swap(dropped)
	if dropped <= before {
		return
	}
	var slowest string
	most := -1
	for id, cl := range h.server.Clients.GetAll() {
		if n := cl.State.Inflight.Len(); n > most {
			slowest, most = id, n
		}
	}
	h.log.Warn("MQTT messages were dropped: a client does not read or acknowledge fast enough",
		"dropped", dropped-before, "slowest_client", slowest, "unacknowledged", most)
}

// OnPublish hands a message to its subscribers while no session moves. mochi would do it after this hook and after the
// PUBACK: a place that no hook encloses, and the PUBACK would wait, with the lock, for a publisher that does not read.
// So it is done here, as an inline client's message (which has been validated, and gets no PUBACK), and then mochi is
// told to do no more than to acknowledge. The message is stored before it is acknowledged, which is better anyway.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	if pk.FixedHeader.Qos == 0 || c.injecting.Load() {
		return pk, nil
	}
	h.takeover.RLock()
	defer h.takeover.RUnlock()
	c.injecting.Store(true)
	defer c.injecting.Store(false)
	cl.Net.Inline = true // only the goroutine that reads from the client, this one, looks at it
	defer func() { cl.Net.Inline = false }()

	if err := h.server.InjectPacket(cl, pk); err != nil {
		return pk, err
	}
	atomic.AddInt64(&h.server.Info.PacketsReceived, -1) // it was counted when it was read
	atomic.AddInt64(&h.server.Info.MessagesReceived, -1)
	return pk, packets.CodeSuccessIgnore
}

// OnSessionEstablish comes before the session of an earlier connection, if there is one, moves to this one.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	for {
		old, ok := h.server.Clients.Get(cl.ID)
		if !ok {
			return
		}
		// The earlier connection ends first: its last message, will and subscriptions are not to meet the new one's.
		_ = h.server.DisconnectClient(old, packets.ErrSessionTakenOver)
		select {
		case <-connOf(old).ended:
		case <-time.After(farewell):
		}

		h.takeover.Lock()
		if now, _ := h.server.Clients.Get(cl.ID); now == old {
			connOf(cl).unlock = sync.OnceFunc(h.takeover.Unlock)
			renumber(old.State.Inflight)
			return
		}
		h.takeover.Unlock() // a third connection was faster, or the session was not one to keep
	}
}

// OnQosPublish comes when a message is put into a session, and when one from a session is about to be resent.
func (h *hook) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if pk.FixedHeader.Type == packets.Publish && !pk.FixedHeader.Dup {
		pk.Created = math.MaxUint16 + h.stored.Add(1) // above all that renumber gives
		cl.State.Inflight.Set(pk)
		return
	}
	// Resending has begun, so mochi has its list: what is published from now on comes after it, and only once.
	connOf(cl).release()
}

// OnSessionEstablished comes when all that the session held has been resent.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	connOf(cl).release()
	connOf(cl).resume()
}

// OnPacketEncode comes before each packet is written, and is the place to wait. A message that is not resent comes from
// mochi's queue for the connection and must not overtake the CONNACK, nor what is older. And everything waits for a
// client that reads slowly, but for what may not: a goodbye, and what is written while h.takeover is held.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	if pk.FixedHeader.Type == packets.Publish && !pk.FixedHeader.Dup {
		<-c.resumed
	}
	if pk.FixedHeader.Type != packets.Disconnect && !c.injecting.Load() {
		c.waitForRoom()
	}
	return pk
}

// renumber gives the messages of a session their place as the time of creation. mochi resends in the order of the low 16
// bits of that time; a session has no more messages than fit, and with no limit on their age nothing else looks at it.
func renumber(session *mqtt.Inflight) {
	pending := session.GetAll(false)
	slices.SortStableFunc(pending, func(a, b packets.Packet) int { return cmp.Compare(a.Created, b.Created) })
	for i, pk := range pending {
		pk.Created = int64(i)
		session.Set(pk)
	}
}
