package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree is a small repository: file name to content.
type tree map[string]string

func (f tree) write(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range f {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// base has three requirements; A-1 is claimed by a test, the others by none.
func base() tree {
	return tree{
		requirementsFile:  "id\tsection\tlevel\trequirement\nA-1\t§1\tMUST\tdo one\nA-2\t§2\tSHOULD*\tdo two\nA-3\t§3\tMAY\tdo a | b\n",
		exceptionsFile:    "id\treason\nA-3\tnobody has asked for it\n",
		openFile:          "id\n",
		documentFile:      "",
		"p/one_test.go":   "//go:build e2e\n\npackage p\n\n// TestOne does.\n//\n// Covers: A-1.\nfunc TestOne(t *testing.T) {}\n",
		"p/two_test.go":   "package p\n",
		"results/r.json":  `{"Action":"pass","Package":"m/p","Test":"TestOne"}` + "\n",
		"x/testdata/a.go": "not Go",
	}
}

func runIn(t *testing.T, f tree, write bool) (string, error) {
	t.Helper()
	root := f.write(t)
	err := run(root, filepath.Join(root, "results"), write, io.Discard)
	return root, err
}

func TestCheck(t *testing.T) {
	const twoTest = "package p\n\n// TestTwo does.\n//\n// Covers: A-2.\nfunc TestTwo(t *testing.T) {}\n"
	for name, c := range map[string]struct {
		change func(tree)
		want   []string // in the error; none: no error
	}{
		"open row listed":      {func(f tree) { f[openFile] = "id\nA-2\n" }, nil},
		"row without a test":   {func(tree) {}, []string{"A-2 (SHOULD*): no test", exceptionsFile}},
		"malformed claim":      {func(f tree) { f["p/two_test.go"] = strings.Replace(twoTest, "A-2.", "A-2,", 1) }, []string{"p/two_test.go:5", "claims nothing"}},
		"claim outside a test": {func(f tree) { f["p/two_test.go"] = "package p\n\n// Covers: A-2.\nfunc helper() {}\n" }, []string{"p/two_test.go:3", "claims nothing"}},
		"all claimed":          {func(f tree) { f["p/two_test.go"] = twoTest; f["results/s.json"] = passes("m/p", "TestTwo") }, nil},
		"unknown row":          {func(f tree) { f["p/two_test.go"] = strings.Replace(twoTest, "A-2", "B-9", 1) }, []string{"TestTwo claims B-9"}},
		"test did not run":     {func(f tree) { f["p/two_test.go"] = twoTest }, []string{"A-2 (SHOULD*): TestTwo did not run"}},
		"test failed": {func(f tree) {
			f["p/two_test.go"] = twoTest
			f["results/s.json"] = strings.Replace(passes("m/p", "TestTwo"), "pass", "fail", 1)
		}, []string{"TestTwo failed"}},
		"done and still open": {func(f tree) {
			f["p/two_test.go"] = twoTest
			f["results/s.json"] = passes("m/p", "TestTwo")
			f[openFile] = "id\nA-2\n"
		}, []string{"A-2 is done"}},
		"reason beside a test": {func(f tree) {
			f["p/two_test.go"] = twoTest
			f["results/s.json"] = passes("m/p", "TestTwo")
			f[exceptionsFile] += "A-2\tit is impossible\n"
		}, []string{"A-2 has a test, TestTwo, and a reason"}},
		"reason for nothing":    {func(f tree) { f[exceptionsFile] += "A-9\tit is impossible\n" }, []string{"A-9 is no requirement"}},
		"no reason":             {func(f tree) { f[exceptionsFile] += "A-2\t-\n" }, []string{`A-2: "-" is no reason`}},
		"open for nothing":      {func(f tree) { f[openFile] += "A-9\n" }, []string{openFile + ":2", "A-9 is no requirement"}},
		"no level":              {func(f tree) { f[requirementsFile] += "A-4\t§4\tOUGHT\tdo\n" }, []string{"OUGHT"}},
		"row twice":             {func(f tree) { f[requirementsFile] += "A-1\t§4\tMUST\tdo\n" }, []string{"A-1 stands twice"}},
		"no results":            {func(f tree) { delete(f, "results/r.json") }, []string{"no results"}},
		"document out of date":  {nil, []string{documentFile, "run make conformance"}},
		"results are no events": {func(f tree) { f["results/r.json"] = "FAIL" }, []string{"r.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := base()
			if c.change == nil {
				f["p/two_test.go"] = twoTest
				f["results/s.json"] = passes("m/p", "TestTwo")
			} else {
				c.change(f)
				if c.want == nil {
					f[documentFile] = documentOf(t, f)
				}
			}
			_, err := runIn(t, f, false)
			if c.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in: %v", want, err)
				}
			}
		})
	}
}

func passes(pkg, name string) string {
	return `{"Action":"run","Package":"` + pkg + `","Test":"` + name + `"}` + "\n" +
		`{"Action":"pass","Package":"` + pkg + `","Test":"` + name + `"}` + "\n" + `{"Action":"pass","Package":"` + pkg + `"}` + "\n"
}

func documentOf(t *testing.T, f tree) string {
	t.Helper()
	root, err := runIn(t, f, true)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, documentFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// -write takes out of the list what is done and adds nothing to it.
func TestOpenListOnlyShrinks(t *testing.T) {
	f := base()
	f[openFile] = "id\nA-1\n"
	root, err := runIn(t, f, true)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(root, openFile))
	if err != nil || string(list) != "id\n" {
		t.Errorf("%q, %v", list, err)
	}
	if err := run(root, filepath.Join(root, "results"), false, io.Discard); err == nil || !strings.Contains(err.Error(), "A-2") {
		t.Errorf("A-2 is open and not reported: %v", err)
	}
}

func TestDocument(t *testing.T) {
	f := base()
	f[openFile] = "id\nA-2\n"
	areasBefore := areas
	defer func() { areas = areasBefore }()
	areas = areas[:0:0]
	areas = append(areas, struct{ prefix, title string }{"A", "Area"})
	text := documentOf(t, f)
	for _, want := range []string{
		"3 requirements: 1 passed, 1 with a reason, 1 open.",
		"| A-1 | §1 | MUST | do one | [TestOne](../p/one_test.go) | passed |",
		"| A-2 | §2 | SHOULD* | do two |  | open |",
		`| A-3 | §3 | MAY | do a \| b |  | nobody has asked for it |`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

func TestOutcomes(t *testing.T) {
	type ev = map[string]string
	for name, c := range map[string]struct {
		events []ev
		want   bool
	}{
		"passed":               {[]ev{{"Action": "pass", "Test": "T"}}, true},
		"failed":               {[]ev{{"Action": "fail", "Test": "T"}}, false},
		"skipped":              {[]ev{{"Action": "skip", "Test": "T"}}, false},
		"never ended":          {[]ev{{"Action": "run", "Test": "T"}}, false},
		"package failed":       {[]ev{{"Action": "pass", "Test": "T"}, {"Action": "fail"}}, false},
		"some subtest skipped": {[]ev{{"Action": "skip", "Test": "T/a"}, {"Action": "pass", "Test": "T/b/c"}, {"Action": "pass", "Test": "T/b"}, {"Action": "pass", "Test": "T"}}, true},
		"all subtests skipped": {[]ev{{"Action": "skip", "Test": "T/a"}, {"Action": "skip", "Test": "T/b/c"}, {"Action": "pass", "Test": "T/b"}, {"Action": "pass", "Test": "T"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var run strings.Builder
			for _, e := range c.events {
				e["Package"] = "m/a/b"
				line, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				run.Write(line)
			}
			outcomes := map[ref]*outcome{}
			if err := readRun(strings.NewReader(run.String()), outcomes); err != nil {
				t.Fatal(err)
			}
			if got := outcomes[ref{"a/b", "T"}].proven(); got != c.want {
				t.Errorf("proven: %v", got)
			}
		})
	}
}

// Every run counts: a test that passed in one and failed in the other has failed.
func TestRunsAddUp(t *testing.T) {
	outcomes := map[ref]*outcome{}
	for _, action := range []string{"pass", "fail", "pass"} {
		if err := readRun(strings.NewReader(`{"Action":"`+action+`","Package":"m/p","Test":"T"}`), outcomes); err != nil {
			t.Fatal(err)
		}
	}
	if outcomes[ref{"p", "T"}].proven() {
		t.Error("proven")
	}
}

// What failed is shown with all that it wrote; what passed is only recorded.
func TestRecord(t *testing.T) {
	input := `{"Action":"output","Package":"m/p","Test":"A","Output":"a says\n"}
{"Action":"pass","Package":"m/p","Test":"A"}
{"Action":"output","Package":"m/p","Test":"B","Output":"b says\n"}
{"Action":"fail","Package":"m/p","Test":"B"}
{"Action":"build-output","ImportPath":"m/q","Output":"q.go:1: no\n"}
{"Action":"output","Package":"m/p","Output":"FAIL\tm/p\n"}
{"Action":"fail","Package":"m/p"}
`
	name := filepath.Join(t.TempDir(), "results", "r.json")
	var out strings.Builder
	if err := record(strings.NewReader(input+"go: no such tool\n"), name, &out); err != nil {
		t.Fatal(err)
	}
	if want := "b says\nq.go:1: no\nFAIL\tm/p\ngo: no such tool\n"; out.String() != want {
		t.Errorf("shows %q, want %q", out.String(), want)
	}
	if recorded, err := os.ReadFile(name); err != nil || string(recorded) != input {
		t.Errorf("recorded %q, %v", recorded, err)
	}
}

// The committed table is whole: known areas only, and numbers without a gap.
func TestRequirements(t *testing.T) {
	table, err := loadTable("../..")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, r := range table.rows {
		prefix, _, _ := strings.Cut(r.id, "-")
		count[prefix]++
	}
	total := 0
	for _, a := range areas {
		if count[a.prefix] == 0 {
			t.Errorf("no requirement in %s", a.prefix)
		}
		total += count[a.prefix]
	}
	if total != len(table.rows) {
		t.Errorf("%d of %d requirements are in an area", total, len(table.rows))
	}
}
