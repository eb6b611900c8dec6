package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// contract has every setting of the project's contract with its default as `gateway config` prints it.
var contract = map[string]string{
	"listen": `":5280"`, "tls.listen": `""`, "tls.cert": `""`, "tls.key": `""`, "tls.acme.hosts": `[]`, "tls.acme.directory": `""`,
	"tls.acme.cache": `""`, "admin.listen": `"127.0.0.1:9280"`, "path.bosh": `"/http-bind"`, "path.websocket": `"/xmpp-websocket"`,
	"domain": `["one.example"]`, "open": "false", "redis": "[]", "replica.id": `""`, "replica.listen": `":9281"`,
	"replica.advertise": `""`, "failover.key": "[]", "origins": `["*"]`, "trusted-proxies": "[]",
	"limit.stanza-bytes": "262144", "limit.body-bytes": "1048576", "limit.depth": "64", "limit.attributes": "64",
	"limit.sessions": "0", "limit.sessions-per-address": "1000", "limit.creations-per-address": "600/m",
	"limit.auth-failures-per-address": "60/m", "limit.queue-bytes": "1048576", "limit.header-timeout": "10s",
	"limit.body-timeout": "30s", "limit.auth-timeout": "1m", "limit.connect-timeout": "10s", "bosh.wait": "1m", "bosh.hold": "2",
	"bosh.inactivity": "2m", "bosh.maxpause": "5m", "bosh.polling": "5s", "bosh.script-syntax": "false", "bosh.keys": "true",
	"bosh.streams": "4", "websocket.ping": "30s", "websocket.compression": "false", "drain.timeout": "30s", "log.level": `"info"`,
	"log.format": `"auto"`,
}

// shown runs `gateway config` and returns what it prints: key to value and source.
func shown(t *testing.T, environment []string, args ...string) map[string][2]string {
	t.Helper()
	status, out, errs := execute(environment, append([]string{"config"}, args...)...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	values := map[string][2]string{}
	for line := range strings.Lines(out) {
		setting, source, _ := strings.Cut(strings.TrimSpace(line), " # ")
		key, value, _ := strings.Cut(strings.TrimSpace(setting), ": ")
		values[key] = [2]string{value, source}
	}
	return values
}

// BOSH-020: 5280 is the port that is registered for BOSH.
//
// Covers: BOSH-020.
func TestEverySettingOfTheContract(t *testing.T) {
	got := shown(t, nil, "--domain", "one.example")
	for key, want := range contract {
		if got[key][0] != want {
			t.Errorf("%s is %s, want %s", key, got[key][0], want)
		}
	}
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	file := writeFile(t, "gateway.yaml", "listen: 127.0.0.1:1\npath.bosh: /file\nbosh:\n  hold: 7\n  wait: 30s\ndomain: [one.example, 'two.example']\nlimit.depth: 32\n")
	environment := []string{"HOME=/", "GATEWAY_LISTEN=127.0.0.1:2", "GATEWAY_BOSH_HOLD=8", "GATEWAY_LIMIT_DEPTH=33", "GATEWAY_CONFIG=" + file}
	got := shown(t, environment, "--listen", "127.0.0.1:3", "--limit.depth=34")
	for key, want := range map[string][2]string{
		"listen":         {`"127.0.0.1:3"`, "flag"},
		"limit.depth":    {"34", "flag"},
		"bosh.hold":      {"8", "environment GATEWAY_BOSH_HOLD"},
		"bosh.wait":      {"30s", file},
		"path.bosh":      {`"/file"`, file},
		"domain":         {`["one.example", "two.example"]`, file},
		"path.websocket": {`"/xmpp-websocket"`, "default"},
	} {
		if got[key] != want {
			t.Errorf("%s: got %v, want %v", key, got[key], want)
		}
	}

	// --config wins over GATEWAY_CONFIG, and a flag's list replaces the file's.
	other := writeFile(t, "other.yaml", "path.bosh: /other\ndomain: three.example\n")
	got = shown(t, environment, "--config="+other, "--domain", "four.example", "--domain", "five.example, six.example")
	if got["path.bosh"][0] != `"/other"` || got["domain"][0] != `["four.example", "five.example", "six.example"]` {
		t.Errorf("path.bosh %v, domain %v", got["path.bosh"], got["domain"])
	}
	// An empty value is a value: it turns the listener off.
	if got := shown(t, []string{"GATEWAY_ADMIN_LISTEN=", "GATEWAY_DOMAIN=a.example,b.example"}); got["admin.listen"] != [2]string{`""`, "environment GATEWAY_ADMIN_LISTEN"} || got["domain"][0] != `["a.example", "b.example"]` {
		t.Errorf("admin.listen %v, domain %v", got["admin.listen"], got["domain"])
	}
}

// What config prints is a file that gives the same settings.
func TestConfigPrintsAFile(t *testing.T) {
	_, out, _ := execute(nil, "config", "--domain", "one.example", "--bosh.wait", "90s", "--open", "--limit.sessions-per-address=0")
	file := writeFile(t, "printed.yaml", out)
	got := shown(t, nil, "--config", file)
	if got["bosh.wait"] != [2]string{"1m30s", file} || got["open"][0] != "true" || got["domain"][0] != `["one.example"]` || got["limit.sessions-per-address"][0] != "0" {
		t.Errorf("%v", got)
	}
}

// Files without a setting are files, and an alias stands for what it names.
func TestUnusualFiles(t *testing.T) {
	for text, want := range map[string]string{
		"": "[]", "# nothing\n": "[]", "---\n": "[]", "---\n# nothing\n...\n": "[]", "{}": "[]", "---\ndomain: a.example\n": `["a.example"]`,
		"domain: [&a a.example, b.example]\nbosh.default-domain: *a\n": `["a.example", "b.example"]`,
		"bosh.default-domain: &a a.example\ndomain: [*a]\n":            `["a.example"]`,
	} {
		if got := shown(t, nil, "--config", writeFile(t, "g.yaml", text))["domain"][0]; got != want {
			t.Errorf("%q gives %s", text, got)
		}
	}
}

func TestBooleans(t *testing.T) {
	for args, want := range map[string]string{"--open": "true", "--open=true": "true", "--open=false": "false"} {
		if got := shown(t, nil, "--domain", "one.example", args)["open"][0]; got != want {
			t.Errorf("%s gives %s", args, got)
		}
	}
}

// Every refusal names the key, the value where there is one, and what would be right. What browsers are told fits the
// schema of XEP-0124, and an inactivity time is always told.
//
// Covers: BOSH-066, BOSH-096.
func TestBadSettings(t *testing.T) {
	for name, c := range map[string]struct {
		environment []string
		args        []string
		file        string
		want        []string
	}{
		"unknown flag":           {nil, []string{"--lisen=:1"}, "", []string{`--lisen: ":1" (flag): there is no such setting`, "--listen was probably meant"}},
		"unknown flag, apart":    {nil, []string{"--lisen", ":1"}, "", []string{`--lisen: ":1" (flag)`}},
		"like no other flag":     {nil, []string{"--frobnicate"}, "", []string{`--frobnicate: "" (flag)`, "gateway serve --help"}},
		"flag of another":        {nil, []string{"--json"}, "", []string{"--json", "there is no such setting"}},
		"unknown variable":       {[]string{"GATEWAY_LISTN=:1"}, nil, "", []string{"GATEWAY_LISTN", `":1"`, "GATEWAY_LISTEN was probably meant"}},
		"unknown key":            {nil, nil, "limit.dept: 3", []string{"limit.dept", `"3"`, "line 1", "limit.depth was probably meant"}},
		"unknown nested key":     {nil, nil, "limit:\n  frobnicate: 3", []string{"limit.frobnicate", "line 2", "no such setting"}},
		"unknown group":          {nil, nil, "limits: {depth: 3}", []string{"limits", "no such setting"}},
		"key twice":              {nil, nil, "limit.depth: 3\nlimit: {depth: 4}", []string{"limit.depth", "twice"}},
		"file in file":           {nil, nil, "config: x", []string{`config: "x" (`, "line 1", "cannot name another one; use --config"}},
		"null":                   {nil, nil, "listen:", []string{"listen", "line 1", "has no value"}},
		"list for one value":     {nil, nil, "listen: [a, b]", []string{"listen", "a, b", "want one value"}},
		"mapping for a value":    {nil, nil, "listen: {a: b}", []string{"listen", "want a plain value"}},
		"nested list":            {nil, nil, "domain: [[a]]", []string{"domain", "list of plain values"}},
		"list as file":           {nil, nil, "- a", []string{"config", "keys and values"}},
		"not YAML":               {nil, nil, "\t: :", []string{"config", "is not YAML"}},
		"two documents":          {nil, nil, "listen: :1\n---\nlisten: :2\n", []string{"config", "more than one YAML document"}},
		"no file":                {nil, []string{"--config", "/nonexistent/x"}, "", []string{"config", `"/nonexistent/x"`, "no such file"}},
		"number":                 {nil, []string{"--limit.depth", "many"}, "", []string{`limit.depth: "many" (flag): want a whole number`}},
		"number in environment":  {[]string{"GATEWAY_LIMIT_DEPTH=many"}, nil, "", []string{`limit.depth: "many" (environment GATEWAY_LIMIT_DEPTH): want`}},
		"number in file":         {nil, nil, "limit.depth: many", []string{`limit.depth: "many" (`, "file.yaml): want"}},
		"number out of range":    {nil, []string{"--limit.depth=1"}, "", []string{`limit.depth: "1" (flag): want a number from 8 to 1000`}},
		"small stanza":           {nil, []string{"--limit.stanza-bytes=9999"}, "", []string{"limit.stanza-bytes", `"9999"`, "10000"}},
		"body below stanza":      {nil, []string{"--limit.body-bytes=20000"}, "", []string{"limit.body-bytes", `"20000"`, "262144"}},
		"boolean":                {nil, []string{"--open=maybe"}, "", []string{`open: "maybe" (flag): want true or false`}},
		"duration":               {nil, []string{"--bosh.wait=60"}, "", []string{"bosh.wait", `"60"`, "30s"}},
		"part of a second":       {nil, []string{"--bosh.wait=1500ms"}, "", []string{"bosh.wait", `"1.5s"`, "whole seconds"}},
		"duration too long":      {nil, []string{"--bosh.inactivity=24h"}, "", []string{"bosh.inactivity", `"24h0m0s"`, "18h12m15s"}},
		"inactivity left out":    {nil, []string{"--bosh.inactivity=0s"}, "", []string{"bosh.inactivity", `"0s"`, "want a duration from 1s"}},
		"pause too long":         {nil, []string{"--bosh.maxpause=65536s"}, "", []string{"bosh.maxpause", "18h12m15s"}},
		"wait too long":          {nil, []string{"--bosh.wait=65536s"}, "", []string{"bosh.wait", "18h12m15s"}},
		"polling too long":       {nil, []string{"--bosh.polling=65536s"}, "", []string{"bosh.polling", "18h12m15s"}},
		"hold":                   {nil, []string{"--bosh.hold=255"}, "", []string{"bosh.hold", `"255"`, "from 1 to 254"}},
		"default domain":         {nil, []string{"--bosh.default-domain=a b"}, "", []string{`bosh.default-domain: "a b" (flag): want a domain name`}},
		"rate":                   {nil, []string{"--limit.creations-per-address=5/d"}, "", []string{"limit.creations-per-address", `"5/d"`, "600/m"}},
		"value missing":          {nil, []string{"--listen"}, "", []string{"listen", "has no value"}},
		"empty member":           {nil, []string{"--origins=a,,b"}, "", []string{"origins", `"a,,b"`, "empty member"}},
		"address":                {nil, []string{"--listen=5280"}, "", []string{"listen", `"5280"`, ":5280"}},
		"port":                   {nil, []string{"--tls.listen=:99999", "--tls.cert=x", "--tls.key=y"}, "", []string{"tls.listen", `":99999"`, "want an address"}},
		"no listener":            {nil, []string{"--listen="}, "", []string{"listen", "tls.listen"}},
		"admin on public port":   {nil, []string{"--admin.listen=:5280"}, "", []string{"admin.listen", "client-facing"}},
		"path":                   {nil, []string{"--path.bosh=http-bind"}, "", []string{"path.bosh", `"http-bind"`, "absolute path"}},
		"path with dots":         {nil, []string{"--path.bosh=/a/../b"}, "", []string{"path.bosh", "plain absolute path"}},
		"same paths":             {nil, []string{"--path.bosh=/x", "--path.websocket=/x"}, "", []string{"path.websocket", `"/x"`, "same as path.bosh"}},
		"path of the page":       {nil, []string{"--path.bosh=/"}, "", []string{"path.bosh", "web.page"}},
		"path of discovery":      {nil, []string{"--path.websocket=/.well-known/host-meta"}, "", []string{"path.websocket", "discovery"}},
		"certificate missing":    {nil, []string{"--tls.listen=:443"}, "", []string{"tls.cert", "PEM"}},
		"key missing":            {nil, []string{"--tls.listen=:443", "--tls.cert=x"}, "", []string{"tls.key", "PEM"}},
		"certificate unused":     {nil, []string{"--tls.cert=x"}, "", []string{"tls.cert", `"x"`, "tls.listen"}},
		"certificate unreadable": {nil, []string{"--tls.listen=:443", "--tls.cert=/nonexistent/c", "--tls.key=k"}, "", []string{"tls.cert", `"/nonexistent/c"`, "no such file"}},
		"automatic certificates": {nil, []string{"--tls.acme.hosts=gw.example"}, "", []string{"tls.acme.hosts", `"gw.example"`, "not available", "tls.cert"}},
		"store":                  {nil, []string{"--redis=redis://u:secret@h:port"}, "", []string{"redis", "xxxxx", "want a number from 1 to 65535"}},
		"replica":                {nil, []string{"--replica.id=a"}, "", []string{"replica.id", `"a"`, "only used with redis"}},
		"origin":                 {nil, []string{"--origins=good.example"}, "", []string{"origins", `"good.example"`, "(flag)", "want"}},
		"origin in environment":  {[]string{"GATEWAY_ORIGINS=good.example"}, nil, "", []string{"(environment GATEWAY_ORIGINS)"}},
		"origin in file":         {nil, nil, "origins: good.example", []string{"file.yaml)"}},
		"proxy":                  {nil, []string{"--trusted-proxies=proxy.example"}, "", []string{"trusted-proxies", `"proxy.example"`, "(flag)", "want"}},
		"domain":                 {nil, []string{"--domain=x=http://h"}, "", []string{"domain", `"x=http://h"`, "(flag)", "want"}},
		"public URL":             {nil, []string{"--public-url=http://gw.example"}, "", []string{"public-url", `"http://gw.example"`, "(flag)", "want https"}},
		"link":                   {nil, []string{"--host-meta.links=a http://b"}, "", []string{"host-meta.links", `"a http://b"`, "(flag)", "https"}},
		"see other":              {nil, []string{"--websocket.see-other-uri=ws://h"}, "", []string{"websocket.see-other-uri", `"ws://h"`, "wss"}},
		"ping":                   {nil, []string{"--websocket.ping=1ms"}, "", []string{"websocket.ping", `"1ms"`, "want a duration from 1s"}},
		"level":                  {nil, []string{"--log.level=loud"}, "", []string{"log.level", `"loud"`, "debug, info, warn or error"}},
		"format":                 {nil, []string{"--log.format=xml"}, "", []string{"log.format", `"xml"`, "text, json or auto"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"config", "--domain", "one.example"}, c.args...)
			if c.file != "" {
				args = append(args, "--config", writeFile(t, "file.yaml", c.file))
			}
			status, out, errs := execute(c.environment, args...)
			if status != 2 || out != "" {
				t.Errorf("status %d, output %q", status, out)
			}
			for _, want := range c.want {
				if !strings.Contains(errs, want) {
					t.Errorf("%q is missing in: %s", want, errs)
				}
			}
		})
	}
}

// Without a domain there is nothing wrong that a reload could not mend: config prints, and serve warns and runs.
func TestNothingServed(t *testing.T) {
	if got := shown(t, nil); got["domain"] != [2]string{"[]", "default"} {
		t.Errorf("%v", got["domain"])
	}
	s := testSettings(t)
	s.Domains = nil
	r := start(t, s, nil)
	const warning = "no domain is served; name one as in --domain example.org, or set open to true"
	if !r.log.has(warning) {
		t.Error("no warning")
	}
	if resp, _ := r.get(r.admin() + "/readyz"); resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	s = testSettings(t)
	s.Domains, s.Open = nil, true
	if r := start(t, s, nil); r.log.has(warning) {
		t.Error("a warning although any domain is served")
	}
	if r := start(t, testSettings(t), nil); r.log.has(warning) {
		t.Error("a warning although a domain is served")
	}
}

// A service called gateway-something puts its variables into every pod.
func TestServiceLinksAreNoSettings(t *testing.T) {
	shown(t, []string{"GATEWAY_SERVICE_HOST=10.0.0.1", "GATEWAY_PORT=tcp://10.0.0.1:80", "GATEWAY_PORT_80_TCP_ADDR=10.0.0.1", "GATEWAY_WEB_SERVICE_PORT_HTTP=80"}, "--domain", "one.example")
}

// An error about a setting that has the address of a store in it, or should have been one, does not tell its password.
func TestErrorsTellNoSecrets(t *testing.T) {
	const address = "redis://user:hunter2@h:6379/1"
	for name, c := range map[string]struct {
		environment []string
		args        []string
		file        string
	}{
		"variable":       {[]string{"GATEWAY_REDIS_URL=" + address}, nil, ""},
		"variable list":  {[]string{"GATEWAY_REDIS_URL=h:1," + address + ",rediss://:hunter2@i"}, nil, ""},
		"empty member":   {nil, []string{"--redis=" + address + ",,x"}, ""},
		"key":            {nil, nil, "redis-url: " + address},
		"other setting":  {nil, []string{"--listen=" + address}, ""},
		"list for one":   {nil, nil, "listen: [" + address + "]"},
		"option":         {[]string{"GATEWAY_REDIS_URL=redis+sentinel://h/m?sentinel_password=hunter2"}, nil, ""},
		"cannot be read": {[]string{"GATEWAY_REDIS_URL=redis://user:hunter2%zz@h"}, nil, ""},
		"other variable": {[]string{"GATEWAY_DB_PASSWORD=hunter2"}, nil, ""},
		"number":         {nil, []string{"--limit.depth=" + address}, ""},
	} {
		args := append([]string{"config", "--domain", "one.example"}, c.args...)
		if c.file != "" {
			args = append(args, "--config", writeFile(t, "file.yaml", c.file))
		}
		status, _, errs := execute(c.environment, args...)
		if status != 2 || strings.Contains(errs, "hunter2") || !strings.Contains(errs, masked) {
			t.Errorf("%s: status %d, %s", name, status, errs)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	for address, want := range map[string]string{
		"redis://user:secret@h:6379/1":                  "redis://user:xxxxx@h:6379/1",
		"rediss://:secret@h":                            "rediss://:xxxxx@h",
		"redis://secret@h":                              "redis://xxxxx@h",
		"redis+sentinel://h/m?sentinel_password=secret": "redis+sentinel://h/m?sentinel_password=xxxxx",
		"redis://h?client_secret=secret&db=1":           "redis://h?client_secret=xxxxx&db=1",
		"redis://h:6379":                                "redis://h:6379",
		"node1:6379":                                    "node1:6379",
		"redis://user:sec%zzret@h":                      "xxxxx",
		"secret@h:6379":                                 "xxxxx",
	} {
		if got := text("redis", list{address}); got != `["`+want+`"]` {
			t.Errorf("%s is shown as %s", address, got)
		}
	}
}
