package devbroker

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A user's password is looked at so often, however right it is at last; others and other users are not kept out by that.
func TestLoginFailures(t *testing.T) {
	forBoth(t, func(t *testing.T, version byte) {
		log, logger := newLog()
		b := startBroker(t, Config{Directory: newDirectory(t, labConfig()), Limits: Limits{LoginFailures: 3}}, logger)
		guess := caller{version: version, id: "g", user: "d1", password: "wrong"}
		for range 3 {
			guess.expect(t, b, notLetIn[version])
		}
		right := guess
		right.password = password
		for range 20 {
			right.expect(t, b, tooOften[version])
		}
		right.user = "d2"
		right.expect(t, b, 0)
		right.user, right.password = "d1", b.hook.directory.ProcessPassword()
		right.expect(t, b, 0)
		s := b.Stats().RefusedConnections
		if s[byPassword] != 3 || s[byLoginFailures] != 20 {
			t.Errorf("counted: %v", s)
		}

		b.hook.refusals.summarise(logger)
		b.hook.refusals.summarise(logger)
		text := log.String()
		if n := strings.Count(text, "refused an MQTT client"); n != refusalsTold {
			t.Errorf("%d lines:\n%s", n, text)
		}
		if strings.Count(text, "refused more MQTT clients") != 1 || !strings.Contains(text, "count=18 addresses=1 most_from=127.0.0.0 of_these=18") &&
			!strings.Contains(text, "count=18 addresses=1 most_from=127.0.0.1 of_these=18") {
			t.Errorf("the summary is not there:\n%s", text)
		}
	})
}

// Failures are counted as they begin, and taken back where they are none: a thousand devices behind one address that log in
// properly are no guessers.
func TestRightPasswordsAreNoFailures(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Config{Users: map[string]string{"u": "p"}, Limits: Limits{LoginFailures: 2, LoginFailuresPerIP: 2}}, nil)
	good := caller{version: 4, id: "c", user: "u", password: "p"}
	for range 10 {
		good.expect(t, b, 0)
	}
	bad := good
	bad.password = "q"
	bad.expect(t, b, notLetIn[4])
	good.expect(t, b, 0)
	bad.expect(t, b, notLetIn[4]) // the second from this address
	other := caller{version: 4, id: "c", user: "other", password: "p"}
	other.expect(t, b, tooOften[4])
	if s := b.Stats().RefusedConnections; s[byLoginFailuresPerIP] != 1 || s[byLoginFailures] != 0 || s[byPassword] != 2 {
		t.Errorf("counted: %v", s)
	}
	caller{version: 5, id: "c"}.expect(t, b, notLetIn[5])
	if s := b.Stats().RefusedConnections; s[byNoCredentials] != 1 {
		t.Errorf("counted: %v", s)
	}
}

// What has been used up comes back with time, and no more than there was.
func TestBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBuckets[string](6, time.Minute)
		all := func() (n int) {
			for b.take("a") {
				n++
			}
			return n
		}
		if n := all(); n != 6 {
			t.Errorf("%d at once", n)
		}
		if !b.take("b") {
			t.Error("b has to wait for a")
		}
		time.Sleep(10*time.Second + time.Millisecond)
		if n := all(); n != 1 {
			t.Errorf("%d after ten seconds", n)
		}
		time.Sleep(time.Hour)
		if n := all(); n != 6 {
			t.Errorf("%d after an hour", n)
		}
		b.giveBack("a")
		if n := all(); n != 1 {
			t.Errorf("%d were given back", n)
		}

		rate := newBuckets[string](2, time.Second)
		var waits []time.Duration
		for range 4 {
			waits = append(waits, rate.wait("a").Round(time.Millisecond))
		}
		if want := []time.Duration{0, 0, 500 * time.Millisecond, time.Second}; !equal(waits, want) {
			t.Errorf("waits %v, want %v", waits, want)
		}
	})
}

func equal(a, b []time.Duration) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// However many strangers come, little is kept of them, and of those who have gone nothing.
func TestBucketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBuckets[int](1, time.Minute)
		for i := range 2 * mostBuckets {
			b.take(i)
		}
		if n := len(b.young) + len(b.old); n > mostBuckets {
			t.Errorf("%d are kept", n)
		}
		time.Sleep(time.Hour)
		b.take(-1)
		if n := len(b.young) + len(b.old); n > 1 {
			t.Errorf("%d are kept after an hour", n)
		}
	})
}

func TestNetwork(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.7:1":           "192.0.2.7/32",
		"[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64",
		"[::ffff:192.0.2.7]:1":  "192.0.2.7/32",
		"[fe80::1%eth0]:1":      "fe80::/64",
	} {
		if got := network(addr(from)); got != netip.MustParsePrefix(want) {
			t.Errorf("%s: %v, want %s", from, got, want)
		}
	}
	if got := network(addr("pipe")); got != (netip.Prefix{}) {
		t.Errorf("got %v", got)
	}
}

type addr string

func (a addr) Network() string { return "tcp" }
func (a addr) String() string  { return string(a) }

// Over WebSocket a client has its address, too.
func TestLoginFailuresOverWebSocket(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Config{
		Address: "127.0.0.1:0", WebSocket: WebSocket{Address: "127.0.0.1:0", Path: "/mqtt"},
		Users: map[string]string{"u": "p"}, Limits: Limits{LoginFailuresPerIP: 1},
	}, nil)
	o := options(b, "ws").SetUsername("x").SetPassword("y")
	o.Servers = nil
	refused(t, o.AddBroker("ws://"+b.WebSocketAddr().String()+"/mqtt"))
	caller{version: 4, id: "tcp", user: "u", password: "p"}.expect(t, b, tooOften[4])
}
