package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"stanzagate/upstream"
)

// README.md has every setting with its default, and no other.
func TestReadmeHasTheSettings(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "| setting | default | meaning |\n")
	table, _, _ := strings.Cut(rest, "\n\n")
	documented := map[string]string{}
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, " | "); len(cells) == 3 {
			documented[strings.Trim(cells[0], "| `")] = strings.Trim(cells[1], " `")
		}
	}
	delete(documented, "---")
	k, err := kong.New(&commands{}, mappers())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range k.Model.Children[0].Flags {
		if f.Name == "config" || f.Name == "help" {
			continue
		}
		got, ok := documented[f.Name]
		if !ok || got != f.Default {
			t.Errorf("%s: default %q is documented as %q", f.Name, f.Default, got)
		}
		delete(documented, f.Name)
	}
	for name := range documented {
		t.Errorf("%s is documented and does not exist", name)
	}
}

// README.md and the help have every option of a domain, as the parser lists them when it is given another.
func TestReadmeHasTheOptionsOfDomains(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(string(text), "\n| `domain` |")
	row, _, _ = strings.Cut(row, "\n")
	_, help, _ := execute(nil, "serve", "--help")
	_, err = upstream.ParseDomain("example.org?frobnicate=x")
	if err == nil {
		t.Fatal("an unknown option was taken")
	}
	_, forms, _ := strings.Cut(err.Error(), "with ")
	options := regexp.MustCompile(`\?[a-z-]+=`).FindAllString(forms, -1)
	if len(options) < 7 {
		t.Fatalf("%q in %s", options, forms)
	}
	for _, option := range options {
		if !strings.Contains(row, option) || !strings.Contains(help, option) {
			t.Errorf("%s is missing in README.md or in the help", option)
		}
	}
}

// Covers: UP-099.
func TestOperatorsAreToldOfChannelBinding(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{"SCRAM-*-PLUS", "SCRAM-SHA-256-PLUS", `HT-\*-EXPR`, `HT-\*-UNIQ`, "tls-server-end-point", "?plus=hide"} {
		if !strings.Contains(string(text), said) {
			t.Errorf("docs/operations.md says nothing of %s", said)
		}
	}
}
