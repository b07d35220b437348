package devbroker

import "testing"

// Here, every address of 127.0.0.0/8 is this machine's.
const elsewhere = "127.0.0.2"

// Whom others keep busy from one address comes in from another.
func TestLimitsPerIP(t *testing.T) {
	forBoth(t, func(t *testing.T, version byte) {
		b := startBroker(t, Config{Users: map[string]string{"u": "p"}, Limits: Limits{ConnectionsPerIP: 1, LoginFailures: 1}}, nil)
		guess := caller{version: version, id: "guesser", user: "u", password: "q"}
		guess.expect(t, b, notLetIn[version])
		guess.expect(t, b, tooOften[version])

		one := caller{version: version, id: "one", user: "u", password: "p", from: elsewhere}
		c := one.expect(t, b, 0)
		two := caller{version: version, id: "two", user: "u", password: "p", from: elsewhere}
		two.expect(t, b, beyond[version])
		if n := b.Stats().RefusedConnections[byConnectionsPerIP]; n != 1 {
			t.Errorf("%d refusals were counted", n)
		}
		one.expect(t, b, 0)
		_ = c.nc.Close()
		two.expect(t, b, beyond[version])
		one.from = "127.0.0.3" // it moves, and its place with it
		one.expect(t, b, 0)
		two.comesIn(t, b)
	})
}
