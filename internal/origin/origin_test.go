package origin

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// WS-004 and BOSH-013 ask for the same policy.
func TestPolicyAllows(t *testing.T) {
	list := []string{"https://good.example", "https://*.wild.example", "http://dev.example:8080"}
	p, err := Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		origin, host string
		want         bool
	}{
		"exact":                    {"https://good.example", "gw.example", true},
		"exact upper case":         {"https://GOOD.example", "gw.example", true},
		"default port spelled out": {"https://good.example:443", "gw.example", true},
		"other port":               {"https://good.example:8443", "gw.example", false},
		"other scheme":             {"http://good.example", "gw.example", false},
		"prefix trick":             {"https://good.example.evil.test", "gw.example", false},
		"user trick":               {"https://good.example@evil.test", "gw.example", false},
		"wildcard":                 {"https://a.wild.example", "gw.example", true},
		"wildcard two labels":      {"https://a.b.wild.example", "gw.example", true},
		"wildcard itself":          {"https://wild.example", "gw.example", false},
		"wildcard suffix trick":    {"https://evilwild.example", "gw.example", false},
		"literal star":             {"https://*.wild.example", "gw.example", false},
		"port listed":              {"http://dev.example:8080", "gw.example", true},
		"same host":                {"https://gw.example", "gw.example", true},
		"same host other port":     {"https://gw.example:8443", "gw.example", false},
		"null":                     {"null", "gw.example", false},
		"empty":                    {"", "gw.example", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.Allows(c.origin, c.host); got != c.want {
				t.Errorf("Allows(%q, %q) = %v, want %v", c.origin, c.host, got, c.want)
			}
		})
	}
}

func TestStarAllowsAll(t *testing.T) {
	p, err := Parse([]string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Any() || !p.Allows("null", "gw.example") || !p.Allows("https://x.example", "gw.example") {
		t.Error("* does not allow every origin")
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"good.example", "https://a.*.example", "https://*", "ftp://x.example", "https://x.example/path", "https://*x.example"} {
		if _, err := Parse([]string{s}); err == nil {
			t.Errorf("Parse(%q) succeeded", s)
		}
	}
}
