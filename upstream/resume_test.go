package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// classCase is a server and a domain setting that give a class.
type classCase struct {
	name    string
	class   Class
	setting string
	srv     *xmpptest.Server
}

func classes(t *testing.T) []classCase {
	t.Helper()
	ca := xmpptest.NewCA(t)
	with := func(o xmpptest.Options, direct bool) xmpptest.Options {
		o.TLS, o.Direct = ca.Good("example.org"), direct
		return o
	}
	plainFAST := xmpptest.Start(t, modern())
	tlsFAST := xmpptest.Start(t, with(modern(), false))
	classic := xmpptest.Start(t, xmpptest.Options{Resumable: true, ConflictOnResume: true})
	authority := xmpptest.NewCA(t)
	ext := with(xmpptest.Options{Resumable: true, Mechanisms: []string{"SCRAM-SHA-1", "EXTERNAL"}}, false)
	ext.TLS.ClientCAs, ext.TLS.ClientAuth = authority.Pool(), 3 // VerifyClientCertIfGiven
	external := xmpptest.Start(t, ext)
	return []classCase{
		{"FAST in the clear", ClassFAST, plainFAST.Setting(""), plainFAST},
		{"FAST over STARTTLS", ClassFAST, tlsFAST.Setting(ca.File()), tlsFAST},
		{"password", ClassPassword, classic.Setting("") + "&reauth=password", classic},
		{"external", ClassExternal, external.Setting(ca.File()) + "&reauth=external&reauth-ca=" + authority.KeyFile(), external},
	}
}

// bind goes through a login of a class.
func (c *conn) bind(class Class) {
	c.t.Helper()
	c.expect("features")
	if class == ClassExternal {
		c.forward(scramAuth("juliet"))
		c.expect("challenge")
		c.signIn("<response xmlns='" + ns.SASL + "'>eA==</response>")
	} else {
		c.signIn(plainAuth("juliet", "secret"))
	}
	c.forward(bindRequest)
	if ev := c.next(); ev.Kind != KindEnabled || ev.Class != class {
		c.t.Fatalf("%+v", ev)
	}
	c.expect("iq")
}

// Another replica goes on where the first was cut, in each class.
//
// Covers: UP-066, UP-067, UP-068, UP-072, UP-087, UP-095.
func TestTakeover(t *testing.T) {
	for _, k := range classes(t) {
		t.Run(k.name, func(t *testing.T) {
			first, second := managedDialer(t, Config{}, k.setting), managedDialer(t, Config{}, k.setting)
			x := newSession()
			c := openWith(t, first, Opening{Lang: "de", Managed: true, Owner: x.Owner})
			c.bind(k.class)
			for range 3 {
				c.forward(chatTo("romeo")) // bounced, so three stanzas come down
			}
			for range 3 {
				c.counted()
			}
			if err := c.Ack(1); err != nil {
				t.Fatal(err)
			}
			state, err := c.State()
			if err != nil {
				t.Fatal(err)
			}
			for k.srv.Count(juliet).Acked != 1 {
				c.forward("<iq xmlns='jabber:client' type='get' id='sync'><x xmlns='x'/></iq>")
				c.counted()
			}
			before := k.srv.Count(juliet)
			old := k.srv.Session(juliet)
			_ = c.Cut()
			x.has(1)
			s, told, err := second.Resume(within(t), state, Opening{Owner: x.Owner})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Cut() })
			if told.H != before.Handled || told.Told != 1 {
				t.Errorf("%+v, the server handled %d", told, before.Handled)
			}
			r := &conn{t, s}
			for range before.Queued {
				if raw := r.counted(); !strings.Contains(raw, "urn:xmpp:delay") {
					t.Error(raw)
				}
			}
			if s.JID() != juliet || s.Class() != k.class {
				t.Errorf("%s, %s", s.JID(), s.Class())
			}
			if a := r.admit(chatTo("romeo")); !a.Stanza {
				t.Error("does not count")
			} else if err := s.Send(s.AppendAckRequest(a.Bytes)); err != nil {
				t.Fatal(err)
			}
			if ev := r.until(KindAcked); ev.H < before.Handled {
				t.Errorf("acked %d", ev.H)
			}
			peer := k.srv.Session(juliet)
			if peer == old {
				t.Fatal("still the old connection")
			}
			r.leave()
			k.srv.Wait()
			got := peer.Received()
			contains(t, got, "<resume xmlns='"+ns.SM+"' previd=", " h='1'/>", "from='juliet@example.org'", "xml:lang='de'")
			if signedIn := max(strings.Index(got, "</authenticate>"), strings.Index(got, "</auth>")); strings.Index(got, "<resume") < signedIn {
				t.Error("the resumption is inline, which leaves no room for asking the owner")
			}
			lacks(t, got, "xmpp-bind", "<presence", "jabber:iq:roster", "disco#info")
			again, err := c.State()
			if err == nil && string(again) != string(state) {
				t.Error("the state changed without a reason")
			}
		})
	}
}

// lose makes a resumable session and returns its state, and a dialer for another replica.
func lose(t *testing.T, srv *xmpptest.Server, setting string) (*Dialer, *session, []byte) {
	t.Helper()
	d, x := managedDialer(t, Config{}, setting), newSession()
	c := resumable(t, d, x)
	state, err := c.State()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Cut()
	return d, x, state
}

// A state opens for its own session, user and server only, and by gateways that understand it.
//
// Covers: UP-086.
func TestStates(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	d, x, good := lose(t, srv, srv.Setting(""))
	lacks(t, string(good), "secret\":\"\"")
	change := func(edit func(map[string]any)) []byte {
		var m map[string]any
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		edit(m)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, key := range []string{"domain", "host", "port", "jid", "bare", "ua", "mech"} {
		b := change(func(m map[string]any) { m[key] = m[key].(string) + "x" })
		if _, _, err := decodeState(b, vault{}); err == nil {
			t.Errorf("opened with another %s", key)
		}
	}
	for name, b := range map[string][]byte{
		"newer":     change(func(m map[string]any) { m["v"] = 2 }),
		"no secret": change(func(m map[string]any) { delete(m, "secret") }),
		"no class":  change(func(m map[string]any) { m["class"] = "none" }),
		"not JSON":  []byte("x"),
		"empty":     nil,
	} {
		if _, _, err := d.Resume(within(t), b, Opening{Owner: x.Owner}); err == nil {
			t.Errorf("%s: resumed", name)
		}
	}
	if st, cred, err := decodeState(change(func(m map[string]any) { m["future"] = 1 }), vault{}); err != nil || st.JID != juliet || cred.token == nil {
		t.Errorf("a field that is not known matters: %v", err)
	}
	if _, _, err := decodeState(good, nil); err == nil {
		t.Error("opened without a key")
	}
	if err := d.SetDomains([]string{"other.test"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Resume(within(t), good, Opening{Owner: x.Owner}); !errors.Is(err, ErrHostGone) {
		t.Error(err)
	}
}

// Where the server wants to be found comes first, where it was second, where the domain is last;
// the certificate is always that of the domain.
//
// Covers: UP-015, UP-056.
func TestWhereToResume(t *testing.T) {
	z := newZone(t)
	for name, c := range map[string]struct {
		location string
		dead     []string
		want     string
	}{
		"location":       {"[::1]:7", nil, "[::1]:7"},
		"location dead":  {"elsewhere:7", []string{"elsewhere:7"}, "elsewhere:7 was:1"},
		"location alone": {"elsewhere", nil, "elsewhere:5222"},
		"nonsense":       {"a b:c", nil, "was:1"},
		"all dead":       {"elsewhere:7", []string{"elsewhere:7", "was:1"}, "elsewhere:7 was:1 now.test.:2"},
	} {
		t.Run(name, func(t *testing.T) {
			o := modern()
			o.Location = c.location
			srv := xmpptest.Start(t, o)
			all := map[string]string{"was:1": srv.Addr, "[::1]:7": srv.Addr, "elsewhere:7": srv.Addr, "elsewhere:5222": srv.Addr, "now.test.:2": srv.Addr}
			r := &recorder{hosts: map[string]string{"was:1": srv.Addr}}
			d := managedDialer(t, Config{Dial: r.dial, Resolver: z.resolver}, "example.org=xmpp://was:1?tls=none")
			x := newSession()
			s := resumable(t, d, x)
			state, err := s.State()
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Cut()
			for _, dead := range c.dead {
				delete(all, dead)
			}
			r = &recorder{hosts: all}
			records := newZone(t, "_xmpp-client._tcp.example.org. 60 IN SRV 1 0 2 now.test.")
			d = managedDialer(t, Config{Dial: r.dial, Resolver: records.resolver}, "example.org?tls=none")
			again, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner})
			if err != nil {
				t.Fatal(err)
			}
			_ = again.Cut()
			if r.dialled() != c.want {
				t.Errorf("dialled %q, want %q", r.dialled(), c.want)
			}
		})
	}
}

// A session that was encrypted is never resumed in the clear, whatever the setting says by now.
func TestResumeStaysEncrypted(t *testing.T) {
	ca := xmpptest.NewCA(t)
	o := modern()
	o.TLS = ca.Good("example.org")
	srv := xmpptest.Start(t, o)
	d, x, state := lose(t, srv, srv.Setting(ca.File()))
	clear := xmpptest.Start(t, modern())
	for _, query := range []string{"?tls=optional", "?tls=none"} {
		if err := d.SetDomains([]string{"example.org=xmpp://" + clear.Addr + query}); err != nil {
			t.Fatal(err)
		}
		var st map[string]any
		if err := json.Unmarshal(state, &st); err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner}); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v", query, err)
		}
	}
	srv.Stop()
	clear.Stop()
	for range clear.Accepted() {
		lacks(t, clear.Next().Received(), "<authenticate")
	}
}

// A server that gives a new token with each login: it is stored before anything else is said, and used.
//
// Covers: UP-091.
func TestTokenReplacedAtResumption(t *testing.T) {
	o := modern()
	o.SASL2.Rotate = true
	srv := xmpptest.Start(t, o)
	d, x, state := lose(t, srv, srv.Setting(""))
	for range 3 {
		s, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner})
		if err != nil {
			t.Fatal(err)
		}
		next := x.renewed[len(x.renewed)-1]
		now, err := s.State()
		if err != nil || string(next) != string(now) || string(now) == string(state) {
			t.Errorf("%v\n%s\n%s\n%s", err, state, next, now)
		}
		_ = s.Cut()
		state = now
	}
	if len(x.renewed) != 3 {
		t.Errorf("%d states stored", len(x.renewed))
	}
	x.Owner.Renewed = func(context.Context, []byte) error { return os.ErrClosed }
	if _, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner}); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	for range srv.Accepted() - 1 {
		srv.Next()
	}
	lacks(t, srv.Next().Received(), "<resume")
	x.Owner.Renewed = nil
	s, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner})
	if err != nil {
		t.Fatalf("the stored token does not work any more: %v", err)
	}
	_ = s.Cut()
}

// What the server takes and bears is known on the new connection too.
//
// Covers: UP-031.
func TestLimitsAfterResumption(t *testing.T) {
	for _, k := range classes(t) {
		k.srv.SetFaults(xmpptest.Faults{PostAuth: fLimits})
		d, x := managedDialer(t, Config{}, k.setting), newSession()
		c := openWith(t, d, Opening{Managed: true, Owner: x.Owner})
		c.bind(k.class)
		state, err := c.State()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Cut()
		s, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner})
		if err != nil {
			t.Fatal(err)
		}
		if s.MaxBytes() != 10000 || s.Idle() != 840*time.Second {
			t.Errorf("%s: %d bytes, %v", k.name, s.MaxBytes(), s.Idle())
		}
		k.srv.Session(juliet).Cut()
		if ev := (&conn{t, s}).until(KindResumed); ev.Kind != KindResumed || s.MaxBytes() != 10000 {
			t.Errorf("%s in place: %d bytes", k.name, s.MaxBytes())
		}
		_ = s.Cut()
	}
}

// Features that follow a resumption, sooner or later, are nobody's business.
//
// Covers: UP-079.
func TestFeaturesAfterResumption(t *testing.T) {
	for _, late := range []bool{false, true} {
		srv := xmpptest.Start(t, modern())
		d, x, state := lose(t, srv, srv.Setting(""))
		srv.SetFaults(xmpptest.Faults{NoFeatures: late})
		s, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner})
		if err != nil {
			t.Fatal(err)
		}
		if late {
			srv.Session(juliet).SendFeatures("<bind xmlns='" + ns.Bind + "'/>")
		}
		srv.Deliver(juliet, "<message id='1'></message>")
		c := &conn{t, s}
		if got := c.counted(); !strings.HasPrefix(got, "<message id='1'>") {
			t.Error(got)
		}
		_ = s.Cut()
	}
}

// No more than so many resumptions at once for each server address; the others wait.
//
// Covers: UP-008.
func TestResumptionsAreCapped(t *testing.T) {
	const each, all = 4, 40
	var mu sync.Mutex
	now, most := 0, 0
	full := make(chan struct{}) // closed once as many are in as may be
	srv := xmpptest.Start(t, modern())
	d, x, state := lose(t, srv, srv.Setting(""))
	d.gates.each = each
	x.Owner.Resuming = func(context.Context) (uint32, error) {
		mu.Lock()
		now++
		if most = max(most, now); now == each {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		<-full
		mu.Lock()
		now--
		mu.Unlock()
		return 0, fmt.Errorf("enough")
	}
	var wg sync.WaitGroup
	for range all {
		wg.Go(func() {
			if _, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner}); err == nil || err.Error() != "enough" {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most != each {
		t.Errorf("%d at once", most)
	}
	if len(d.gates.gates) != 0 {
		t.Error("gates are left behind")
	}
	leave, err := d.gates.enter(t.Context(), "x:1")
	if err != nil {
		t.Fatal(err)
	}
	for range each - 1 {
		if _, err := d.gates.enter(t.Context(), "x:1"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := d.gates.enter(ctx, "x:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	leave()
	if _, err := d.gates.enter(t.Context(), "x:1"); err != nil {
		t.Error(err)
	}
}
