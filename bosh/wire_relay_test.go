package bosh

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stanzagate/internal/replica"
	"stanzagate/internal/seal"
	"stanzagate/internal/xmpptest"
	"stanzagate/sessionstore"
	"stanzagate/upstream"
)

// onLoopback starts replicas that hand requests on, over real connections.
func onLoopback(t *testing.T, number int) (c *replicas, all []*oneReplica) {
	t.Helper()
	keys, err := seal.New([]byte("a secret of the operator, 32 byte"))
	if err != nil {
		t.Fatal(err)
	}
	c = &replicas{t: t, xmpp: xmpptest.Start(t, resumable()), shared: sessionstore.NewMemory(sessionstore.MemoryConfig{}), keys: keys}
	for range number {
		all = append(all, c.listen(t))
	}
	return c, all
}

// listen starts one of them.
func (c *replicas) listen(t *testing.T) *oneReplica {
	t.Helper()
	identity, err := replica.NewIdentity(c.keys.Relay())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := replica.NewClient(replica.ClientConfig{Identity: identity})
	if err != nil {
		t.Fatal(err)
	}
	c.number++
	self := sessionstore.Replica{ID: "r" + strconv.Itoa(c.number), Incarnation: sessionstore.NewIncarnation(), Address: listener.Addr().String()}
	view, err := c.shared.Join(self, 1)
	if err != nil {
		t.Fatal(err)
	}
	n := &oneReplica{store: &faultyStore{Store: view}, counts: &failoverTally{}, lines: &connections{dial: func() net.Conn {
		conn, err := net.Dial("tcp", c.xmpp.Addr)
		if err != nil {
			t.Error(err)
		}
		return conn
	}}}
	if n.member, err = replica.NewMember(replica.MemberConfig{Store: n.store, Keys: c.keys, Client: client}); err != nil {
		t.Fatal(err)
	}
	dialer, err := upstream.NewDialer(upstream.Config{
		Domains: []string{"example.org=xmpp://192.0.2.1:5222?tls=none"}, Dial: n.lines.open, Failover: &upstream.Failover{},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.member.Start()
	t.Cleanup(func() {
		n.member.Close()
		client.Close()
	})
	n.rig = newRig(t, xmpptest.Options{}, Config{Dialer: dialer, Replica: n.member, Metrics: n.counts})
	n.xmpp = c.xmpp
	server, err := replica.NewServer(replica.ServerConfig{
		Identity: identity, Incarnation: self.Incarnation, Fenced: n.member.Fenced, Handle: n.h.Handed,
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	n.stop = func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = server.Shutdown(ctx) // what is left is cut
		serving.Wait()
	}
	t.Cleanup(n.stop)
	return n
}

// Requests of a session may reach any replica: logins and conversations go on as if there was one.
//
// Covers: UP-127.
func TestFailover_7_AnyReplicaAnswers(t *testing.T) {
	c, all := onLoopback(t, 3)
	b := all[0].enter("alice", "")
	for i := range 9 {
		b = b.to(all[i%3])
		held := b.hold("", "")
		c.xmpp.Deliver(aliceFull, chat("number "+strconv.Itoa(i)))
		if out := b.get(held); strings.Count(out.raw, "number "+strconv.Itoa(i)) != 1 {
			t.Fatalf("got %d %s", out.status, out.raw)
		}
	}
	if all[0].h.Sessions() != 1 || all[1].h.Sessions()+all[2].h.Sessions() != 0 {
		t.Error("the session has moved")
	}
}

// Two copies of a request at two replicas at the same moment, while nobody owns the session: one of the replicas takes it,
// the other hands its copy on, and the server gets the stanza once.
//
// Covers: BOSH-141, UP-127.
func TestFailover_7_TwoCopiesAtTwoReplicas(t *testing.T) {
	c, all := onLoopback(t, 3)
	b := all[0].enter("alice", "")
	before := c.xmpp.Count(aliceFull).Handled
	all[0].die()
	body := b.next("", message("nobody@example.org", "up"))
	copies := []<-chan reply{b.to(all[1]).async(body), b.to(all[2]).async(body)}
	answers := b.get(copies[0]).raw + b.get(copies[1]).raw
	if !strings.Contains(answers, "service-unavailable") || strings.Contains(answers, "terminate") {
		t.Errorf("got %s", answers)
	}
	if got := c.xmpp.Count(aliceFull).Handled - before; got != 1 {
		t.Errorf("the server handled %d stanzas", got)
	}
	if all[1].h.Sessions()+all[2].h.Sessions() != 1 {
		t.Errorf("%d and %d sessions", all[1].h.Sessions(), all[2].h.Sessions())
	}
}

// The owner dies while it holds a request that was handed on to it: the replica that the browser had reached goes on with it.
func TestFailover_7_OwnerDiesWithARequestThatWasHandedOn(t *testing.T) {
	c, all := onLoopback(t, 2)
	owner := all[0].enter("alice", "")
	moved := owner.to(all[1])
	held := moved.hold("", message("nobody@example.org", "up"))
	moved.get(held)
	held = moved.hold("", "")
	waitFor(t, func() bool { return owner.heldNow() == 1 })
	all[0].die()
	waitFor(t, func() bool { return all[1].counts.tallied()[0] == 1 })
	c.xmpp.Deliver(aliceFull, chat("one"))
	if out := moved.get(held); strings.Count(out.raw, "one") != 1 {
		t.Errorf("got %d %s", out.status, out.raw)
	}
}

// die is kill, for those that are handed requests.
func (n *oneReplica) die() {
	n.kill()
	n.stop()
	n.lines.accept() // what is left of it must not wait for the server, nor for the store, in real time
	n.store.set(func(f *faultyStore) { f.dead, f.refusal = false, sessionstore.ErrNotOwner })
}

// The answer of a parked request waits for its record as any other.
//
// Covers: UP-126.
func TestFailover_2_ParkedRequestsWaitForTheirRecord(t *testing.T) {
	parksAtOnce = true
	defer func() { parksAtOnce = false }()
	c, all := onLoopback(t, 1)
	b := all[0].enter("alice", "")
	release := all[0].store.held("persist")
	held := b.hold("", "")
	waitFor(t, func() bool { return all[0].h.parkedNow() == 1 })
	c.xmpp.Deliver(aliceFull, chat("one"))
	waitFor(t, func() bool { return all[0].store.waitingFor("persist") == 1 })
	select {
	case out := <-held:
		t.Errorf("answered before it is stored: %s", out.raw)
	case <-time.After(50 * time.Millisecond): // it would be there in far less
	}
	release()
	if out := b.get(held); strings.Count(out.raw, "one") != 1 {
		t.Errorf("got %d %s", out.status, out.raw)
	}
	refused := b.hold("", "")
	waitFor(t, func() bool { return all[0].h.parkedNow() == 1 })
	c.thief(b)
	if out := b.get(refused); out.err == nil {
		t.Errorf("the session is another replica's, and the browser got %d %s", out.status, out.raw)
	}
}

// Empty requests that are too many at once are that wherever they land.
//
// Covers: BOSH-118.
func TestFailover_7_OveractivityIsThatOfTheSession(t *testing.T) {
	_, all := onLoopback(t, 2)
	b := all[0].enter("alice", "")
	held := b.hold("", "")
	waitFor(t, func() bool { return b.heldNow() == 1 })
	_ = b.next("", "") // it does not come, so that the one before cannot be answered for it
	moved := b.to(all[1])
	if out := moved.post(nil, moved.next("", "")); out.attr("condition") != policyViolation {
		t.Errorf("the second empty request, at another replica: %s", out.raw)
	}
	if out := b.get(held); out.attr("type") != "terminate" {
		t.Errorf("the first one: %s", out.raw)
	}
}
