package devbroker

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log/slog"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/registry"
)

// OnConnectAuthenticate says whether a client may connect. With registries, it becomes somebody: its session is its own,
// whatever client ID another chooses, and its will goes where it may publish.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	if h.store != nil {
		connOf(cl).sync = h.store.sync
	}
	pk.Connect = *connOf(cl).connect
	err := h.logIn(cl, pk)
	if err == nil {
		if err = h.takeWill(cl); err != nil {
			err = &refusal{reason: byWill, why: err}
		}
	}
	if err == nil {
		connOf(cl).giveBack, err = h.admission.enter(cl.ID, connOf(cl).RemoteAddr(), h.ofProcess(pk.Connect.Password))
	}
	// mochi forgets what it has sent after the client's Receive Maximum was reached, and then waits for its acknowledgement
	// for ever. So mochi knows of no maximum, and the connection makes it wait.
	connOf(cl).bound(cl.Properties.Props.ReceiveMaximum)
	cl.Properties.Props.ReceiveMaximum = 0
	cl.State.Inflight.ResetSendQuota(0)
	// An alias counts for one connection, and mochi keeps what waits in a session with the alias instead of the topic.
	cl.Properties.Props.TopicAliasMaximum = 0
	if err != nil {
		h.refuse(cl, pk, err)
	}
	return err == nil
}

func (h *hook) identify(cl *mqtt.Client, pk packets.Packet) error {
	if h.directory == nil {
		return h.checkUser(pk)
	}
	login := registry.Login{User: string(pk.Connect.Username), Certificate: connOf(cl).certificate()}
	if pk.Connect.PasswordFlag {
		login.Password = append([]byte{}, pk.Connect.Password...) // not nil, even if it is empty
	}
	p, proof, err := h.directory.Authenticate(login)
	if err != nil {
		return err
	}
	connOf(cl).principal, connOf(cl).proof = p, proof
	cl.Properties.Username = []byte(p.ID)
	cl.ID = sessionID(p, cl.ID)
	return nil
}

// sessionID is the client ID inside. IDs of principals hold no slash, so it belongs to this principal only.
func sessionID(p registry.Principal, clientID string) string { return p.ID + "/" + clientID }

func (h *hook) checkUser(pk packets.Packet) error {
	if len(h.users) == 0 {
		return nil
	}
	user := string(pk.Connect.Username)
	want, known := h.users[user]
	if known && subtle.ConstantTimeCompare([]byte(want), pk.Connect.Password) == 1 {
		return nil
	}
	return fmt.Errorf("unknown user or wrong password, user %q", user)
}

func (h *hook) logAt(level slog.Level, what string, cl *mqtt.Client, why error) {
	h.log.Log(context.Background(), level, what, "reason", why, "client", cl.ID, "remote", cl.Net.Remote)
}
