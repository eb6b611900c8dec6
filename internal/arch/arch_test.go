package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const module = "stanzagate/"

// everything allows all packages of ours, or all of others.
var everything = []string{"*"}

// rule says what a package may import besides the standard library, and why no more. A test may import more.
type rule struct {
	ours, others []string
	why          string
}

// rules has one entry per package. internal/e2e/js and the like hold no Go.
var rules = map[string]rule{
	"cmd/gateway": {everything, []string{
		"github.com/alecthomas/kong", "go.yaml.in/yaml/v3", "github.com/go-chi/chi/v5", "github.com/prometheus/client_golang",
		"golang.org/x/net/idna", "github.com/redis/go-redis/v9",
	}, "it wires all others together; nothing imports it"},
	"bosh": {
		[]string{"upstream", "sessionstore", "internal/xmlframe", "internal/ns", "internal/origin", "internal/parked", "internal/peer", "internal/quota", "internal/replica", "internal/seal"},
		nil,
		"long polling knows neither WebSocket nor the store's and the metrics' libraries",
	},
	"websocket": {
		[]string{"upstream", "internal/xmlframe", "internal/ns", "internal/origin", "internal/peer", "internal/quota", "internal/readbuf"},
		[]string{"github.com/coder/websocket"},
		"WebSocket knows neither long polling nor the store",
	},
	"upstream": {
		[]string{"internal/xmlframe", "internal/ns", "internal/readbuf"},
		[]string{"mellium.im/xmpp/jid", "golang.org/x/net/idna", "golang.org/x/net/publicsuffix", "golang.org/x/sys/unix"},
		"the server's side does not know who uses it",
	},
	"sessionstore": {
		nil,
		[]string{"github.com/redis/go-redis/v9"},
		"the store keeps counters and opaque bytes; it knows no XMPP",
	},
	"sessionstore/storetest": {[]string{"sessionstore"}, nil, "what every store has to do does not depend on how it does it"},
	"internal/seal":          {nil, nil, "what is sealed is opaque"},
	"internal/replica": {
		[]string{"sessionstore", "internal/peer", "internal/seal"},
		nil,
		"what any transport needs to live on several replicas knows none of them",
	},
	"web":                  {[]string{"internal/peer"}, nil, "pages and documents know addresses and paths, not the transports"},
	"internal/xmlframe":    {[]string{"internal/ns"}, nil, "the scanner is the one thing that everything depends on"},
	"internal/ns":          {nil, nil, "names have no dependencies"},
	"internal/origin":      {nil, nil, "a policy is pure"},
	"internal/peer":        {nil, nil, "what is believed depends on the request alone"},
	"internal/quota":       {nil, nil, "limits depend on addresses and time alone"},
	"internal/parked":      {[]string{"internal/readbuf"}, nil, "a connection waits whatever its request is about"},
	"internal/readbuf":     {nil, nil, "a buffer knows connections, not what they carry"},
	"internal/load":        {nil, nil, "a load generator that shares code with the gateway would share its faults"},
	"internal/xmpptest":    {[]string{"internal/xmlframe", "internal/ns"}, nil, "a scripted server that shares code with upstream would share its faults"},
	"internal/e2e":         {nil, nil, "end-to-end tests know the command line and the protocols only"},
	"internal/demo":        {nil, nil, "the demonstration uses the gateway as anybody would"},
	"internal/conformance": {nil, nil, "the judge of the tests knows only their output"},
	"internal/arch":        {nil, nil, "this package has no code"},
}

// testOnly are packages that no program may contain.
var testOnly = []string{"internal/xmpptest", "sessionstore/storetest", "internal/e2e", "internal/arch"}

// noLeakCheck are packages without the check for leaked goroutines, and the reason.
var noLeakCheck = map[string]string{
	"internal/e2e": "its own TestMain ends the servers that all tests share",
}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath, Dir, Doc               string
	Imports, TestImports, XTestImports []string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

func (p *listed) name() string { return strings.TrimPrefix(p.ImportPath, module) }

func packages(t *testing.T) []*listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-tags", "e2e", "-json=ImportPath,Dir,Doc,Imports,TestImports,XTestImports,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []*listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &listed{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func allowed(list []string, path string) bool {
	return slices.ContainsFunc(list, func(a string) bool { return a == "*" || a == path || strings.HasPrefix(path, a+"/") })
}

func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && !strings.HasPrefix(path, module)
}

func TestImportDirection(t *testing.T) {
	for _, p := range packages(t) {
		r, ok := rules[p.name()]
		if !ok {
			t.Errorf("%s has no rule here: say what it may import and why", p.name())
			continue
		}
		for _, path := range p.Imports {
			own, isOwn := strings.CutPrefix(path, module)
			switch {
			case isStandard(path):
			case isOwn && slices.Contains(testOnly, own):
				t.Errorf("%s imports %s, which is for tests", p.name(), own)
			case isOwn && !allowed(r.ours, own), !isOwn && !allowed(r.others, path):
				t.Errorf("%s imports %s; %s", p.name(), path, r.why)
			}
		}
	}
}

// What tests use is free, but for what would make them prove less.
func TestTestsStayIndependent(t *testing.T) {
	for _, p := range packages(t) {
		for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
			own, isOwn := strings.CutPrefix(path, module)
			switch {
			case p.name() == "internal/e2e" && isOwn && own != "internal/load":
				t.Errorf("%s: %s imports %s", rules[p.name()].why, p.name(), own)
			case own == "cmd/gateway", own == "internal/e2e":
				t.Errorf("a test of %s imports %s", p.name(), own)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		name := p.name()[strings.LastIndex(p.name(), "/")+1:]
		if !strings.HasPrefix(p.Doc, "Package "+name+" ") && !strings.HasPrefix(p.Doc, "Command "+name+" ") {
			t.Errorf("%s: the package comment is %q, want one that begins with Package %s or Command %s", p.name(), p.Doc, name, name)
		}
		if slices.Contains([]string{"util", "utils", "common", "helpers", "helper", "misc", "base", "types", "models"}, name) {
			t.Errorf("%s: a name that says nothing", p.name())
		}
	}
}

func TestEveryPackageLooksForLeaks(t *testing.T) {
	for _, p := range packages(t) {
		files := slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		if len(files) == 0 || noLeakCheck[p.name()] != "" {
			continue
		}
		if !slices.ContainsFunc(files, func(f string) bool {
			return bytes.Contains(read(t, filepath.Join(p.Dir, f)), []byte("goleak.VerifyTestMain("))
		}) {
			t.Errorf("%s: no TestMain with goleak.VerifyTestMain", p.name())
		}
	}
}

// mostLines is where a file has more than one subject.
const mostLines = 500

func TestFilesAreSmall(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			if n := bytes.Count(read(t, filepath.Join(p.Dir, f)), []byte("\n")); n > mostLines {
				t.Errorf("%s/%s has %d lines, more than %d: split it by subject", p.name(), f, n, mostLines)
			}
		}
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
