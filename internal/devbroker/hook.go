package devbroker

import (
	"cmp"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/mochi-mqtt/server/v2/system"

	"github.com/iotcast/iotcast/internal/registry"
)

// hook is what this broker does beside mochi, when packets have been checked (check.go): who may connect (auth.go), where messages
// go (topics.go), how they come to subscribers (deliver.go), the last messages of permanent topics (permanent.go) and monitoring
// (monitoring.go). What is in this file reports drops and keeps resumed sessions whole. On its own, mochi v2.7.9
//   - loses a QoS 1 message that is published while a client takes over its session: the session is copied, and then
//     the original is cleared, with what has been added to it in between;
//   - can write such a message before the CONNACK, which ends the connection, or before older ones;
//   - resends the packets of one second in random order ([MQTT-4.6.0-1] [MQTT-4.6.0-4]).
//
// A subscriber that crashes and comes back under load meets all three, and "loses nothing" must hold there above all. What an
// MQTT 5 client is sent at once, and how much of it, is in room.go.
type hook struct {
	mqtt.HookBase
	server    *mqtt.Server
	users     map[string]string   // empty: anyone, unless there is a directory
	directory *registry.Directory // nil: no registries
	monitor   *monitor
	store     *store // nil: nothing is kept on disk
	received  received
	sessions  sessions     // if there is a directory
	kept      kept         // if there is a directory
	service   *mqtt.Client // publishes what the broker itself has to say
	limited
	refusals *refusals
	counters *counters
	log      *slog.Logger

	takeover sync.RWMutex // read: publishing with QoS > 0. write: moving a session to a new connection
	stored   atomic.Int64 // how many messages were put into sessions: the order to resend them in
	reported atomic.Int64 // how many drops the log knows of
}

func (h *hook) ID() string { return "devbroker" }

func (h *hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSysInfoTick, mqtt.OnSubscribe, mqtt.OnUnsubscribe,
		mqtt.OnPacketRead, mqtt.OnPacketProcessed, mqtt.OnSubscribed, mqtt.OnPublish, mqtt.OnQosPublish, mqtt.OnPacketEncode, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished,
		mqtt.OnDisconnect, mqtt.OnClientExpired, mqtt.OnWill, mqtt.OnWillSent:
		return true
	case mqtt.OnQosDropped:
		return h.limits.SessionBytes > 0
	case mqtt.OnRetainedExpired:
		return h.limits.RetainedBytes > 0
	}
	return false
}

// OnSysInfoTick comes when mochi has published its own topics. It reports drops, a line a period at most, with the session that
// is the likeliest cause.
func (h *hook) OnSysInfoTick(info *system.Info) {
	h.publishSystemTopics()
	h.refusals.summarise(h.log)
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

// OnPublish sends a message on its way. For mochi nothing is left to do: an error that said so would be logged with all that
// the packet holds, for a log that does not want it.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	h.publishOf(cl, &pk)
	pk.Ignore, pk.FixedHeader.Retain, pk.FixedHeader.Qos = true, false, 0
	return pk, nil
}

// publishOf hands out and acknowledges a message of a client.
func (h *hook) publishOf(cl *mqtt.Client, pk *packets.Packet) {
	c := connOf(cl)
	pk.PacketID, pk.FixedHeader.Qos = c.in.id, c.in.qos
	r := c.in.route
	if r.topics == nil { // a topic alias has hidden it from OnACLCheck
		var err error
		if r, err = h.route(cl, strings.TrimPrefix(pk.TopicName, plainMark)); err != nil {
			h.reportRefusal(cl, messageRefused, err)
			h.acknowledge(cl, pk, packets.ErrNotAuthorized)
			return
		}
	}
	if pk.FixedHeader.Qos == 2 && !h.received.add(cl.ID, pk.PacketID) || len(r.topics) == 0 {
		h.acknowledge(cl, pk, packets.CodeSuccess)
		return
	}
	pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 0, false // it is the client's, and has been resolved
	if !h.keepIfAsked(cl, r, pk) && h.refuseKept(cl, pk) {
		return
	}
	if h.directory != nil {
		h.monitor.published(c.activity)
	}
	h.handOut(r.topics, pk)
	if pk.FixedHeader.Qos > 0 && h.store != nil {
		if pk.FixedHeader.Qos == 2 { // not earlier: what a crash leaves half done is to be done again
			h.store.received(cl, pk.PacketID)
		}
		c.unsynced.Store(true)
	}
	h.acknowledge(cl, pk, packets.CodeSuccess)
}

// handOut hands a message to its subscribers while no session moves, and before it is acknowledged.
func (h *hook) handOut(topics []string, pk *packets.Packet) {
	if pk.FixedHeader.Qos > 0 {
		h.takeover.RLock()
		defer h.takeover.RUnlock()
	}
	for _, topic := range topics {
		h.deliver(topic, pk)
	}
}

// OnSessionEstablish comes before the session of an earlier connection, if there is one, moves to this one.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	for {
		old, ok := h.server.Clients.Get(cl.ID)
		if !ok {
			return
		}
		if old.Net.Conn != nil { // it has not come from disk
			// The earlier connection ends first: its last message, will and subscriptions are not to meet the new one's.
			sayGoodbye(old, packets.ErrSessionTakenOver)
			_ = connOf(old).Close() // not by mochi, which forgets the will if it handles a packet just then
			select {
			case <-connOf(old).ended:
			case <-time.After(farewell):
			}
		}

		if pk.Connect.Clean {
			h.publishWill(old) // a delay ends with the session
		}
		if h.directory != nil && !h.sessions.has(cl.ID, connOf(cl).principal) {
			h.dissolve(old) // it is of one who had this ID before
		}
		h.takeover.Lock()
		if now, _ := h.server.Clients.Get(cl.ID); now == old {
			renumber(old.State.Inflight)
			giveBack := func() {}
			if !pk.Connect.Clean && (old.Properties.ProtocolVersion >= 5 || !old.Properties.Clean) { // the session lives on
				giveBack = h.holdBack(cl, old)
			}
			connOf(cl).unlock = sync.OnceFunc(func() {
				// mochi v2.7.9 counts off what the old connection had, and not on what the new one has.
				atomic.AddInt64(&h.server.Info.Inflight, int64(cl.State.Inflight.Len()))
				giveBack()
				h.takeover.Unlock()
			})
			return
		}
		h.takeover.Unlock() // a third connection was faster, or the session was not one to keep
	}
}

// OnQosPublish comes when a message from a session is about to be resent. So mochi has its list: what is published from now on
// comes after it, and only once.
func (h *hook) OnQosPublish(cl *mqtt.Client, _ packets.Packet, _ int64, _ int) {
	if cl.Net.Conn != nil {
		connOf(cl).release()
	}
}

// OnSessionEstablished comes when what the session held has been resent, as far as the client has room for it.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	connOf(cl).release()
	h.admission.arrived(cl.ID)
	connOf(cl).crashed = func(why error) { h.crashed(cl, why) }
	if len(connOf(cl).held) > 0 {
		go sendHeld(cl)
	} else {
		connOf(cl).resume()
	}
	if h.directory == nil {
		return
	}
	h.announceConnected(cl)
	h.sessions.add(cl.ID, connOf(cl).principal)
	if c := connOf(cl); h.directory.Recheck(c.principal, c.proof) != nil {
		h.follow([]string{c.principal.ID}) // it has changed since it logged in
	}
}

// OnClientExpired comes when a session has ended some time after its connection. mochi v2.7.9 would leave its subscriptions, for
// the next who has this client ID.
func (h *hook) OnClientExpired(cl *mqtt.Client) {
	h.publishWill(cl)
	h.dissolve(cl)
}

// OnDisconnect comes when a connection has ended whose session was established.
func (h *hook) OnDisconnect(cl *mqtt.Client, _ error, expire bool) {
	if expire && !cl.IsTakenOver() {
		h.publishWill(cl)
		h.ended(cl)
	}
	if h.directory != nil {
		h.announceDisconnected(cl)
	}
}

// crashed ends a connection at which mochi has panicked, as mochi would: there is a will, and a session to keep or to forget.
func (h *hook) crashed(cl *mqtt.Client, why error) {
	connOf(cl).willDue.Store(true)
	h.publishWill(cl)
	expire := !persistent(cl)
	if h.store != nil {
		h.store.OnDisconnect(cl, why, expire)
	}
	h.OnDisconnect(cl, why, expire)
	if expire && !cl.IsTakenOver() {
		h.dissolve(cl)
	}
}

// OnPacketEncode comes before each packet is written, and is the place to wait. A message that is not resent comes from
// mochi's queue for the connection and must not overtake the CONNACK, nor what is older. And everything waits for a
// client that reads slowly, but for a goodbye, which may not.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	switch pk.FixedHeader.Type {
	case packets.Disconnect:
		c.leave()
		if cl.Properties.ProtocolVersion < 5 {
			pk.FixedHeader.Type = packets.Reserved // none: only the other direction has it (MQTT 3.1.1, 3.14)
		}
		return pk
	case packets.Pubrel:
		h.setPlace(cl, pk.PacketID)
		h.weights.remove(cl.ID, pk.PacketID)
	case packets.Suback, packets.Unsuback:
		if h.store != nil && persistent(cl) { // or after a crash a session would be resumed without what its client has subscribed to
			c.unsynced.Store(true)
		}
	case packets.Connack:
		c.refusal.put(&pk, cl.Properties.ProtocolVersion)
		if !pk.SessionPresent && pk.ReasonCode == packets.CodeSuccess.Code { // else the session is another's, maybe
			h.forgetReceived(cl)
		}
		if h.store != nil && pk.ReasonCode == packets.CodeSuccess.Code && persistent(cl) {
			h.store.begin(cl) // before anything is sent that would have no DUP after a crash
			c.unsynced.Store(true)
		}
		pk.Properties.TopicAliasMaximum, pk.Properties.MaximumPacketSize = maxTopicAlias, maxPacketBytes
		pk.SessionPresent = pk.SessionPresent && cl.Properties.ProtocolVersion > 3 // 3.1 has no such flag
	case packets.Publish: // of a session that is resumed: new messages do not pass here
		if pk.TopicName != "" { // there is a topic alias instead
			pk.TopicName = h.outside(pk.TopicName)
		}
		if why := tooLarge(cl, &pk); why != nil {
			h.reportRefusal(cl, messageTooLarge, why)
			h.discard(cl, pk)
			return pk
		}
		if pk.FixedHeader.Qos > 0 {
			c.narrow()
			c.waitForRoom()
			if c.writable() {
				pk.FixedHeader.Dup = markSent(cl, pk.PacketID)
			}
			return pk
		}
	}
	c.waitForRoom()
	return answer(c, pk)
}

// setPlace makes a packet of a session the last to be resent.
func (h *hook) setPlace(cl *mqtt.Client, id uint16) {
	if pk, ok := cl.State.Inflight.Get(id); ok {
		pk.Created = h.lastPlace()
		cl.State.Inflight.Set(pk)
	}
}

// lastPlace is behind all that were given before, and above all that renumber gives.
func (h *hook) lastPlace() int64 { return math.MaxUint16 + h.stored.Add(1) }

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
