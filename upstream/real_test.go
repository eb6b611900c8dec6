//go:build realservers

// Tests against real servers, which internal/e2e starts and names in the environment: see TestUpstreamAgainstRealServers
// there.

package upstream

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/sasl"

	"stanzagate/internal/ns"
)

// realServer is a server as internal/e2e describes it.
type realServer struct {
	Name, Domain, Setting string
	Anonymous             bool     // sign in by ANONYMOUS; Users are not used
	Users                 []string // two accounts
	Password              string
	Class                 Class
	Mechanism             string // HT mechanism, for ClassFAST
}

func realServers(t *testing.T) []realServer {
	t.Helper()
	var all []realServer
	if err := json.Unmarshal([]byte(os.Getenv("UPSTREAM_SERVERS")), &all); err != nil || len(all) == 0 {
		t.Fatalf("UPSTREAM_SERVERS: %v", err)
	}
	return all
}

// tcp is a Config.Dial that can break what it has connected.
type tcp struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (d *tcp) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var nd net.Dialer
	c, err := nd.DialContext(ctx, network, address)
	if err == nil {
		d.mu.Lock()
		d.conns = append(d.conns, c)
		d.mu.Unlock()
	}
	return c, err
}

func (d *tcp) breakAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		_ = c.Close()
	}
	d.conns = nil
}

// realLogin signs in over a stream and binds; plain streams too.
func (c *conn) realLogin(s realServer, user, mechanism, resource string) (class Class) {
	c.t.Helper()
	features := c.raw()
	if !s.Anonymous && !strings.Contains(features, "<mechanism>"+mechanism+"</mechanism>") {
		c.t.Fatalf("%s is not offered: %s", mechanism, features)
	}
	switch {
	case s.Anonymous:
		c.forward("<auth xmlns='" + ns.SASL + "' mechanism='ANONYMOUS'/>")
		c.expect("success")
	case mechanism == plain:
		if c.m == nil || s.Class != ClassFAST { // UP-105: there a wrong password costs the token
			c.forward(plainAuth(user, "not "+s.Password))
			c.expect("failure")
		}
		c.forward(plainAuth(user, s.Password))
		c.expect("success")
	default:
		c.scram(user, s.Password)
	}
	if err := c.Restart(Opening{}); err != nil {
		c.t.Fatal(err)
	}
	c.expect("features")
	c.forward("<iq xmlns='jabber:client' type='set' id='b1'><bind xmlns='" + ns.Bind + "'><resource>" + resource + "</resource></bind></iq>")
	if c.m != nil {
		ev := c.next()
		if ev.Kind != KindEnabled || ev.Early != 0 {
			c.t.Fatalf("%+v", ev)
		}
		class = ev.Class
	}
	c.expect("iq")
	return class
}

// scram is SCRAM-SHA-1 by a client that is not ours.
func (c *conn) scram(user, password string) {
	c.t.Helper()
	n := sasl.NewClient(sasl.ScramSha1, sasl.Credentials(func() (u, p, id []byte) { return []byte(user), []byte(password), nil }))
	name := "auth"
	var challenge []byte
	for {
		_, out, err := n.Step(challenge)
		if err != nil {
			c.t.Fatal(err)
		}
		mechanism := ""
		if name == "auth" {
			mechanism = " mechanism='SCRAM-SHA-1'"
		}
		c.forward("<" + name + " xmlns='" + ns.SASL + "'" + mechanism + ">" + b64(out) + "</" + name + ">")
		el := c.next().Element
		challenge = unb64(c.t, el.Text())
		switch string(el.Local) {
		case "challenge":
			name = "response"
		case "success":
			if len(challenge) > 0 {
				if _, _, err := n.Step(challenge); err != nil {
					c.t.Fatalf("server's proof: %v", err)
				}
			}
			return
		default:
			c.t.Fatalf("%s", el.Raw)
		}
	}
}

// numbered returns the numbers of the next n messages, acknowledging what the server asks about.
func (c *conn) numbered(n int) []int {
	c.t.Helper()
	var got []int
	for len(got) < n {
		ev := c.next()
		if ev.Kind != KindElement || string(ev.Element.Local) != "message" {
			continue
		}
		id, _ := ev.Element.Attr("", "id")
		if i, err := strconv.Atoi(id); err == nil {
			got = append(got, i)
		}
	}
	return got
}

func (c *conn) say(to string, from, until int) {
	c.t.Helper()
	for i := from; i < until; i++ {
		c.forward(fmt.Sprintf("<message xmlns='jabber:client' type='chat' to='%s' id='%d'><body>%d</body></message>", to, i, i))
	}
}

func upTo(from, until int) []int {
	var out []int
	for i := from; i < until; i++ {
		out = append(out, i)
	}
	return out
}

// TestRealTakeover logs in, lets the connection die in the middle of a conversation, and goes on in another place: first a
// replica's, then its own. Nothing is lost, doubled or out of order, either way.
func TestRealTakeover(t *testing.T) {
	for _, k := range realServers(t) {
		for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-1"} {
			if mechanism != "PLAIN" && (k.Class == ClassPassword || k.Anonymous) {
				continue // that class needs PLAIN; anonymous users have one mechanism
			}
			if mechanism == "PLAIN" && k.Class == ClassExternal {
				continue
			}
			t.Run(k.Name+" "+mechanism, func(t *testing.T) { realTakeover(t, k, mechanism) })
		}
	}
}

func realTakeover(t *testing.T, k realServer, mechanism string) {
	first, second := &tcp{}, &tcp{}
	x := newSession()
	x.Agent = func(context.Context, string) (Agent, error) {
		return Agent{ID: "8a1b1c1d-2e2f-4a4b-8c8d-" + strconv.FormatInt(time.Now().UnixNano()%1e12+1e12, 10)[1:]}, nil
	}
	d1, d2 := managedDialer(t, Config{Dial: first.dial}, k.Setting), managedDialer(t, Config{Dial: second.dial}, k.Setting)
	a := openWith(t, d1, Opening{Domain: k.Domain, Managed: true, Owner: x.Owner})
	user, peer := "", ""
	if !k.Anonymous {
		user, peer = k.Users[0], k.Users[1]
	}
	if class := a.realLogin(k, user, mechanism, "gw"); class != k.Class {
		t.Fatalf("class %s, want %s", class, k.Class)
	}
	if k.Class == ClassFAST && a.m.cred.token.mechanism != k.Mechanism {
		t.Errorf("token for %s, want %s", a.m.cred.token.mechanism, k.Mechanism)
	}
	b := openWith(t, newDialer(t, Config{Domains: []string{k.Setting}}), Opening{Domain: k.Domain})
	b.realLogin(k, peer, "PLAIN", "peer")
	here, there := a.JID(), b.JID()

	b.say(here, 0, 20)
	if got := a.numbered(20); !slices.Equal(got, upTo(0, 20)) {
		t.Fatal(got)
	}
	if err := a.Ack(15); err != nil {
		t.Fatal(err)
	}
	a.say(there, 0, 10)
	if got := b.numbered(10); !slices.Equal(got, upTo(0, 10)) {
		t.Fatal(got)
	}
	state, err := a.State()
	if err != nil {
		t.Fatal(err)
	}
	lacks(t, string(state), k.Password)
	first.breakAll()
	b.say(here, 20, 25)
	x.has(15)
	begin := time.Now()
	s, told, err := d2.Resume(within(t), state, Opening{Owner: x.Owner})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Cut() })
	t.Logf("%s: resumed in %v", k.Name, time.Since(begin))
	r := &conn{t, s}
	if told.H != 10 {
		t.Errorf("the server handled %d of 10", told.H)
	}
	if got := r.numbered(10); !slices.Equal(got, upTo(15, 25)) {
		t.Error(got)
	}
	r.say(there, 10, 20)
	if got := b.numbered(10); !slices.Equal(got, upTo(10, 20)) {
		t.Error(got)
	}

	// The replica's own connection breaks.
	if err := s.Send(s.AppendAckRequest(nil)); err != nil {
		t.Fatal(err)
	}
	for r.until(KindAcked).H != 20 {
		continue
	}
	x.has(25)
	second.breakAll()
	b.say(here, 25, 30)
	ev := r.until(KindResumed)
	if ev.H != 20 {
		t.Errorf("%+v", ev)
	}
	s.Proceed(ev.Break)
	if got := r.numbered(5); !slices.Equal(got, upTo(25, 30)) {
		t.Error(got)
	}
	r.say(there, 20, 21)
	if got := b.numbered(1); !slices.Equal(got, upTo(20, 21)) {
		t.Error(got)
	}

	if k.Class == ClassFAST {
		realTokens(t, d2, r, x, k)
	} else {
		r.leave()
	}
	if _, _, err := d2.Resume(within(t), state, Opening{Owner: x.Owner}); !errors.Is(err, ErrSessionLost) {
		t.Errorf("a session that was ended is resumed: %v", err)
	}
}

// realTokens renews the token of a live stream, ends the stream, and makes the token worthless.
func realTokens(t *testing.T, d *Dialer, r *conn, x *session, k realServer) {
	before, err := r.State()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.RenewToken(within(t)); err != nil {
		t.Fatal(err)
	}
	after, err := r.State()
	if err != nil || string(before) == string(after) {
		t.Errorf("not renewed: %v", err)
	}
	if due := time.Until(r.TokenDue()); due < time.Hour || due > tokenLife {
		t.Errorf("token is due in %v", due)
	}
	r.leave()
	if err := r.ForgetToken(within(t)); err != nil {
		t.Fatal(err)
	}
	_, _, err = d.Resume(within(t), after, Opening{Owner: x.Owner})
	var lost *LostError
	if !errors.As(err, &lost) || lost.Stage != "sign-in" {
		t.Errorf("the token still works: %v", err)
	}
}

// TestRealRepetition resumes one session many times, also while the old connection lives, and tells how long it takes.
func TestRealRepetition(t *testing.T) {
	const rounds = 50
	for _, k := range realServers(t) {
		t.Run(k.Name, func(t *testing.T) {
			d := managedDialer(t, Config{}, k.Setting)
			x := newSession()
			c := openWith(t, d, Opening{Domain: k.Domain, Managed: true, Owner: x.Owner})
			user, mechanism := "", "PLAIN"
			if !k.Anonymous {
				user = k.Users[0]
			}
			if k.Class == ClassExternal {
				mechanism = "SCRAM-SHA-1"
			}
			c.realLogin(k, user, mechanism, "rep")
			state, err := c.State()
			if err != nil {
				t.Fatal(err)
			}
			x.Renewed = func(_ context.Context, renewed []byte) error { state = renewed; return nil }
			var took []time.Duration
			old := c.Stream
			for i := range rounds {
				if i%2 == 0 {
					_ = old.Cut()
				}
				begin := time.Now()
				s, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner})
				if err != nil {
					t.Fatalf("round %d: %v", i, err)
				}
				took = append(took, time.Since(begin))
				(&conn{t, s}).until(KindAcked) // the probe
				_ = old.Cut()
				old = s
			}
			(&conn{t, old}).leave()
			slices.Sort(took)
			t.Logf("%s: connect to resumed, median %v, longest %v", k.Name, took[rounds/2], took[rounds-1])
		})
	}
}

func b64(b []byte) string {
	if len(b) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(b)
}

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	if s == "=" {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
