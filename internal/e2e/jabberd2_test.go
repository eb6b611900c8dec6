//go:build e2e

package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
)

// jabberd2Files are the configurations of its three daemons, as short as they will start with.
var jabberd2Files = map[string]string{
	"filter.xml":       `<filter/>`,
	"router-users.xml": `<users><user><name>jabberd</name><secret>secret</secret></user></users>`,
	"router.xml": `<router><id>router</id><pidfile>{{.Dir}}/router.pid</pidfile><log type='file'><file>{{.Dir}}/router.log</file></log>
<local><ip>127.0.0.1</ip><port>{{.Router}}</port><users>{{.Dir}}/router-users.xml</users><secret>secret</secret></local>
<check><interval>60</interval><keepalive>0</keepalive></check>
<io><max_fds>1024</max_fds><limits><bytes>0</bytes><connects>0</connects></limits><access><order>allow,deny</order></access></io>
<aliases/><aci><acl type='all'><user>jabberd</user></acl><filter>{{.Dir}}/filter.xml</filter></aci></router>`,
	"c2s.xml": `<c2s><id>c2s</id><pidfile>{{.Dir}}/c2s.pid</pidfile>{{template "router" .}}<log type='file'><file>{{.Dir}}/c2s.log</file></log>
<local><id pemfile='{{.Cert}}'>jabberd2.test</id><ip>127.0.0.1</ip><port>{{.C2S}}</port></local>
<io><max_fds>1024</max_fds><limits><bytes>0</bytes><stanzas>0</stanzas><connects>0</connects><stanzasize>262144</stanzasize></limits>
<access><order>allow,deny</order></access><check><interval>0</interval><idle>0</idle><keepalive>0</keepalive></check></io>
<stats/><pbx/><stream_redirect/>
<authreg><path>{{.Modules}}</path><module>sqlite</module><mechanisms><traditional><plain/></traditional><sasl><plain/></sasl></mechanisms>
<ssl-mechanisms><sasl><plain/></sasl></ssl-mechanisms>{{template "db" .}}</authreg></c2s>`,
	"sm.xml": `<sm><id>sm</id><pidfile>{{.Dir}}/sm.pid</pidfile>{{template "router" .}}<log type='file'><file>{{.Dir}}/sm.log</file></log>
<local><id>jabberd2.test</id></local><storage><path>{{.Modules}}</path><driver>sqlite</driver><limits/>{{template "db" .}}</storage><aci/>
<modules><path>{{.Modules}}</path>{{range .Chains}}<chain id='{{.ID}}'>{{range .Modules}}<module>{{.}}</module>{{end}}</chain>{{end}}</modules>
<discovery><identity><category>server</category><type>im</type><name>test</name></identity><items/></discovery><user><auto-create/></user></sm>`,
}

const jabberd2Shared = `{{define "router"}}<router><ip>127.0.0.1</ip><port>{{.Router}}</port><user>jabberd</user><pass>secret</pass>` +
	`<retry><init>20</init><lost>3</lost><sleep>1</sleep></retry></router>{{end}}` +
	`{{define "db"}}<sqlite><dbname>{{.Dir}}/sqlite.db</dbname><busy-timeout>2000</busy-timeout></sqlite>{{end}}`

type jabberd2Chain struct {
	ID      string
	Modules []string
}

var jabberd2Chains = []jabberd2Chain{
	{"sess-start", []string{"status"}},
	{"sess-end", []string{"status", "iq-last"}},
	{"in-sess", []string{"validate", "status", "privacy", "roster", "iq-ping", "iq-private", "disco", "presence", "deliver"}},
	{"in-router", []string{"session", "validate", "presence", "privacy"}},
	{"out-router", []string{"privacy"}},
	{"pkt-sm", []string{"iq-ping", "iq-version", "disco", "status", "presence"}},
	{"pkt-user", []string{"roster", "presence", "disco", "deliver"}},
	{"pkt-router", []string{"session", "disco"}},
	{"user-load", []string{"active", "roster", "privacy"}},
	{"user-create", []string{"active"}},
	{"user-delete", []string{"active", "privacy", "roster"}},
}

// startJabberd2 runs the router, the session manager and the client-to-server daemon on one SQLite file.
func startJabberd2() (*server, error) {
	module, err := packageFile("jabberd2", "authreg_sqlite.so")
	if err != nil {
		return nil, err
	}
	dir, ports, ca, err := premises("jabberd2", 2)
	if err != nil {
		return nil, err
	}
	cert, err := ca.issue(dir, "cert", false, false, "jabberd2.test")
	if err != nil {
		return nil, err
	}
	if err := jabberd2Database(filepath.Join(dir, "sqlite.db")); err != nil {
		return nil, err
	}
	data := map[string]any{
		"Dir": dir, "Router": ports[0], "C2S": ports[1], "Cert": cert.both, "Modules": filepath.Dir(module), "Chains": jabberd2Chains,
	}
	for name, text := range jabberd2Files {
		var b bytes.Buffer
		if err := template.Must(template.New(name).Parse(jabberd2Shared+text)).Execute(&b, data); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
			return nil, err
		}
	}
	s := &server{name: "jabberd2", domain: jabberd2Domain, mechanisms: []string{"PLAIN"}, port: ports[1]}
	if s.procs, err = jabberd2Daemons(dir, ports); err != nil {
		return nil, err
	}
	return s, nil
}

const jabberd2Domain = "jabberd2.test"

// leaveJabberd2 ends a session, waits until its connection is gone and puts an idle one in its place. jabberd2 names sessions
// by their file descriptor: what its session manager still has to say to one that is gone reaches the next one with that
// number, as a stream error. A connection without a stream drops it.
func leaveJabberd2(t *testing.T, c *client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	_ = c.tr.end(ctx) // it may have ended before
	s, err := servers["jabberd2"]()
	if err != nil {
		t.Fatal(err)
	}
	c2s := s.procs[len(s.procs)-1]
	if err := until(ctx, "the end of "+c.jid, c2s, func() bool {
		log, err := os.ReadFile(c2s.logs[0])
		return err == nil && bytes.Count(log, []byte("disconnect jid="+c.jid+",")) >= bytes.Count(log, []byte("bound: jid="+c.jid+"\n"))
	}); err != nil {
		t.Error(err)
	}
	idle, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		t.Error(err)
		return
	}
	placeholders.Store(idle, true)
}

// placeholders keeps the connections that leaveJabberd2 made until the process ends.
var placeholders sync.Map

// jabberd2Daemons starts the router first, because the others give up when they cannot reach it.
func jabberd2Daemons(dir string, ports []int) ([]*process, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var procs []*process
	for _, d := range []string{"router", "sm", "c2s"} {
		p, err := startProcess("jabberd2-"+d, dir, nil, "/usr/sbin/jabberd2-"+d, "-c", filepath.Join(dir, d+".xml"))
		if err != nil {
			return nil, err
		}
		p.logs = []string{filepath.Join(dir, d+".log")}
		procs = append(procs, p)
		if d == "router" {
			if err := until(ctx, "router", p, listening(ports[0])); err != nil {
				return nil, err
			}
		}
	}
	if err := until(ctx, "client listener", procs[2], listening(ports[1])); err != nil {
		return nil, err
	}
	// The router's log names the components that are bound; before that, sessions are refused.
	return procs, until(ctx, "session manager", procs[1], func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "router.log"))
		return bytes.Contains(b, []byte("[jabberd2.test] online"))
	})
}

func jabberd2Database(file string) error {
	schema, err := packageFile("jabberd2", "db-setup.sqlite.gz")
	if err != nil {
		return err
	}
	f, err := os.Open(schema)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	sql, err := io.ReadAll(z)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.Write(sql)
	for n := range accountsPerServer {
		fmt.Fprintf(&b, "INSERT INTO authreg VALUES ('%s','jabberd2.test','%s');\n", accountName(n), password)
	}
	bin, err := exec.LookPath("sqlite3")
	if err != nil {
		return fmt.Errorf("sqlite3: %w", errMissing)
	}
	cmd := exec.Command(bin, file)
	cmd.Stdin = strings.NewReader(b.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("jabberd2 database: %w: %s", err, out)
	}
	return nil
}
