// Package fanout hands one frame to every connection of a route.
//
// It stands on the ground floor. It knows frames (RFC 6455, section 5.2), sockets,
// and how filters of MQTT match. It knows nothing of HTTP, JSON or Benthos.
//
// # How it works
//
// A [Hub] keeps one queue for all its connections: an append-only log of
// frames, in chunks. A connection owns no queue, only a cursor into that log,
// so a broadcast costs one copy of the frame whatever the number of
// connections, and a connection that waits costs nothing but its place. What
// lies behind the slowest cursor is garbage, and Go's collector takes it.
//
// All hubs of a process share a few goroutines: loops, one for every second core,
// which write, and a poller, which waits for sockets. Each hub has a shard of its connections
// in each loop. Woken by a broadcast, a loop passes over the shard and gives each
// connection all that has been appended since the last pass, in one write(2)
// straight to the non-blocking socket. Then the shard rests for as long as the pass
// took. Meanwhile broadcasts gather, so the busier the hub the fewer writes a
// delivery costs: at a trickle it is one write a delivery, as cheap as a bare
// socket; in a flood one write carries dozens.
//
// A write that would block does not stop the loop: the poller tells it when the socket
// has room again. On Linux the kernel is told to take no more than 128 KiB that it
// cannot send yet. With a tenth of the connections stalled, a flood cost 1.05 times
// what it does with none; without that limit it cost 1.10 times.
//
// The poller reads what clients send, woken by epoll_wait(2), and takes it apart as it
// comes. So a connection needs no goroutine and no buffer, not even in the middle of a
// frame, and not over TLS either. Only messages that somebody wants are handed over in
// a goroutine, which ends when there are no more of them. On other systems than
// Linux each connection has a goroutine that reads, and one that writes while its socket
// is full.
//
// With [Config.History] the hub remembers the places of recent messages in that
// log, and so holds their frames, shared by all. A connection that resumes gets its
// cursor put where it left off. It then reads on, and so comes to what is live.
//
// # Choices
//
// A connection that wants a part of what is broadcast reads another log: that of all
// with the same choice, a selection. A broadcast finds the selections that it concerns
// in an index by key and by topic filter, appends to each what concerns it, and wakes
// their connections alone. So it costs what its deliveries do, however many connections
// wait for something else. Messages are taken apart by [Config.Parts]: this package
// does not know what a part looks like inside.
//
// # Last values
//
// With [Config.Latest] the hub keeps the newest part of each key, in the order in which
// they came. What a connection gets of them is made in blocks, as it reads. For those
// that want all, the frames of a block are made once, until a value in it changes. So a
// thousand clients that come at once take the memory of one page, and no more time
// than it takes to write it to them.
//
// # What it promises
//
// Each connection gets every frame broadcast between [Hub.Attach] and its end,
// once and in order, or is closed with a reason. With [DropOldest] it may lose the
// oldest frames instead: they are counted, and it is told. A connection that does not
// read costs the others nothing: what waits for it is bounded by [Limits.QueueBytes].
// Because the log is shared, that bounds the memory of all slow connections together.
//
// # Where to find what
//
//   - frame.go writes frames, reader.go reads them, deflate.go compresses both ways;
//     events.go writes server-sent events
//   - queue.go is the log of frames, history.go the places in it to resume from
//   - choice.go is what a connection wants, selection.go the queue of those that want
//     the same, pace.go holds back what they do not want yet
//   - start.go is what comes before what is live; latest.go is the newest of each key,
//     snapshot.go how a connection gets it, page.go what they share of that
//   - conn.go is a connection, policy.go its limits; writer.go writes to it,
//     receive.go reads from it, inbox.go hands over what it sent
//   - probe.go finds out what has become of a message, if somebody asks
//   - shard.go, loop.go, poller_linux.go and engine.go are the goroutines
//   - hub.go ties them together, configure.go changes what they go by
//
// Locks are taken in this order: Conn.mu, Hub.mu, then one of shard.mu, loop.mu,
// poller.mu and probes.mu. Hub.lag is taken with none of them held.
package fanout
