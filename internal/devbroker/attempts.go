package devbroker

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// refusalsTold is how many refused clients of an address the log tells of in refusalsPeriod; the others are in a summary.
	refusalsTold   = 5
	refusalsPeriod = 5 * time.Minute
)

// attempts counts the passwords that clients try. A user is counted for each address on its own, so that a stranger who knows
// the name keeps nobody out who comes from elsewhere. A password that may not be tried is not looked at.
type attempts struct {
	seed  maphash.Seed
	users *buckets[userAt]
	ips   *buckets[netip.Prefix]
}

// userAt is a user at an address. The name is as long as a stranger makes it, so it is a hash here.
type userAt struct {
	ip   netip.Prefix
	user uint64
}

func newAttempts(l Limits) *attempts {
	return &attempts{
		seed:  maphash.MakeSeed(),
		users: newBuckets[userAt](l.LoginFailures, failuresPeriod),
		ips:   newBuckets[netip.Prefix](l.LoginFailuresPerIP, failuresPeriod),
	}
}

// begin counts a try, before it is known how it ends: many may be under way.
func (a *attempts) begin(at userAt) error {
	if !a.users.take(at) {
		return refuseBy(byLoginFailures, packets.ErrConnectionRateExceeded, "too many wrong passwords of this user from this address: try again in a minute")
	}
	if !a.ips.take(at.ip) {
		a.users.giveBack(at)
		return refuseBy(byLoginFailuresPerIP, packets.ErrConnectionRateExceeded, "too many wrong passwords from this address: try again in a minute")
	}
	return nil
}

// succeed takes back a try that was no failure, and with it those before of the same user.
func (a *attempts) succeed(at userAt) {
	a.users.forget(at)
	a.ips.giveBack(at.ip)
}

// logIn says who a client is, if it may try.
func (h *hook) logIn(cl *mqtt.Client, pk packets.Packet) error {
	limits := &h.limits
	if limits.LoginFailures == 0 && limits.LoginFailuresPerIP == 0 || !pk.Connect.PasswordFlag || h.ofProcess(pk.Connect.Password) ||
		h.directory == nil && len(h.users) == 0 {
		return h.identify(cl, pk)
	}
	at := userAt{network(connOf(cl).RemoteAddr()), maphash.Bytes(h.attempts.seed, pk.Connect.Username)}
	if err := h.attempts.begin(at); err != nil {
		return err
	}
	err := h.identify(cl, pk)
	if err == nil {
		h.attempts.succeed(at)
	}
	return err
}

// ofProcess reports whether a password is that of the process's own streams, which no stranger's tries are to keep out.
func (h *hook) ofProcess(password []byte) bool {
	return h.directory != nil && subtle.ConstantTimeCompare([]byte(h.directory.ProcessPassword()), password) == 1
}

// refuse counts and logs that a client may not connect, and has the CONNACK tell of a limit.
func (h *hook) refuse(cl *mqtt.Client, pk packets.Packet, err error) {
	c := connOf(cl)
	reason := byNoCredentials
	switch limit := new(refusal); {
	case errors.As(err, &limit):
		reason, c.refusal = limit.reason, limit
	case pk.Connect.PasswordFlag:
		reason = byPassword
	case c.certificate() != nil:
		reason = byCertificate
	}
	h.counters.connections.add(reason)
	level := slog.LevelDebug
	if h.refusals.tell(network(c.RemoteAddr())) {
		level = slog.LevelWarn
	}
	h.logAt(level, "refused an MQTT client", cl, err)
}

// refusals are the refused clients that the log has not been told of one by one: whoever tries passwords tries many.
type refusals struct {
	told *buckets[netip.Prefix]

	mu     sync.Mutex
	untold map[netip.Prefix]int
	more   int // from addresses for which there was no room
}

func newRefusals() *refusals {
	return &refusals{told: newBuckets[netip.Prefix](refusalsTold, refusalsPeriod), untold: map[netip.Prefix]int{}}
}

// tell reports whether to log one more. If not, it is in the next summary.
func (r *refusals) tell(ip netip.Prefix) bool {
	if r.told.take(ip) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.untold[ip]; !there && len(r.untold) >= 1000 {
		r.more++
	} else {
		r.untold[ip]++
	}
	return false
}

// summarise logs in one line what was not told since the last time.
func (r *refusals) summarise(log *slog.Logger) {
	r.mu.Lock()
	untold, all := r.untold, r.more
	r.untold, r.more = map[netip.Prefix]int{}, 0
	r.mu.Unlock()
	var most netip.Prefix
	for ip, n := range untold {
		all += n
		if cmp.Or(cmp.Compare(n, untold[most]), ip.Compare(most)) > 0 {
			most = ip
		}
	}
	if all > 0 {
		log.Warn("refused more MQTT clients", "count", all, "addresses", len(untold), "most_from", most.Addr().String(), "of_these", untold[most])
	}
}
