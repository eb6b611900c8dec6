package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"stanzagate/internal/replica"
	"stanzagate/internal/xmpptest"
	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

var (
	_ sessionstore.Metrics = (*storeMetrics)(nil)
	_ replica.Metrics      = (*relayMetrics)(nil)
)

// keyFile makes a failover.key.
func keyFile(t *testing.T) string {
	t.Helper()
	return writeFile(t, "failover.key", rand.Text()+rand.Text())
}

// replicaArgs are the settings of one of several replicas.
func replicaArgs(t *testing.T, redis string, more ...string) []string {
	t.Helper()
	return append([]string{
		"--redis=redis://" + redis, "--failover.key=" + keyFile(t), fmt.Sprintf("--replica.listen=127.0.0.1:%d", storetest.FreePort(t)),
	}, more...)
}

func closedPort(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t))
}

// A bad key, store or name stops the start with a line that names the setting, what is wrong with it, and what would be
// right; never a password.
func TestBadReplicaSettings(t *testing.T) {
	good, other := keyFile(t), keyFile(t)
	short, same := writeFile(t, "short.key", "secret"), writeFile(t, "same.key", strings.Repeat("a", 40))
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"key missing":      {[]string{"--failover.key=/nonexistent/k"}, []string{"failover.key", `"/nonexistent/k" (flag)`, "no such file", "openssl rand"}},
		"key is a folder":  {[]string{"--failover.key=" + filepath.Dir(good)}, []string{"failover.key", filepath.Dir(good), "is a directory", "openssl rand"}},
		"key too short":    {[]string{"--failover.key=" + other + "," + short}, []string{"failover.key", "key file " + short + ":", "6 bytes", "openssl rand"}},
		"key not random":   {[]string{"--failover.key=" + same}, []string{"failover.key", same, "openssl rand"}},
		"key twice":        {[]string{"--failover.key=" + good, "--failover.key=" + good}, []string{"failover.key", good, "the same as one before"}},
		"bad port":         {[]string{"--redis=redis://u:secret@h:port"}, []string{"redis", `"xxxxx"`, "want a number from 1 to 65535"}},
		"bad escape":       {[]string{"--redis=rediss://u:sec%zzret@h"}, []string{"redis", `"xxxxx"`, "%25"}},
		"Sentinel":         {[]string{"--redis=redis+sentinel://:secret@h?sentinel-password=secret"}, []string{"redis", "xxxxx", "master-name"}},
		"authority":        {[]string{"--redis=rediss://:secret@h?ca=/nonexistent/ca"}, []string{"redis", "option ca", "no such file"}},
		"name":             {[]string{"--replica.id=a b"}, []string{"replica.id", `"a b" (flag)`, "letters"}},
		"long name":        {[]string{"--replica.id=" + strings.Repeat("a", 65)}, []string{"replica.id", "64"}},
		"address":          {[]string{"--replica.advertise=10.0.0.7"}, []string{"replica.advertise", `"10.0.0.7" (flag)`, "10.0.0.7:9281"}},
		"address, no host": {[]string{"--replica.advertise=:9281"}, []string{"replica.advertise", `":9281"`, "10.0.0.7:9281"}},
		"address, port 0":  {[]string{"--replica.advertise=h:0"}, []string{"replica.advertise", `"h:0"`, "10.0.0.7:9281"}},
		"any port":         {[]string{"--replica.listen=127.0.0.1:0", "--failover.key=" + good}, []string{"replica.listen", `"127.0.0.1:0" (flag)`, "choose one"}},
		"no listener":      {[]string{"--replica.listen="}, []string{"replica.listen", "want an address"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"config", "--domain=one.example"}
			if !strings.Contains(strings.Join(c.args, " "), "--redis") {
				args = append(args, "--redis=redis://h")
			}
			status, out, errs := execute(nil, append(args, c.args...)...)
			if status != 2 || out != "" || strings.Contains(errs, "secret@") || strings.Contains(errs, "zzret") || strings.Contains(errs, "=secret") {
				t.Errorf("status %d, output %q: %s", status, out, errs)
			}
			for _, want := range c.want {
				if !strings.Contains(errs, want) {
					t.Errorf("%q is missing in: %s", want, errs)
				}
			}
		})
	}
}

// A store of several hosts can be named in every way in which a setting can, with the comma that its URL has.
func TestStoreOfSeveralHosts(t *testing.T) {
	for given, want := range map[string]string{
		"redis+sentinel://h1:26379,h2:26379/main":          `["redis+sentinel://h1:26379,h2:26379/main"]`,
		"rediss+sentinel://u:secret@h1, h2,h3:1/main/2":    `["rediss+sentinel://u:xxxxx@h1,h2,h3:1/main/2"]`,
		"redis+cluster://:secret@h1:7000,h2:7001":          `["redis+cluster://:xxxxx@h1:7000,h2:7001"]`,
		"redis+cluster://h1,redis+cluster://h2":            `["redis+cluster://h1", "redis+cluster://h2"]`,
		"h1:7000,h2:7001":                                  `["h1:7000", "h2:7001"]`,
		"redis://h1:7000,h2:7001":                          `["redis://h1:7000", "h2:7001"]`,
		"redis://h1:7000,redis://h2:7001":                  `["redis://h1:7000", "redis://h2:7001"]`,
		"redis://:se,cr,et@h1:7000,redis://:se,cr,et@h2":   `["redis://:xxxxx@h1:7000", "redis://:xxxxx@h2"]`,
		"redis+sentinel://:se,cret@h1,h2/main?ca=/c/x.pem": "",
	} {
		if want == "" {
			status, _, errs := execute(nil, "config", "--redis", given)
			if status != 2 || strings.Contains(errs, "cret") || !strings.Contains(errs, "need rediss") {
				t.Errorf("%s: status %d: %s", given, status, errs)
			}
			continue
		}
		for form, values := range map[string]map[string][2]string{
			"flag":        shown(t, nil, "--redis", given),
			"environment": shown(t, []string{"GATEWAY_REDIS=" + given}),
			"file":        shown(t, nil, "--config", writeFile(t, "g.yaml", "redis: '"+given+"'\n")),
		} {
			if got := values["redis"][0]; got != want {
				t.Errorf("%s by %s: %s, want %s", given, form, got, want)
			}
		}
	}
}

// Without replica.id each process has a name of its own; without replica.advertise it is where it listens.
func TestReplicaNamesItself(t *testing.T) {
	self := func(args ...string) sessionstore.Replica {
		t.Helper()
		r, err := selfOf(testSettings(t, append([]string{"--redis=redis://h"}, args...)...))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first, second := self("--replica.listen=127.0.0.1:4711"), self("--replica.listen=[::1]:4711", "--replica.id=r1", "--replica.advertise=host.example:1")
	if !replicaName.MatchString(first.ID) || !regexp.MustCompile(`-[a-z0-9]{8}$`).MatchString(first.ID) || first.ID == self("--replica.listen=127.0.0.1:1").ID {
		t.Errorf("names %q", first.ID)
	}
	if first.Address != "127.0.0.1:4711" || second.Address != "host.example:1" || second.ID != "r1" || first.Incarnation == second.Incarnation {
		t.Errorf("%+v and %+v", first, second)
	}
	// Any address: the first that others can reach, or a demand to name one.
	r, err := selfOf(testSettings(t, "--redis=redis://h"))
	if err != nil {
		if !strings.Contains(err.Error(), "set replica.advertise") {
			t.Error(err)
		}
		return
	}
	host, port, err := net.SplitHostPort(r.Address)
	if ip := net.ParseIP(host); err != nil || port != "9281" || ip == nil || ip.IsLoopback() || ip.IsUnspecified() {
		t.Errorf("advertised as %s", r.Address)
	}
}

// `gateway config` only reads: it asks no store, and listens nowhere.
func TestConfigOpensNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			conn.Close()
		}
	}()
	key := keyFile(t)
	status, out, errs := execute(nil, "config", "--domain=one.example", "--redis=redis://u:secret@"+l.Addr().String(), "--failover.key="+key,
		"--replica.listen="+l.Addr().String(), "--listen="+l.Addr().String())
	l.Close()
	<-ended
	if status != 0 || asked.Load() != 0 || strings.Contains(out, "secret") || !strings.Contains(out, `redis: ["redis://u:xxxxx@`) || !strings.Contains(out, key) {
		t.Errorf("status %d, %d connections: %s%s", status, asked.Load(), out, errs)
	}
}

// eventually waits until a page of the operator's contains a text.
func (r *rig) eventually(path, text string) (status int) {
	r.t.Helper()
	storetest.Until(r.t, text, func() bool {
		resp, body := r.get(r.admin() + path)
		status = resp.StatusCode
		return strings.Contains(body, text)
	})
	return status
}

// While Redis is away, from the start or later, the replica says so wherever operators look; and it recovers by itself.
func TestRedisComesAndGoes(t *testing.T) {
	server := storetest.StartRedis(t)
	server.Kill()
	r := start(t, testSettings(t, replicaArgs(t, server.Addr(), "--replica.id=r1")...), nil)
	away := func() {
		t.Helper()
		if status := r.eventually("/readyz", "session store is not available\n"); status != http.StatusServiceUnavailable {
			t.Errorf("readyz %d", status)
		}
		if resp, _ := r.get(r.admin() + "/healthz"); resp.StatusCode != http.StatusOK {
			t.Errorf("healthz %d", resp.StatusCode)
		}
		_, page := r.get(r.admin() + "/status")
		if !strings.Contains(page, "<dt>Replica</dt><dd>r1</dd>") || !strings.Contains(page, "<dt>Session store</dt><dd>not reached for ") {
			t.Errorf("status page:\n%s", page)
		}
		_, metrics := r.get(r.admin() + "/metrics")
		if !strings.Contains(metrics, "stanzagate_ready 0\n") || strings.Contains(metrics, "stanzagate_store_away_seconds 0\n") {
			t.Error("the metrics say that the store is there")
		}
	}
	back := func() {
		t.Helper()
		if status := r.eventually("/readyz", "ready\n"); status != http.StatusOK {
			t.Errorf("readyz %d", status)
		}
		_, page := r.get(r.admin() + "/status")
		if !strings.Contains(page, "<dt>Session store</dt><dd>reached") {
			t.Errorf("status page:\n%s", page)
		}
		r.eventually("/metrics", "stanzagate_store_away_seconds 0\n")
		r.eventually("/metrics", "stanzagate_store_fenced 0\n")
	}
	away()
	if status, body := r.create("one.example"); status != http.StatusServiceUnavailable {
		t.Errorf("a session without the store: %d %s", status, body)
	}
	server.Start(t)
	back()
	server.Kill()
	away()
	r.eventually("/metrics", "stanzagate_store_fenced 1\n")
	server.Start(t)
	back()
}

// create asks for a BOSH session.
func (r *rig) create(domain string) (status int, body string) {
	r.t.Helper()
	resp, err := client.Post(r.public()+"/http-bind", "text/xml", strings.NewReader(
		`<body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='`+domain+`' wait='1' hold='1' ver='1.11'/>`))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// A store without a key works, as far as it can: the operator is told how far, and nothing is listened on for others.
func TestRedisWithoutKey(t *testing.T) {
	server, xmpp := storetest.StartRedis(t), xmpptest.Start(t, xmpptest.Options{})
	s := testSettings(t, "--redis=redis://"+server.Addr(), "--replica.listen=127.0.0.1:0", "--drain.timeout=0s")
	s.Domains = list{xmpp.Setting("")}
	r := start(t, s, nil)
	r.eventually("/readyz", "ready\n")
	if !r.log.has("no failover.key: sessions end with their replica") || r.all.replica != nil {
		t.Error("no warning, or a listener")
	}
	if status, body := r.create("example.org"); status != http.StatusOK || !strings.Contains(body, "mechanism") {
		t.Errorf("%d %s", status, body)
	}
	if got := server.Must(t, "DBSIZE"); got != ":2" { // the record and the lease
		t.Errorf("the store has %s keys", got)
	}
}

// SIGHUP reads the keys again. What cannot be read changes nothing, the domains neither.
func TestReloadKeys(t *testing.T) {
	first, second := keyFile(t), keyFile(t)
	listen := fmt.Sprintf("--replica.listen=127.0.0.1:%d", storetest.FreePort(t))
	with := func(keys, domain string) *settings {
		s := testSettings(t, "--redis=redis://"+closedPort(t), "--failover.key="+keys, listen)
		s.Domains, s.Redis = list{domain}, list{"redis://127.0.0.1:1"}
		return s
	}
	r := start(t, with(first, "one.example"), nil)
	record := r.g.replicas.member.NewRecord("sid", nil)

	r.reload(with(writeFile(t, "short", "x"), "two.example"))
	storetest.Until(t, "refusal", func() bool { return r.log.has("settings not reloaded") })
	if got := r.g.dialer.Domains(); record.IsOutdated() || len(got) != 1 || got[0] != "one.example" {
		t.Errorf("outdated %t, domains %v", record.IsOutdated(), got)
	}
	r.reload(with(second+","+first, "two.example"))
	storetest.Until(t, "reload", func() bool { return r.log.has("domains reloaded") })
	if got := r.g.dialer.Domains(); !record.IsOutdated() || got[0] != "two.example" {
		t.Errorf("outdated %t, domains %v", record.IsOutdated(), got)
	}
	if r.log.has("need a restart") {
		t.Error("the keys are said to need a restart")
	}
	// From some to none is more than another key.
	none := with(first, "three.example")
	none.Failover.Key = nil
	r.reload(none)
	storetest.Until(t, "warning", func() bool { return r.log.has("settings=[failover.key]") })
}

// held is an endpoint that holds a request that another replica has handed on.
type held struct{ arrived, release chan struct{} }

func (h *held) handle(http.ResponseWriter, *http.Request) bool {
	close(h.arrived)
	<-h.release
	return true
}

// At the end the lease is given up, so that nobody has to wait for it: also if the end is hurried, or others keep it busy.
func TestLeaseIsGivenUp(t *testing.T) {
	server := storetest.StartRedis(t)
	const lease = "EXISTS stanzagate:r:r1"
	run := func(t *testing.T, change func(*gateway), args ...string) *rig {
		t.Helper()
		r := start(t, testSettings(t, replicaArgs(t, server.Addr(), append(args, "--replica.id=r1")...)...), change)
		r.eventually("/readyz", "ready\n")
		if server.Must(t, lease) != ":1" {
			t.Error("no lease")
		}
		return r
	}
	gone := func(t *testing.T, r *rig) {
		t.Helper()
		if got := server.Must(t, lease); got != ":0" {
			t.Error("the lease is still there")
		}
		if conn, err := net.Dial("tcp", r.all.replica.Addr().String()); err == nil {
			conn.Close()
			t.Error("the replica listener is still open")
		}
	}
	t.Run("drained", func(t *testing.T) {
		r := run(t, nil)
		r.send(syscall.SIGTERM)
		if err := r.wait(); err != nil {
			t.Error(err)
		}
		gone(t, r)
	})
	t.Run("second signal", func(t *testing.T) {
		f := &fakeTransport{Handler: http.NotFoundHandler(), events: make(chan string, 4), drain: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		r := run(t, func(g *gateway) { g.bosh = f }, "--drain.timeout=1h")
		r.send(syscall.SIGTERM)
		f.expect(t, "drain")
		r.send(os.Interrupt)
		if err := r.wait(); err == nil {
			t.Error("no error")
		}
		gone(t, r)
	})
	t.Run("busy", func(t *testing.T) {
		h := &held{make(chan struct{}), make(chan struct{})}
		r := run(t, func(g *gateway) { g.handed = h.handle })
		other, err := replica.NewClient(replica.ClientConfig{Identity: r.g.replicas.identity})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gw.example/", nil)
			other.Insist(replica.Request{W: discard{http.Header{}}, R: req}, r.g.replicas.store.Self()) // it is not given back
		}()
		<-h.arrived
		r.send(syscall.SIGTERM)
		if err := r.wait(); err != nil {
			t.Error(err)
		}
		gone(t, r)
		close(h.release)
		other.Close()
		<-ended
	})
}

// discard is a ResponseWriter for an answer that does not come.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// All series are there before anything has happened, so that alerts on their growth work; and docs/operations.md has every
// one of ours.
func TestMetricsAreThereAndDocumented(t *testing.T) {
	r := start(t, testSettings(t), nil)
	r.g.metrics.upstream.Secured("TLS 1.3", "TLS_AES_128_GCM_SHA256", "system") // has too many combinations
	_, body := r.get(r.admin() + "/metrics")
	for _, line := range []string{
		`stanzagate_bosh_responses_total 0`, `stanzagate_given_away_total 0`, `stanzagate_stood_down_total 0`, `stanzagate_resumed_in_place_total 0`,
		`stanzagate_takeover_seconds_count 0`, `stanzagate_sessions_lost_total{cause="server"} 0`, `stanzagate_session_classes{class="fast"} 0`,
		`stanzagate_store_calls_total{op="persist",outcome="failed"} 0`, `stanzagate_store_calls_total{op="lease",outcome="ok"} 0`,
		`stanzagate_store_seconds_count{op="claim"} 0`, `stanzagate_store_batches_total 0`, `stanzagate_store_batched_total 0`,
		`stanzagate_relayed_total{outcome="answered"} 0`, `stanzagate_relayed_total{outcome="dead"} 0`, `stanzagate_relay_seconds_count 0`,
		`stanzagate_store_away_seconds 0`, `stanzagate_store_fenced 0`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := bytes.Cut(text, []byte("\n## Metrics\n"))
	table, _, _ = bytes.Cut(table, []byte("\n## "))
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (stanzagate_\S+)`).FindAllStringSubmatch(body, -1) {
		if !bytes.Contains(table, []byte("`"+m[1]+"`")) {
			t.Errorf("%s is not in docs/operations.md", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`(stanzagate_[a-z_]+)`").FindAllSubmatch(table, -1) {
		if !strings.Contains(body, "# TYPE "+string(m[1])+" ") {
			t.Errorf("%s is in docs/operations.md and does not exist", m[1])
		}
	}
}

// A gateway that runs alone says so.
func TestAloneIsShown(t *testing.T) {
	r := start(t, testSettings(t), nil)
	_, page := r.get(r.admin() + "/status")
	if !strings.Contains(page, "<dt>Session store</dt><dd>in memory; this gateway is alone</dd>") {
		t.Errorf("status page:\n%s", page)
	}
}
