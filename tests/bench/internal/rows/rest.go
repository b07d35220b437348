package rows

import (
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/swarm"
)

// atRest connects clients to a server, waits until it rests, and returns them with
// its RSS before, in bytes, and what that has grown by a connection.
func (b *Bench) atRest(site *lab.Site, c swarm.Config) (clients *lab.Swarm, before, each float64, err error) {
	if err := b.Lab.Sleep(b.phase(2 * time.Second)); err != nil {
		return nil, 0, 0, err
	}
	before = site.RSS()
	c.Address, c.Path, c.Protocol, c.Topic = site.Address, site.Path, site.Protocol, site.Topic
	if clients, err = b.Lab.StartSwarm(c); err != nil {
		return nil, 0, 0, err
	}
	if err := clients.WaitReady(); err != nil {
		return nil, 0, 0, err
	}
	if err := b.Lab.Sleep(b.phase(3 * time.Second)); err != nil {
		return nil, 0, 0, err
	}
	return clients, before, (site.RSS() - before) / float64(c.Readers), nil
}
