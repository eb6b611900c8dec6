// Package sessionstore keeps what must survive the death of a replica: who owns a session, since when, and an opaque record
// with which another replica can go on. It knows no XMPP.
//
// A replica is one gateway process: a name that may be configured, and an incarnation that no other process ever has. It
// holds a lease in the store, which ends three seconds after the process does. A session is owned by one incarnation at a
// time. Each change of the owner gives the session a higher epoch, the fencing number; every write names the epoch under
// which it is made and is refused when there is a newer one. So a replica that was frozen while another one took its
// session over can do no harm in the store, however late its writes arrive.
//
// A record has two parts: the static part, written at login and when a credential changes, and the counters, a short text
// written with every response. The store reads neither.
//
// What callers may rely on (failover-design 2 and 7):
//
//   - Of several replicas that claim a session at once, one gets it.
//   - After Claim has returned an epoch, no write under an older one succeeds, even if it was sent before.
//   - A write that returned nil is in the store, in so far as the store itself keeps what it has acknowledged.
//   - A write that returned an error may be in the store. It may be made again: writes are numbered, and an older one
//     never takes the place of a newer one.
//   - Epochs of one key only ever grow, even if its record is deleted, expires or is lost: they are made from the store's
//     clock, or from the one before, whichever is higher.
//
// Two implementations pass the same suite (storetest): Memory, within one process, and Redis: a single server, a
// master under Sentinel, or a cluster.
package sessionstore
