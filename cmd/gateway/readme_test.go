package main

import (
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
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
