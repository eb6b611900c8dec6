//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// The servers with SASL2 and FAST are in Debian's backports. They run beside the installed versions, from packages that
// are unpacked into a private directory and never installed: apt gets its own source list, state and cache for that.

const suite = "bookworm-backports"

var backportPackages = map[string][]string{
	"prosody": {"prosody", "prosody-modules"},
	"ejabberd": {
		"ejabberd", "erlang-jose", "erlang-p1-acme", "erlang-p1-cache-tab", "erlang-p1-eimp", "erlang-p1-mqtree", "erlang-p1-pkix",
		"erlang-p1-stringprep", "erlang-p1-stun", "erlang-p1-tls", "erlang-p1-utils", "erlang-p1-xml", "erlang-p1-xmpp",
		"erlang-p1-yaml", "erlang-p1-yconf", "erlang-p1-zlib",
	},
}

// unpacked returns the directory with a server's backported files, unpacking them on first use. They stay in the cache
// directory of the repository, so that a later run needs no network.
func unpacked(name string) (string, error) {
	root, err := filepath.Abs(filepath.Join("..", "..", ".cache", "backports"))
	if err != nil {
		return "", err
	}
	dir, done := filepath.Join(root, name), filepath.Join(root, name+".complete")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	aptOnce.Lock()
	defer aptOnce.Unlock()
	apt, err := privateApt(root)
	if err != nil {
		return "", err
	}
	debs := filepath.Join(root, name+".debs")
	if err := errors.Join(os.RemoveAll(dir), os.RemoveAll(debs), os.MkdirAll(dir, 0o755), os.MkdirAll(debs, 0o755)); err != nil {
		return "", err
	}
	args := append(apt, "download", "-qq")
	for _, p := range backportPackages[name] {
		args = append(args, p+"/"+suite)
	}
	if err := runIn(debs, "apt-get", args...); err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if err := runIn(debs, "dpkg", "-x", f, dir); err != nil {
			return "", err
		}
	}
	return dir, errors.Join(os.RemoveAll(debs), os.WriteFile(done, nil, 0o644))
}

var aptOnce sync.Mutex

var mirrorPattern = regexp.MustCompile(`https?://\S+`)

// privateApt makes apt's directories and returns the options that point it at them. The mirror is the one that the machine
// already uses for Debian.
func privateApt(root string) ([]string, error) {
	policy, err := exec.Command("apt-cache", "policy", "bash").Output()
	if err != nil {
		return nil, fmt.Errorf("apt: %w", errMissing)
	}
	mirror := mirrorPattern.FindString(string(policy))
	if mirror == "" {
		return nil, fmt.Errorf("a Debian mirror in the sources of apt: %w", errMissing)
	}
	keyring, err := packageFile("debian-archive-keyring", "debian-archive-keyring.gpg")
	if err != nil {
		return nil, err
	}
	state := filepath.Join(root, "apt")
	lists, archives := filepath.Join(state, "lists"), filepath.Join(state, "cache")
	sources := filepath.Join(state, "sources.list")
	err = errors.Join(
		os.MkdirAll(filepath.Join(lists, "partial"), 0o755), os.MkdirAll(filepath.Join(archives, "archives", "partial"), 0o755),
		os.WriteFile(sources, fmt.Appendf(nil, "deb [signed-by=%s] %s %s main\n", keyring, mirror, suite), 0o644))
	if err != nil {
		return nil, err
	}
	options := []string{
		"-o", "Dir::Etc::sourcelist=" + sources, "-o", "Dir::Etc::sourceparts=-", "-o", "Dir::State::lists=" + lists,
		"-o", "Dir::Cache=" + archives, "-o", "APT::Sandbox::User=root",
	}
	return options, runIn(state, "apt-get", append(options, "update", "-qq")...)
}

func runIn(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
