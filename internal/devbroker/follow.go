package devbroker

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/registry"
)

// The Directory may change while the broker runs. What a client publishes and subscribes to is asked of it each time, so that
// needs nothing here. But connections outlive the credentials that they logged in with, sessions and kept messages those whom
// they belong to, and a kept message its names.

// sessions are whose sessions there are, also of those who are connected.
type sessions struct {
	mu sync.Mutex
	of map[string]map[string]registry.Principal // ID of a principal -> client ID -> who that was
}

func (s *sessions) add(clientID string, p registry.Principal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[p.ID] == nil {
		if s.of == nil {
			s.of = map[string]map[string]registry.Principal{}
		}
		s.of[p.ID] = map[string]registry.Principal{}
	}
	s.of[p.ID][clientID] = p
}

func (s *sessions) remove(clientID, principalID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if delete(s.of[principalID], clientID); len(s.of[principalID]) == 0 {
		delete(s.of, principalID)
	}
}

// has reports whether there is this session of this one.
func (s *sessions) has(clientID string, p registry.Principal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[p.ID][clientID] == p
}

// all are those of somebody.
func (s *sessions) all(principalID string) map[string]registry.Principal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.of[principalID])
}

// follow makes the broker fit to the Directory, as to those who have changed.
func (h *hook) follow(changed []string) {
	for _, id := range changed {
		now, there := h.directory.Principal(id)
		for clientID, as := range h.sessions.all(id) {
			if cl, ok := h.server.Clients.Get(clientID); ok {
				h.review(cl, there && now == as)
			}
		}
		h.rename(id)
		if !there {
			h.monitor.forget(id)
		}
	}
}

// review ends the connection of a client who could not log in again as it has done, and with it the session if there is
// nobody any more whose it is.
func (h *hook) review(cl *mqtt.Client, there bool) {
	if cl.Net.Conn == nil { // it has come from disk
		if !there {
			h.dissolve(cl)
		}
		return
	}
	c := connOf(cl)
	if !there {
		c.atEnd(func() { h.dissolve(cl) })
	}
	why := h.directory.Recheck(c.principal, c.proof)
	if why == nil || cl.Closed() || c.dismissed.Swap(true) {
		return
	}
	h.logAt(slog.LevelInfo, "ended an MQTT connection", cl, why)
	code := packets.ErrNotAuthorized
	if errors.Is(why, registry.ErrNotFound) || errors.Is(why, registry.ErrForbidden) {
		code = packets.ErrAdministrativeAction
	}
	sayGoodbye(cl, code)
	// mochi is left to find that the connection has ended: where it ends one by itself while it handles a packet, it forgets
	// the will.
	_ = c.Close()
}

// dissolve removes a session whose connection is over.
func (h *hook) dissolve(cl *mqtt.Client) {
	h.takeover.Lock()
	defer h.takeover.Unlock()
	if now, _ := h.server.Clients.Get(cl.ID); now != cl {
		return
	}
	h.server.UnsubscribeClient(cl)
	cl.ClearInflights()
	h.server.Clients.Delete(cl.ID)
	h.ended(cl)
	if h.store != nil {
		h.store.forget(cl)
	}
}

// ended forgets what is known of a session beside mochi.
func (h *hook) ended(cl *mqtt.Client) {
	h.received.forget(cl.ID)
	h.weights.forget(cl.ID)
	h.sessions.remove(cl.ID, string(cl.Properties.Username))
}

// rename gives the kept messages of somebody the names that they have now. Without a name they are kept no longer.
func (h *hook) rename(id string) {
	h.kept.mu.Lock()
	defer h.kept.mu.Unlock()
	for first, before := range h.kept.names[id] {
		pk, kept := h.server.Topics.Retained.Get(first)
		_, names := namesOf(h.directory, first)
		if !kept || len(names) == 0 {
			h.kept.set(id, first, nil)
			h.drop(before...)
			continue
		}
		for _, name := range before {
			if !slices.Contains(names, name) {
				h.drop(name)
			}
		}
		for _, name := range names {
			if !slices.Contains(before, name) {
				pk.TopicName = name
				h.setRetained(pk)
			}
		}
		h.kept.set(id, first, names)
	}
}

// drop ends the keeping of topics. The caller must hold kept.mu.
func (h *hook) drop(topics ...string) {
	for _, topic := range topics {
		nothing := packets.Packet{TopicName: topic}
		h.setRetained(nothing)
		if h.store != nil {
			h.store.OnRetainMessage(nil, nothing, 0)
		}
	}
	h.countKept()
}
