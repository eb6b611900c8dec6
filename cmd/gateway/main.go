// Command gateway lets browsers reach any XMPP server by BOSH and WebSocket. `gateway help` lists its commands and settings.
//
// This package has what concerns the process as a whole: settings, wiring, listeners, signals, metrics and the operator's
// endpoints. It is the only one that reads flags, files and the environment.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

type commands struct {
	Serve   serveCommand   `cmd:"" default:"withargs" help:"Run the gateway (also without a command)."`
	Show    configCommand  `cmd:"" name:"config" help:"Print the effective configuration, secrets masked, each key with its source."`
	Check   checkCommand   `cmd:"" help:"Print what sessions of a domain would meet: records, TLS, mechanisms, whether they survive."`
	Bench   benchCommand   `cmd:"" help:"Put load on a server or gateway and measure it." passthrough:""`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// process is what a command needs of the outside world.
type process struct {
	args        []string
	environment []string
	stdout      io.Writer
	stderr      io.Writer
}

func main() {
	os.Exit(run(process{os.Args[1:], os.Environ(), os.Stdout, os.Stderr}))
}

// run executes one command and returns the exit status: 0, 1 for a failure, 2 for a bad configuration.
func run(p process) int {
	var c commands
	src, ctx, err := parse(&c, p)
	if errors.Is(err, errHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(p.stderr, "gateway:", err)
		return 2
	}
	if err := ctx.Run(&p, src); err != nil {
		fmt.Fprintln(p.stderr, "gateway:", err)
		bad, part := (*settingError)(nil), (*partError)(nil)
		if errors.As(err, &bad) || errors.As(err, &part) {
			return 2
		}
		return 1
	}
	return 0
}

// errHelp says that help was asked for and given.
var errHelp = errors.New("help was printed")

const description = "BOSH and WebSocket gateway for XMPP servers.\n\n" +
	"Every setting --a.b-c is also the environment variable GATEWAY_A_B_C and the key a.b-c of the YAML file that --config names. " +
	"A flag wins over the environment, that over the file, that over the default. Lists are repeated flags, YAML lists or separated by commas."

// parse reads the command line, the environment and the file into c.
func parse(c *commands, p process) (*sources, *kong.Context, error) {
	src := &sources{environment: map[string]string{}, origin: map[string]string{}}
	helped := false
	k, err := kong.New(c, kong.Name("gateway"), kong.Description(description), kong.Resolvers(src),
		kong.Writers(p.stdout, p.stderr), kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), mappers())
	if err != nil {
		return nil, nil, fmt.Errorf("command line: %w", err)
	}
	if err := src.load(k, p); err != nil {
		return nil, nil, err
	}
	ctx, err := k.Parse(p.args)
	if helped {
		return nil, nil, errHelp
	}
	if err != nil {
		return nil, nil, src.explain(err, "flag")
	}
	src.noteFlags(ctx)
	return src, ctx, nil
}

type versionCommand struct{}

func (versionCommand) Run(p *process) error {
	_, err := fmt.Fprintln(p.stdout, "gateway", version())
	return err
}
