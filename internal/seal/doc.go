// Package seal turns the operator's keys (setting `failover.key`) into what several replicas need to share sessions: names
// of records and accounts that say nothing to whoever reads the store, encryption of the credentials kept there, and the
// keys by which replicas recognise each other.
//
// All replicas have the same keys, newest first. The newest seals and names; all of them open and are looked for, so that a
// key can be changed while sessions go on: add the new one at the end everywhere, then move it to the front everywhere,
// then, after the longest session, remove the old one. (At the front at once, a replica that does not have it yet would not
// find sessions of those that do.)
//
// What is derived from a key K, all with HMAC-SHA-256 or, built on it, HKDF:
//
//	record key   K, "sid" ‖ sid                  the sid never reaches the store (failover-design 5)
//	account      K, "account" ‖ bare JID         neither does the list of an account's sessions name it
//	user agent   K, "ua" ‖ bare JID ‖ 0 ‖ slot   in the form of a UUID (failover-design 9.2)
//	key id       K, "id"                         which key sealed
//	relay        K, "relay"                      between replicas
//	session      HKDF, salt sid, info "reauth 1" ‖ key id; AES-256-GCM (failover-design 9.3)
//
// So who has the store alone opens nothing, who has store and keys opens nothing without a sid, and what was sealed for one
// session, account or server does not open for another.
package seal
