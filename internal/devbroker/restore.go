package devbroker

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.etcd.io/bbolt"

	"github.com/iotcast/iotcast/internal/registry"
)

// storedSession is a persistent session, without its subscriptions and messages.
type storedSession struct {
	User    string `json:"user,omitempty"`
	Version byte   `json:"version"`
	Expiry  uint32 `json:"expiry,omitempty"` // MQTT 5: seconds after the connection

	// Unsent is the order of the first message that cannot have been sent, since there was no connection any more. 0 stands
	// for none: to note each message as it is sent would cost as much as to note the message.
	Unsent uint64 `json:"unsent,omitempty"`
}

func newStoredSession(cl *mqtt.Client, unsent uint64) storedSession {
	return storedSession{
		User:    string(cl.Properties.Username),
		Version: cl.Properties.ProtocolVersion,
		Expiry:  cl.Properties.Props.SessionExpiryInterval,
		Unsent:  unsent,
	}
}

// storedMessage is a retained message, or one that waits in a session.
type storedMessage struct {
	Order    uint64                 `json:"order,omitempty"`
	Type     byte                   `json:"type"`
	ID       uint16                 `json:"id,omitempty"`
	QoS      byte                   `json:"qos,omitempty"`
	Retain   bool                   `json:"retain,omitempty"`
	Version  byte                   `json:"version,omitempty"`
	Topic    string                 `json:"topic,omitempty"`
	Payload  []byte                 `json:"payload,omitempty"`
	Origin   string                 `json:"origin,omitempty"`
	Created  int64                  `json:"created,omitempty"`
	Expiry   int64                  `json:"expiry,omitempty"`
	Format   *byte                  `json:"format,omitempty"`
	MIME     string                 `json:"mime,omitempty"`
	Response string                 `json:"response,omitempty"`
	Data     []byte                 `json:"data,omitempty"`
	User     []packets.UserProperty `json:"user,omitempty"`
	SubIDs   []int                  `json:"sub_ids,omitempty"`
}

func newStoredMessage(pk packets.Packet, order uint64) storedMessage {
	p := &pk.Properties
	m := storedMessage{
		Order: order, Type: pk.FixedHeader.Type, ID: pk.PacketID, QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain,
		Version: pk.ProtocolVersion, Topic: unended(pk.TopicName), Payload: pk.Payload, Origin: pk.Origin, Created: pk.Created, Expiry: pk.Expiry,
		MIME: p.ContentType, Response: p.ResponseTopic, Data: p.CorrelationData, User: p.User, SubIDs: p.SubscriptionIdentifier,
	}
	if p.PayloadFormatFlag {
		m.Format = &p.PayloadFormat
	}
	return m
}

func (m *storedMessage) packet() packets.Packet {
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: m.Type, Qos: m.QoS, Retain: m.Retain},
		ProtocolVersion: m.Version, PacketID: m.ID, TopicName: ended(m.Topic), Payload: m.Payload, Origin: m.Origin, Created: m.Created, Expiry: m.Expiry,
		Properties: packets.Properties{
			ContentType: m.MIME, ResponseTopic: m.Response, CorrelationData: m.Data, User: m.User, SubscriptionIdentifier: m.SubIDs,
		},
	}
	if m.Format != nil {
		pk.Properties.PayloadFormat, pk.Properties.PayloadFormatFlag = *m.Format, true
	}
	return pk
}

// restore fills a server that does not run yet with what the file has, but for what belongs to nobody any more: the
// sessions of those whom the registries do not name now, and what they should not read any more.
func (s *store) restore(h *hook) (sessions, retained int, err error) {
	server := h.server
	err = s.db.View(func(tx *bbolt.Tx) error {
		err := tx.Bucket(bucketSessions).ForEach(func(id, value []byte) error {
			var stored storedSession
			if err := json.Unmarshal(value, &stored); err != nil {
				return fmt.Errorf("session %q: %w", id, err)
			}
			trees, ok := treesOf(h.directory, string(id), stored.User)
			if !ok {
				return nil
			}
			cl := server.NewClient(nil, "", string(id), false)
			cl.Properties.Username = []byte(stored.User)
			cl.Properties.ProtocolVersion = stored.Version
			cl.Properties.Props.SessionExpiryInterval = stored.Expiry
			cl.Properties.Props.SessionExpiryIntervalFlag = stored.Version >= 5
			cl.Stop(packets.ErrServerShuttingDown)
			server.Clients.Add(cl)
			if p, ok := h.principal(stored.User); ok {
				h.sessions.add(cl.ID, p)
			}
			sessions++
			if err := restoreSubscriptions(tx, server, cl, trees); err != nil {
				return err
			}
			for _, id := range packetIDs(tx.Bucket(bucketReceived), join(cl.ID)) {
				h.received.add(cl.ID, id)
			}
			if err := s.restoreMessages(tx, server, cl, trees, stored.Unsent); err != nil {
				return err
			}
			for _, pk := range cl.State.Inflight.GetAll(false) {
				h.weights.restore(cl.ID, &pk)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Bucket(bucketRetained).ForEach(func(topic, value []byte) error {
			var m storedMessage
			if err := json.Unmarshal(value, &m); err != nil {
				return fmt.Errorf("retained message of %q: %w", topic, err)
			}
			if h.directory == nil && !within([]string{plainMark, "$"}, m.Topic) {
				return nil // it is from a time with registries
			}
			if restoreRetained(h, m.packet()) {
				retained++
			}
			return nil
		})
	})
	h.countKept()
	return sessions, retained, err
}

// restoreRetained keeps a message by all the names that it has now. What an earlier version has kept by other names than the
// first is left out.
func restoreRetained(h *hook, pk packets.Packet) bool {
	names := []string{pk.TopicName}
	if h.directory != nil {
		var id string
		id, names = namesOf(h.directory, pk.TopicName)
		h.kept.set(id, pk.TopicName, names)
	}
	for _, name := range names {
		pk.TopicName = name
		h.setRetained(pk)
	}
	return len(names) > 0
}

func restoreSubscriptions(tx *bbolt.Tx, server *mqtt.Server, cl *mqtt.Client, trees []string) error {
	return forEach(tx.Bucket(bucketSubscriptions), join(cl.ID), func(value []byte) error {
		var sub packets.Subscription
		if err := json.Unmarshal(value, &sub); err != nil {
			return fmt.Errorf("subscription of %q: %w", cl.ID, err)
		}
		share, filter := cutShare(sub.Filter)
		if !within(trees, filter) {
			return nil
		}
		sub.Filter = share + ended(filter)
		server.Topics.Subscribe(cl.ID, sub)
		server.Info.Subscriptions++
		cl.State.Subscriptions.Add(sub.Filter, sub)
		return nil
	})
}

func (s *store) restoreMessages(tx *bbolt.Tx, server *mqtt.Server, cl *mqtt.Client, trees []string, unsent uint64) error {
	var all []storedMessage
	err := forEach(tx.Bucket(bucketMessages), join(cl.ID), func(value []byte) error {
		var m storedMessage
		if err := json.Unmarshal(value, &m); err != nil {
			return fmt.Errorf("message to %q: %w", cl.ID, err)
		}
		s.order = max(s.order, m.Order)
		if m.Type == packets.Publish && within(trees, m.Topic) || m.Type == packets.Pubrel { // one that was sent again is kept
			all = append(all, m)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b storedMessage) int { return cmp.Compare(a.Order, b.Order) })
	for i, m := range all {
		pk := m.packet()
		pk.Created = int64(i) // see renumber
		server.Info.Inflight++
		pk.FixedHeader.Dup = m.Type == packets.Publish && (unsent == 0 || m.Order < unsent)
		cl.State.Inflight.Set(pk)
	}
	return err
}

// packetIDs are those at the end of the keys.
func packetIDs(b *bbolt.Bucket, prefix []byte) (ids []uint16) {
	c := b.Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		ids = append(ids, binary.BigEndian.Uint16(k[len(prefix):]))
	}
	return ids
}

func forEach(b *bbolt.Bucket, prefix []byte, do func(value []byte) error) error {
	c := b.Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if err := do(v); err != nil {
			return err
		}
	}
	return nil
}

// treesOf gives the beginnings of the topics that a session may read, and false if there is nobody whose session it is.
func treesOf(directory *registry.Directory, sessionOf, user string) (trees []string, ok bool) {
	if directory == nil {
		return []string{plainMark, "$"}, true
	}
	p, ok := directory.Principal(user)
	if !ok || !strings.HasPrefix(sessionOf, sessionID(p, "")) {
		return nil, false
	}
	for _, a := range p.Audiences() {
		trees = append(trees, string(a)+"/"+plainMark, string(a)+"/"+dollarMark)
	}
	return trees, true
}

func within(trees []string, topic string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool { return strings.HasPrefix(topic, tree) })
}
