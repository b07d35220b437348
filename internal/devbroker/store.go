package devbroker

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// The buckets of the file, and their keys.
var (
	bucketSessions      = []byte("sessions")      // client ID
	bucketSubscriptions = []byte("subscriptions") // client ID, NUL, filter
	bucketMessages      = []byte("messages")      // client ID, NUL, packet ID in two bytes: to the client
	bucketReceived      = []byte("received")      // client ID, NUL, packet ID in two bytes: from the client, not released
	bucketRetained      = []byte("retained")      // topic
)

const (
	// openTimeout is how long another process may hold the file.
	openTimeout = 2 * time.Second

	// maxWaiting is how many changes may wait for the disk, before those who make them are made to wait.
	maxWaiting = 10_000
)

var errStoreClosed = errors.New("the file of the MQTT broker is closed")

// store keeps persistent sessions, what waits in them, and retained messages in a bbolt file. mochi has hooks for that, but
// in v2.7.9 they forget packet IDs, so that of what waits in a session one message is left; they bring refused subscriptions
// to life; and they wait for the disk at every change. Here, what was changed while the disk was busy is written at once.
//
// A message of QoS 1 or 2 is acknowledged to its publisher when it is on disk. That a subscriber has acknowledged one may be
// lost with the power: then it comes again.
type store struct {
	mqtt.HookBase
	db  *bbolt.DB
	log *slog.Logger

	mu      sync.Mutex
	changed sync.Cond
	waiting []change
	queued  uint64 // how many changes there were
	written uint64 // how many of them are on disk
	failed  error  // why the last could not be written
	closed  bool
	ended   chan struct{}
	order   uint64 // of messages
}

// change is one change of the file.
type change struct {
	bucket, key []byte
	value       []byte // nil: remove the key
	all         bool   // remove all keys that begin with key
}

func openStore(path string, log *slog.Logger) (*store, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: openTimeout})
	if err != nil {
		if errors.Is(err, bbolterrors.ErrTimeout) {
			err = errors.New("another process has it open")
		}
		return nil, fmt.Errorf("opening the file of the MQTT broker, %q: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketSessions, bucketSubscriptions, bucketMessages, bucketReceived, bucketRetained} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("preparing the file of the MQTT broker, %q: %w", path, err)
	}
	s := &store{db: db, log: log, ended: make(chan struct{})}
	s.changed.L = &s.mu
	go s.write()
	return s, nil
}

// put queues changes, and waits if the disk is far behind.
func (s *store) put(changes ...change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) >= maxWaiting && !s.closed {
		s.changed.Wait()
	}
	s.waiting = append(s.waiting, changes...)
	s.queued += uint64(len(changes))
	s.changed.Broadcast()
}

// sync waits until all changes so far are on disk.
func (s *store) sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := s.queued
	for s.written < until && s.failed == nil {
		s.changed.Wait()
	}
	if s.written >= until {
		return nil
	}
	return s.failed
}

// write writes what waits, all of it at once, until Stop.
func (s *store) write() {
	defer close(s.ended)
	for {
		s.mu.Lock()
		for len(s.waiting) == 0 && !s.closed {
			s.changed.Wait()
		}
		batch := s.waiting
		s.waiting = nil
		s.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		err := s.db.Update(func(tx *bbolt.Tx) error { return apply(tx, batch) })

		s.mu.Lock()
		if err == nil {
			s.written += uint64(len(batch))
		} else {
			s.waiting = append(batch, s.waiting...) // to try again
			if s.failed == nil {
				s.log.Error("could not write to the file of the MQTT broker: publishers are made to wait and to send again", "error", err)
			}
		}
		if s.failed != nil && err == nil {
			s.log.Info("the file of the MQTT broker can be written again")
		}
		s.failed = err
		closed := s.closed
		s.changed.Broadcast()
		s.mu.Unlock()
		if err != nil {
			if closed {
				return
			}
			time.Sleep(time.Second)
		}
	}
}

func apply(tx *bbolt.Tx, batch []change) error {
	for _, c := range batch {
		b := tx.Bucket(c.bucket)
		var err error
		switch {
		case c.all:
			err = removeAll(b, c.key)
		case c.value == nil:
			err = b.Delete(c.key)
		default:
			err = b.Put(c.key, c.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func removeAll(b *bbolt.Bucket, prefix []byte) error {
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, append([]byte{}, k...)) // a cursor does not go well with deleting
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// Stop implements mqtt.Hook: it writes what waits and closes the file.
func (s *store) Stop() error {
	s.mu.Lock()
	s.closed = true
	s.changed.Broadcast()
	s.mu.Unlock()
	<-s.ended
	s.mu.Lock()
	if s.failed == nil {
		s.failed = errStoreClosed // for those who still come
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	return s.db.Close()
}

// ID implements mqtt.Hook.
func (s *store) ID() string { return "store" }

// Provides implements mqtt.Hook.
func (s *store) Provides(b byte) bool {
	switch b {
	case mqtt.OnSessionEstablished, mqtt.OnDisconnect, mqtt.OnSubscribed, mqtt.OnUnsubscribed, mqtt.OnQosPublish,
		mqtt.OnQosDropped, mqtt.OnRetainMessage, mqtt.OnRetainedExpired:
		return true
	}
	return false
}

// persistent reports whether the session of a client outlives its connection.
func persistent(cl *mqtt.Client) bool {
	if cl.Properties.ProtocolVersion >= 5 {
		return cl.Properties.Props.SessionExpiryInterval > 0
	}
	return !cl.Properties.Clean
}

func join(clientID string, rest ...byte) []byte {
	return append(append([]byte(clientID), 0), rest...)
}

func messageKey(cl *mqtt.Client, packetID uint16) []byte {
	return join(cl.ID, binary.BigEndian.AppendUint16(nil, packetID)...)
}

// record is a value of the file. What is recorded are plain structs, so there is no error.
func record(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// OnSessionEstablished implements mqtt.Hook.
func (s *store) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	if !persistent(cl) {
		s.forget(cl) // there may have been one before
		return
	}
	for _, sub := range cl.State.Subscriptions.GetAll() { // of a session that was not persistent and has been taken over
		s.put(subscription(cl, sub))
	}
}

// begin notes that a session has a connection.
func (s *store) begin(cl *mqtt.Client) {
	s.put(change{bucket: bucketSessions, key: []byte(cl.ID), value: record(newStoredSession(cl, 0))})
}

// subscription is the change that keeps a subscription.
func subscription(cl *mqtt.Client, sub packets.Subscription) change {
	sub.Filter = unended(sub.Filter)
	return change{bucket: bucketSubscriptions, key: join(cl.ID, []byte(sub.Filter)...), value: record(sub)}
}

// OnDisconnect implements mqtt.Hook.
func (s *store) OnDisconnect(cl *mqtt.Client, _ error, expire bool) {
	switch {
	case cl.IsTakenOver():
	case expire && !errors.Is(cl.StopCause(), packets.ErrSessionTakenOver):
		s.forget(cl)
	case persistent(cl):
		s.mu.Lock()
		unsent := s.order + 1
		s.mu.Unlock()
		s.put(change{bucket: bucketSessions, key: []byte(cl.ID), value: record(newStoredSession(cl, unsent))})
	}
}

func (s *store) forget(cl *mqtt.Client) {
	s.put(
		change{bucket: bucketSessions, key: []byte(cl.ID)},
		change{bucket: bucketSubscriptions, key: join(cl.ID), all: true},
		change{bucket: bucketMessages, key: join(cl.ID), all: true},
		change{bucket: bucketReceived, key: join(cl.ID), all: true},
	)
}

// OnSubscribed implements mqtt.Hook.
func (s *store) OnSubscribed(cl *mqtt.Client, pk packets.Packet, reasonCodes []byte) {
	if !persistent(cl) {
		return
	}
	for i, sub := range pk.Filters {
		if reasonCodes[i] < packets.ErrUnspecifiedError.Code {
			s.put(subscription(cl, sub))
		}
	}
}

// OnUnsubscribed implements mqtt.Hook.
func (s *store) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	for _, sub := range pk.Filters {
		s.put(change{bucket: bucketSubscriptions, key: join(cl.ID, []byte(unended(sub.Filter))...)})
	}
}

// OnQosPublish implements mqtt.Hook.
func (s *store) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if !persistent(cl) || pk.FixedHeader.Dup { // a resent message is there already
		return
	}
	s.mu.Lock()
	s.order++
	order := s.order
	s.mu.Unlock()
	s.put(change{bucket: bucketMessages, key: messageKey(cl, pk.PacketID), value: record(newStoredMessage(pk, order))})
}

// OnQosComplete removes a message that is delivered. mochi is not to call it, which has freed the packet ID before.
func (s *store) OnQosComplete(cl *mqtt.Client, pk packets.Packet) {
	if persistent(cl) {
		s.put(change{bucket: bucketMessages, key: messageKey(cl, pk.PacketID)})
	}
}

// received keeps the ID of a QoS 2 message from a client, until it is released.
func (s *store) received(cl *mqtt.Client, packetID uint16) {
	if persistent(cl) {
		s.put(change{bucket: bucketReceived, key: messageKey(cl, packetID), value: []byte{}})
	}
}

func (s *store) released(cl *mqtt.Client, packetID uint16) {
	if persistent(cl) {
		s.put(change{bucket: bucketReceived, key: messageKey(cl, packetID)})
	}
}

// forgetReceived begins a session, maybe in place of another.
func (s *store) forgetReceived(cl *mqtt.Client) {
	if persistent(cl) { // else nothing is kept of any
		s.put(change{bucket: bucketReceived, key: join(cl.ID), all: true})
	}
}

// OnQosDropped implements mqtt.Hook.
func (s *store) OnQosDropped(cl *mqtt.Client, pk packets.Packet) {
	if !cl.IsTakenOver() { // else the session lives on with another connection
		s.OnQosComplete(cl, pk)
	}
}

// OnRetainMessage implements mqtt.Hook.
func (s *store) OnRetainMessage(_ *mqtt.Client, pk packets.Packet, _ int64) {
	c := change{bucket: bucketRetained, key: []byte(unended(pk.TopicName))}
	if len(pk.Payload) > 0 {
		c.value = record(newStoredMessage(pk, 0))
	}
	s.put(c)
}

// OnRetainedExpired implements mqtt.Hook.
func (s *store) OnRetainedExpired(topic string) {
	s.put(change{bucket: bucketRetained, key: []byte(unended(topic))})
}
