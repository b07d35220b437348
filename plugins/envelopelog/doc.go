// Package envelopelog is the input and the output envelope_log: an ordered log of
// envelopes in a stream of NATS JetStream, between the triggers that write it and the
// gateways that read it.
//
// # The order
//
// To be fast, an output has many messages on their way to NATS at once. To be
// right, all readers must see them in the order in which they were handed to it, each
// once, whatever is lost on the way. NATS alone does not see to that: when a stream's
// leader changes, some of what is on its way is lost while what was sent behind it is
// stored.
//
// Each start of an output is a writer, with a random ID. It numbers its messages
// from 1, and sends with each (position.go) its ID, the number n, and the highest
// number c that was confirmed when this copy was published. The writer (writer.go)
//
//   - confirms n when n-1 is confirmed and NATS has acknowledged n with a sequence
//     greater than that of n-1;
//   - publishes nothing behind number 1 before that is confirmed;
//   - on anything else, as an error, no answer, or a lower sequence, waits for what is
//     still to be answered and publishes again from the lowest number that is not
//     confirmed, in order: go-back-N (RFC 3366, section 2). The first of these has
//     nothing to be compared with: it was published after n-1 was confirmed.
//
// Thus the stream may hold several copies of a message. A reader (reader.go)
// remembers for each writer the last number that it took, and takes a copy whose
// number is one more; and also the first copy of a writer that it sees, and one whose
// c is greater than the last number that it took. It drops all others.
//
// # Why that is enough
//
// Let the copies that confirmed 1 to n be at the sequences s1 < s2 < … < sn, as the
// writer has checked. A reader that reads the whole log takes every confirmed message
// once, in order:
//
//   - It begins with 1: a copy of another number is published after 1 is confirmed, and
//     is behind s1.
//   - It is nowhere behind c: a copy with c is published after c is confirmed, and is
//     behind sc, where the reader has taken c, by the next point. So all that it takes is
//     one more than what it took before.
//   - It takes n at sn at the latest: if it has taken n-1 at s(n-1) or before, then
//     it takes n behind that, at sn or before.
//
// What it takes depends on the log alone, and so it is the same on all nodes. Late
// copies, of a publication that was given up, change nothing: they make the log longer,
// and the proof uses none of them. That is why a message needs no Nats-Msg-Id, and
// duplicate_window of the stream does not matter here.
//
// A reader that does not read the whole log, since it begins in the middle, or NATS
// has removed what it had not read yet, goes on where the log does: what is missing
// before it, c tells. If it begins where messages were just stored again, it may lack
// some of those that were on their way then, which others have.
//
// # A server that has another log
//
// All of this takes it that there is one log. With a stream of several replicas that is
// for NATS to see to, and NATS 2.9 does not always: a replica that was cut off may
// keep, for good, a message that no majority stored, at a sequence where all others
// have another one. A reader whose consumer is on that server never gets the other
// one. It notices by the next copy of the same writer whose c is beyond what it took, and
// then looks once more through that writer's copies in what the leader of the stream has
// (catchUp, follower.go). Where it begins does not matter, if that is early enough: it has
// taken n, and so takes n+1 at s(n+1) at the latest, as above. So it takes every
// confirmed message once, and those of a writer in order. Between writers its order may
// not be that of other nodes, which is why docs/cluster.md asks for a newer NATS.
//
// A message that NATS refuses for good, as too large, has a number that will never be
// stored. Its writer ends there, and what follows is that of another (writer.go).
//
// What the log does not tell is what two writers have in common: a message that a
// trigger stored, and had not acknowledged when it was killed, is written again by the
// next one as another message.
package envelopelog
