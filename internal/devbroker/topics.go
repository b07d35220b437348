package devbroker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/registry"
)

// Inside, mochi knows topics by other names than clients do. Without registries, a topic that does not begin with $ has _/
// before it, so that a wildcard at the top never meets a $ topic; on its own, mochi v2.7.9 sends the retained ones of these
// to a subscriber of #, against [MQTT-4.7.2-1]. With registries, every topic is in the tree of an audience: of those who
// may read it. It begins with <audience>/$/ if it begins with $, and else with <audience>/_/.
//
// A topic ends with another level, which no client can write. So a/# and a/+/# meet a and a/b as what is below them: mochi on
// its own takes the latter for uncovered, and does not find what is retained of the former. What mochi publishes by itself, $SYS,
// has no such level, so it is published again in a tree of that kind, which is the one that clients read.
const (
	plainMark  = "_/"
	dollarMark = "$/"
	endMark    = "/\x00"

	// systemTopics are the broker's own, but for those by which a bridge of Mosquitto tells whether it is there.
	systemTopics = "$SYS/"
	systemTree   = "$SYS\x00/"
	bridgeState  = "$SYS/broker/connection/+/state"

	// refusedFilter stands for a filter that a client may not subscribe to, until OnACLCheck says so.
	refusedFilter = "!"

	// invalidFilter stands for one that is none, which mochi finds by itself.
	invalidFilter = ""

	// nowhere is a topic that nobody subscribes to.
	nowhere = "!"
)

// inside is the name inside of what has a name in the tree of an audience.
func inside(n registry.Name) string {
	mark := plainMark
	if strings.HasPrefix(n.Topic, "$") {
		mark = dollarMark
	}
	return ended(string(n.Audience) + "/" + mark + n.Topic)
}

// ended is a topic or filter with its last level.
func ended(name string) string {
	if rest, ok := strings.CutPrefix(name, systemTopics); ok {
		name = systemTree + rest
	}
	if name == "#" || strings.HasSuffix(name, "/#") {
		return name
	}
	return name + endMark
}

// unended is the reverse of ended.
func unended(name string) string { return strings.TrimSuffix(name, endMark) }

// insideOpen is the name inside of a topic or filter, where there are no registries.
func insideOpen(topic string) string {
	if strings.HasPrefix(topic, "$") {
		return ended(topic)
	}
	return ended(plainMark + topic)
}

// outside is the name by which clients know what is called topic inside.
func (h *hook) outside(topic string) string {
	if h.directory == nil {
		topic = unended(topic)
		if rest, ok := strings.CutPrefix(topic, systemTree); ok {
			return systemTopics + rest
		}
		return strings.TrimPrefix(topic, plainMark)
	}
	return outsideTree(topic)
}

// outsideTree takes off the audience in whose tree a topic is.
func outsideTree(topic string) string {
	// An audience is an ID, or one and the word devices: the first mark after it is not part of the topic.
	for _, rest, more := strings.Cut(topic, "/"); more; _, rest, more = strings.Cut(rest, "/") {
		if strings.HasPrefix(rest, plainMark) || strings.HasPrefix(rest, dollarMark) {
			return unended(rest[len(plainMark):])
		}
	}
	return topic
}

// route is where a message goes.
type route struct {
	topics    []string // inside; none: it is dropped
	permanent bool
}

// route says where a message goes that a client publishes to a topic, and tells why it may not.
func (h *hook) route(cl *mqtt.Client, topic string) (route, error) {
	if topic == "" {
		return route{}, errors.New("the topic alias stands for no topic")
	}
	c := connOf(cl)
	if strings.HasPrefix(topic, systemTopics) {
		switch ofBridge := iotcore.Match(bridgeState, topic); {
		case h.directory == nil && !ofBridge:
			h.reportRefusal(cl, messageDropped, fmt.Errorf("topic %q: only the broker itself publishes to %s", topic, systemTopics))
			fallthrough
		case h.directory != nil && ofBridge: // nobody reads it, but a bridge must be able to say it
			return route{topics: []string{}}, nil
		}
	}
	if h.directory == nil {
		return route{topics: []string{insideOpen(topic)}}, nil
	}
	m, err := h.directory.Publish(c.principal, topic)
	if err != nil {
		return route{}, err
	}
	return route{topics: topicsOf(m), permanent: m.Permanent}, nil
}

func topicsOf(m registry.Message) []string { return insideAll(m.Names) }

func insideAll(names []registry.Name) []string {
	topics := make([]string, len(names))
	for i, n := range names {
		topics[i] = inside(n)
	}
	return topics
}

// namesOf gives the names inside that a message has now which was published by the first of them, and the ID of the device,
// registry or broker whose topic it is. It gives none for another than the first.
func namesOf(directory *registry.Directory, first string) (id string, names []string) {
	id, _, _ = strings.Cut(first, "/")
	if p, _ := directory.Principal(id); p.Role == registry.BrokerRole {
		return id, []string{first}
	}
	standard := outsideTree(first)
	all := directory.Names(standard)
	if len(all) == 0 || inside(all[0]) != first {
		return "", nil
	}
	return iotcore.ParseTopic(standard).ID, insideAll(all)
}

// OnACLCheck decides on a topic to publish to. What is not to be subscribed to has been marked by OnSubscribe, and what is
// delivered is in a tree that its reader may read.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	if !write {
		return topic != refusedFilter
	}
	refused := connOf(cl).in.refused // see OnPacketRead
	h.reportRefusal(cl, messageRefused, refused)
	return refused == nil
}

// OnSubscribe gives filters their names inside.
func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	c.subscribe = make(packets.Subscriptions, len(pk.Filters))
	subs := make(packets.Subscriptions, len(pk.Filters))
	for i, sub := range pk.Filters {
		filter, err := h.filter(c, sub.Filter)
		h.counters.countFilter(filter)
		h.reportRefusal(cl, "refused an MQTT subscription", err)
		if h.directory != nil && c.principal.Role != registry.BrokerRole && iotcore.HasWildcard(sub.Filter) {
			sub.RetainHandling = 2 // kept messages are for who asks for exactly this topic
		}
		if share, _ := cutShare(sub.Filter); c.bridge && share == "" {
			sub.NoLocal = true
			sub.FwdRetainedFlag = true // RetainAsPublished is for MQTT 5 alone
		}
		sub.Filter = filter
		if _, existed := cl.State.Subscriptions.Get(filter); existed && sub.RetainHandling == 1 { // [MQTT-3.3.1-10]
			sub.RetainHandling = 2
		}
		c.subscribe[i] = sub
		sub.RetainHandling = 2 // mochi is to send none: see OnPacketProcessed
		subs[i] = sub
	}
	pk.Filters = subs
	if h.directory != nil {
		h.monitor.subscribed(c.activity)
	}
	return pk
}

// OnSubscribed tells which subscriptions there are now.
func (h *hook) OnSubscribed(cl *mqtt.Client, _ packets.Packet, reasonCodes []byte) {
	c := connOf(cl)
	there := c.subscribe[:0]
	for i, sub := range c.subscribe {
		if reasonCodes[i] < packets.ErrUnspecifiedError.Code {
			there = append(there, sub)
		}
	}
	c.subscribe = there
}

// OnPacketProcessed comes after the SUBACK, which the retained messages follow.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	if pk.FixedHeader.Type != packets.Subscribe || err != nil {
		return
	}
	c := connOf(cl)
	h.takeover.RLock()
	defer h.takeover.RUnlock()
	for _, sub := range c.subscribe {
		if sub.RetainHandling == 2 || mqtt.IsSharedFilter(sub.Filter) { // [MQTT-3.3.1-11], MQTT 5.0 section 4.8.2
			continue
		}
		sub.FwdRetainedFlag = true
		sub.Identifiers = map[string]int{sub.Filter: sub.Identifier}
		for _, kept := range h.retained(sub.Filter) { // [MQTT-3.8.4-4]
			h.deliverTo(cl, &sub, kept.TopicName, &kept)
		}
	}
	c.subscribe = nil
}

// OnUnsubscribe gives filters their names inside, and answers which there were: mochi v2.7.9 answers, and counts, for all that
// have part in a share.
func (h *hook) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	subs := make(packets.Subscriptions, len(pk.Filters))
	c.in.codes = make([]byte, len(pk.Filters))
	for i, sub := range pk.Filters {
		sub.Filter, _ = h.filter(c, sub.Filter)
		if _, there := cl.State.Subscriptions.Get(sub.Filter); !there {
			c.in.codes[i], sub.Filter = packets.CodeNoSubscriptionExisted.Code, nowhere
		}
		subs[i] = sub
	}
	pk.Filters = subs
	return pk
}

// filter is the name inside of a filter of a client. Where there is an error, it is refusedFilter or invalidFilter.
func (h *hook) filter(c *conn, filter string) (string, error) {
	share, filter := cutShare(filter)
	if err := validateShare(share); err != nil {
		return invalidFilter, err
	}
	if h.directory == nil {
		if err := cmp.Or(iotcore.ValidateSyntax(filter), iotcore.ValidateLevels(filter)); err != nil {
			return invalidFilter, err
		}
		return share + insideOpen(filter), nil
	}
	n, err := h.directory.Subscribe(c.principal, filter)
	if err != nil {
		return refusedFilter, err
	}
	return share + inside(n), nil
}

// cutShare takes $share/<group>/ off a filter (MQTT 5.0 section 4.8.2), in any case, as mochi does.
func cutShare(filter string) (share, rest string) {
	first, rest, _ := strings.Cut(filter, "/")
	if !strings.EqualFold(first, mqtt.SharePrefix) {
		return "", filter
	}
	group, rest, _ := strings.Cut(rest, "/")
	return first + "/" + group + "/", rest
}

// validateShare tells why the beginning of a shared subscription names no group, or returns nil.
func validateShare(share string) error {
	_, group, found := strings.Cut(strings.TrimSuffix(share, "/"), "/")
	if share != "" && (!found || group == "" || iotcore.HasWildcard(group)) { // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
		return fmt.Errorf("%q: the group of a shared subscription has at least one character, and neither + nor #", share)
	}
	return nil
}

// reportRefusal logs the first refusal of a connection as a warning: a device that is set up wrongly repeats itself.
func (h *hook) reportRefusal(cl *mqtt.Client, what string, why error) {
	if why == nil {
		return
	}
	h.counters.countRefusal(what)
	level := slog.LevelDebug
	if connOf(cl).refusals.Add(1) == 1 {
		level = slog.LevelWarn
	}
	h.logAt(level, what, cl, why)
}
