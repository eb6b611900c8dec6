package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The deployment files name only settings that exist, with values that can be read.
func TestComposeFile(t *testing.T) {
	text, err := os.ReadFile("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Environment map[string]string `yaml:"environment"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	replicas := 0
	for name, s := range file.Services {
		if !strings.HasPrefix(name, "replica") {
			continue
		}
		replicas++
		var environment []string
		for variable, value := range s.Environment {
			environment = append(environment, variable+"="+strings.ReplaceAll(value, "${DOMAIN:?name the XMPP domain to serve}", "one.example"))
		}
		var c commands
		if _, _, err := parse(&c, process{args: []string{"serve"}, environment: environment}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := c.Serve; got.Replica.ID != name || got.RequireTLS || !reflect.DeepEqual(got.Domains, list{"one.example"}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if replicas != 3 {
		t.Errorf("%d replicas", replicas)
	}
}
