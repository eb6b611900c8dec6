package main

import (
	"bytes"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

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
			Secrets     []string          `yaml:"secrets"`
			Grace       string            `yaml:"stop_grace_period"`
		} `yaml:"services"`
		Secrets map[string]any `yaml:"secrets"`
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
		deployed(t, &c.Serve.settings, s.Secrets)
		if grace, err := time.ParseDuration(s.Grace); err != nil || grace <= c.Serve.DrainTimeout {
			t.Errorf("%s is killed after %q", name, s.Grace)
		}
		balancer := file.Services["balancer"].Environment
		number := strings.TrimPrefix(name, "replica")
		if balancer["REPLICA_"+number] != name+c.Serve.Listen || ":"+balancer["ADMIN_PORT_"+number] != c.Serve.Admin {
			t.Errorf("%s is not where the balancer looks: %v", name, balancer)
		}
	}
	for name := range file.Secrets {
		if name != "failover" {
			t.Errorf("secret %s is not used", name)
		}
	}
	if replicas != 3 {
		t.Errorf("%d replicas", replicas)
	}
}

// deployed checks that serve would take the settings: the store is another service, and the key a secret of this one.
func deployed(t *testing.T, s *settings, secrets []string) {
	t.Helper()
	const folder = "/run/secrets/"
	if len(s.Failover.Key) != 1 || !slices.Contains(secrets, strings.TrimPrefix(s.Failover.Key[0], folder)) {
		t.Fatalf("key %v, secrets %v", s.Failover.Key, secrets)
	}
	s.Failover.Key = list{keyFile(t)}
	s.Replica.Advertise = "10.0.0.1:9281" // containers have an address; who runs this test may have none
	g, err := newGateway(s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if g.replicas.redis == nil || g.replicas.identity == nil {
		t.Error("it runs alone")
	}
	inTime(t.Context(), closeGrace, g.bosh.Shutdown, g.websocket.Shutdown)
	inTime(t.Context(), closeGrace, g.replicas.stop)
}

// All that haproxy.cfg takes from the environment is set in compose.yaml and named in its own header.
func TestBalancerEnvironment(t *testing.T) {
	config, err := os.ReadFile("../../deploy/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	compose, err := os.ReadFile("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, found := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllSubmatch(config, -1) {
		names[string(found[1])] = true
	}
	if len(names) != 7 {
		t.Errorf("%d variables", len(names))
	}
	for name := range names {
		if !bytes.Contains(compose, []byte("      "+name+": ")) {
			t.Errorf("%s is not set", name)
		}
	}
}
