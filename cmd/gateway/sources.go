package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

const environmentPrefix = "GATEWAY_"

// sources gives kong the values of the environment and the file, the environment first, and remembers where each value
// came from. kong's own handling of the environment would let the file win.
type sources struct {
	file        string
	fromFile    map[string]any    // key -> string or []string
	environment map[string]string // variables of ours
	origin      map[string]string // key -> where its value came from; keys at their defaults are missing
}

// settingError is a bad setting: what is there, from where, and what would be right.
type settingError struct {
	key, value, origin, want string
}

func (e *settingError) Error() string {
	from := ""
	if e.origin != "" {
		from = " (" + e.origin + ")"
	}
	return fmt.Sprintf("%s: %q%s: %s", e.key, e.shown(), from, e.want)
}

// secretName matches names that are not ours, of what nobody should read in a log.
var secretName = regexp.MustCompile(`(?i)pass|secret|token`)

// shown is the value without what may be secret in it. Where a value is wrong the key may be, too.
func (e *settingError) shown() string {
	switch {
	case secretName.MatchString(e.key) && e.value != "":
		return masked
	case strings.Contains(e.value, "://") && (strings.Contains(e.value, "@") || secretName.MatchString(e.value)):
		return maskAll(addresses(e.value))
	}
	return e.value
}

// load finds the file and refuses keys and variables that are no settings.
func (s *sources) load(k *kong.Kong, p process) error {
	known := map[string]bool{}
	for _, f := range k.Model.Children[0].Flags { // those of serve: what other commands have beside them is no setting
		known[f.Name] = true
	}
	if err := s.readEnvironment(known, p.environment); err != nil {
		return err
	}
	if err := checkFlags(k, p.args); err != nil {
		return err
	}
	s.file = s.environment[variable("config")]
	// The real parse follows; this one only finds --config, so its errors will come again.
	if trace, err := kong.Trace(k, p.args); err == nil {
		for _, path := range trace.Path {
			if path.Flag != nil && path.Flag.Name == "config" {
				s.file, _ = trace.FlagValue(path.Flag).(string)
			}
		}
	}
	if s.file == "" {
		return nil
	}
	return s.readFile(known)
}

// checkFlags refuses flags that the command does not have. kong would name neither their value nor where to look.
func checkFlags(k *kong.Kong, args []string) error {
	command := k.Model.Children[0]
	for _, c := range k.Model.Children {
		if len(args) > 0 && c.Name == args[0] {
			command = c
		}
	}
	if command.Passthrough {
		return nil // it reads its own
	}
	known := map[string]bool{"--help": true}
	for _, f := range command.Flags {
		known["--"+f.Name] = true
	}
	for i, arg := range args {
		name, value, hasValue := strings.Cut(arg, "=")
		switch {
		case arg == "--":
			return nil // the rest are no flags
		case !strings.HasPrefix(arg, "--") || known[name]:
			continue
		case !hasValue && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-"):
			value = args[i+1]
		}
		return &settingError{name, value, "flag", "there is no such setting" + suggest(name, known)}
	}
	return nil
}

// variable is the name of a setting in the environment.
func variable(key string) string {
	return environmentPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// serviceLink matches what Kubernetes adds to the environment for a service whose name begins with "gateway".
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

func (s *sources) readEnvironment(known map[string]bool, environment []string) error {
	variables := map[string]bool{}
	for key := range known {
		variables[variable(key)] = true
	}
	for _, pair := range environment {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case !strings.HasPrefix(name, environmentPrefix):
		case variables[name]:
			s.environment[name] = value
		case !serviceLink.MatchString(name):
			return &settingError{name, value, "environment", "there is no such setting" + suggest(name, variables)}
		}
	}
	return nil
}

func (s *sources) readFile(known map[string]bool) error {
	text, err := os.ReadFile(s.file)
	if err != nil {
		return &settingError{"config", s.file, "", "cannot be read: " + errors.Unwrap(err).Error()}
	}
	s.fromFile = map[string]any{}
	var document yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(text))
	switch err := documents.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil // nothing but comments
	case err != nil:
		return &settingError{"config", s.file, "", "is not YAML: " + err.Error()}
	}
	if err := documents.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return &settingError{"config", s.file, "", "holds more than one YAML document; remove all but one"}
	}
	root := document.Content[0]
	if root.Tag == "!!null" {
		return nil // as between the lines of a template
	}
	return s.flatten(known, "", root)
}

// flatten reads a YAML mapping; tls: {listen: x} is the same as tls.listen: x.
func (s *sources) flatten(known map[string]bool, prefix string, n *yaml.Node) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return &settingError{"config", s.file, s.line(n), "want keys and values at this place"}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := prefix+n.Content[i].Value, n.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if key == "config" {
			return &settingError{key, value.Value, s.line(n.Content[i]), "a file cannot name another one; use --config or GATEWAY_CONFIG"}
		}
		if !known[key] {
			if value.Kind == yaml.MappingNode && slices.ContainsFunc(keys(known), func(k string) bool { return strings.HasPrefix(k, key+".") }) {
				if err := s.flatten(known, key+".", value); err != nil {
					return err
				}
				continue
			}
			return &settingError{key, value.Value, s.line(n.Content[i]), "there is no such setting" + suggest(key, known)}
		}
		if _, twice := s.fromFile[key]; twice {
			return &settingError{key, value.Value, s.line(n.Content[i]), "is set twice; remove one"}
		}
		if err := s.readValue(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (s *sources) readValue(key string, value *yaml.Node) error {
	switch {
	case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
		return &settingError{key, "", s.line(value), `has no value; remove the key for the default, or write ""`}
	case value.Kind == yaml.ScalarNode:
		s.fromFile[key] = value.Value // as written: 0600 stays 0600
	case value.Kind == yaml.SequenceNode:
		values := []string{}
		for _, item := range value.Content {
			if item.Kind == yaml.AliasNode {
				item = item.Alias
			}
			if item.Kind != yaml.ScalarNode {
				return &settingError{key, "", s.line(item), "want a list of plain values"}
			}
			values = append(values, item.Value)
		}
		s.fromFile[key] = values
	default:
		return &settingError{key, "", s.line(value), "want a plain value or a list of them"}
	}
	return nil
}

func (s *sources) line(n *yaml.Node) string { return fmt.Sprintf("%s line %d", s.file, n.Line) }

// Validate is part of kong.Resolver; load has checked the keys.
func (s *sources) Validate(*kong.Application) error { return nil }

// Resolve is asked for every setting that is not on the command line.
func (s *sources) Resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	if value, ok := s.environment[variable(f.Name)]; ok {
		s.origin[f.Name] = "environment " + variable(f.Name)
		return value, nil
	}
	value, ok := s.fromFile[f.Name]
	if !ok {
		return nil, nil
	}
	s.origin[f.Name] = s.file
	if _, isList := value.([]string); isList && f.Target.Type() != reflect.TypeFor[list]() {
		return nil, &settingError{f.Name, strings.Join(value.([]string), ", "), s.file, "want one value, not a list"}
	}
	return value, nil
}

// noteFlags completes origin by what stood on the command line.
func (s *sources) noteFlags(ctx *kong.Context) {
	for _, path := range ctx.Path {
		if path.Flag != nil && !path.Resolved {
			s.origin[path.Flag.Name] = "flag"
		}
	}
}

// explain adds to an error about a setting where its value came from; otherwise is that of a value that s did not give.
func (s *sources) explain(err error, otherwise string) error {
	if part := (*partError)(nil); errors.As(err, &part) {
		part.origin = s.origin[part.key]
		return err
	}
	bad := (*settingError)(nil)
	if !errors.As(err, &bad) {
		return err
	}
	if bad.origin == "" {
		bad.origin = otherwise
		if origin, ok := s.origin[bad.key]; ok {
			bad.origin = origin
		}
	}
	return bad
}

func keys(m map[string]bool) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// suggest names the setting that was probably meant.
func suggest(name string, known map[string]bool) string {
	best, least := "", len(name)/3+1
	for _, k := range keys(known) {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return "; `gateway serve --help` lists them"
	}
	return "; " + best + " was probably meant"
}

// distance counts the insertions, deletions and replacements between two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
