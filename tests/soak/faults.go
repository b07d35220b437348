package main

import (
	"fmt"
	"net/http"
	"time"
)

// fault is something that goes wrong. It is over when make returns, or ends by
// itself some time later.
type fault struct {
	name string
	rest time.Duration // at most, until the next fault
	make func(*soak) error
}

// lastingFaults leave both iotcasts running.
var lastingFaults = []fault{
	{"client cut off", time.Second, cutClient},
	{"client cut off", time.Second, cutClient},
	{"client cut off", time.Second, cutClient},
	{"client stalls", time.Second, stallClient},
	{"client stalls", time.Second, stallClient},
	{"client goes, another comes", time.Second, replaceClient},
	{"network cut", 2 * time.Second, cutNetwork},
	{"network silent", 5 * time.Second, silenceNetwork},
	{"network slow", 2 * time.Second, slowNetwork},
	{"stream updated", 2 * time.Second, updateStream},
	{"broker killed", 3 * time.Second, killBroker},
	{"NATS killed", 3 * time.Second, killNATS},
}

var allFaults = append([]fault{
	{"iotcast killed", 3 * time.Second, killIotcast},
	{"iotcast killed", 3 * time.Second, killIotcast},
	{"iotcast restarted", 3 * time.Second, restartIotcast},
}, lastingFaults...)

func (s *soak) anyNode() *node { return s.site.nodes()[s.random.IntN(2)] }

func (s *soak) anyClient() *listener {
	for {
		if l := s.listeners[s.random.IntN(len(s.listeners))]; !l.left {
			return l
		}
	}
}

// later undoes a fault after a while.
func (s *soak) later(d time.Duration, undo func()) {
	s.healing.Go(func() {
		time.Sleep(d)
		undo()
	})
}

func cutClient(s *soak) error {
	s.anyClient().Cut(s.upTo(5 * time.Second))
	return nil
}

func stallClient(s *soak) error {
	s.anyClient().Stall(s.upTo(8 * time.Second))
	return nil
}

// replaceClient: who leaves has been entitled to what came before, who comes to
// what comes after.
func replaceClient(s *soak) error {
	l := s.anyClient()
	if l.Top() < 0 {
		return nil
	}
	l.left = true
	l.leave()
	<-l.done
	s.listen(l.node)
	return nil
}

func cutNetwork(s *soak) error {
	n := s.anyNode()
	n.network.Cut()
	s.later(s.upTo(2*time.Second), n.network.Mend)
	return nil
}

func silenceNetwork(s *soak) error {
	n := s.anyNode()
	n.network.Swallow()
	s.later(s.upTo(8*time.Second), n.network.Mend)
	return nil
}

func slowNetwork(s *soak) error {
	n := s.anyNode()
	n.network.Delay(s.upTo(200 * time.Millisecond))
	s.later(s.upTo(3*time.Second), n.network.Mend)
	return nil
}

func updateStream(s *soak) error {
	n := s.site.memory
	status, answer := n.request(http.MethodPut, "/streams/trigger", n.streams["trigger"])
	if status != http.StatusOK {
		return fmt.Errorf("status %d: %s", status, answer)
	}
	return nil
}

func killBroker(s *soak) error {
	s.site.mosquitto.kill()
	time.Sleep(s.upTo(time.Second))
	return s.site.mosquitto.start()
}

func killNATS(s *soak) error {
	s.site.nats.kill()
	time.Sleep(s.upTo(time.Second))
	return s.site.nats.start()
}

func killIotcast(s *soak) error {
	n := s.anyNode()
	n.kill()
	time.Sleep(s.upTo(time.Second))
	return n.launch()
}

func restartIotcast(s *soak) error {
	n := s.anyNode()
	if err := n.terminate(); err != nil {
		return err
	}
	return n.launch()
}
