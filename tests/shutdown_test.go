package tests

import "testing"

// SIGTERM: what has arrived goes out, every connection is closed with 1001, and
// the process ends.
func TestTermination(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := runIotcast(t, trigger(b, "broker_id: factory", ""))
	clients := connectAll(t, cast.url("/telemetry"))
	idle := connectGo(t, cast.url("/alarms"))
	b.publish(1, readingsOf([]string{"hall/press"})...)
	clients[0].waitEntries(readings)

	cast.terminate()
	for _, c := range append(clients, idle) {
		c.waitClosed(1001)
	}
	clients[0].waitEntries(readings)
	want := clients[0].received()
	for _, c := range clients {
		if got := c.received(); len(got) != len(want) {
			t.Errorf("%s client: %d envelopes before the end, want %d", c.name, len(got), len(want))
		}
	}
}

// Without a broker, and with a client that does not read, the end comes all the
// same.
func TestTerminationWithoutHelp(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := runIotcast(t, trigger(b, "broker_id: factory", ""))
	stuck := connectWS(t, cast.url("/telemetry"))
	stuck.waitOpen()
	stuck.pauseReading()
	b.publish(1, message{topic: "hall/press", payload: largest}, message{topic: "hall/press", payload: largest})
	b.kill()
	cast.terminate()
}
