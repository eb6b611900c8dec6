package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"stanzagate/internal/load"
)

// benchCommand has a command line of its own: what it takes are no settings, so neither file nor environment has them.
type benchCommand struct {
	Args []string `arg:"" optional:"" passthrough:"" help:"See gateway bench --help."`
}

type benchCommands struct {
	Chat   benchChat   `cmd:"" help:"Pairs of sessions that send each other messages: throughput, latency, CPU."`
	Idle   benchIdle   `cmd:"" help:"Sessions that log in and do nothing: logins per second, memory, CPU."`
	Stub   benchStub   `cmd:"" help:"Run an XMPP server that only routes, to stand behind what is measured."`
	Poll   benchPoll   `cmd:"" help:"BOSH sessions that poll and get nothing: CPU per empty response."`
	Detour benchDetour `cmd:"" help:"BOSH sessions whose requests go to two replicas in turn: what the wrong one adds."`
	Relay  benchRelay  `cmd:"" help:"Run a TCP relay, the yardstick."`
}

func (c *benchCommand) Run(p *process) error {
	var b benchCommands
	helped := false
	k, err := kong.New(&b, kong.Name("gateway bench"), kong.Writers(p.stdout, p.stderr), kong.Exit(func(int) { helped = true }),
		kong.Description("Puts load on an XMPP server, or on a gateway in front of one, and measures it. Use it on servers of your own."))
	if err != nil {
		return fmt.Errorf("command line: %w", err)
	}
	ctx, err := k.Parse(c.Args)
	if helped {
		return nil
	}
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return ctx.Run(p)
}

// benchTarget are the flags that chat and idle share.
type benchTarget struct {
	URL      string        `name:"url" required:"" help:"tcp://host:port, ws://host:port/path or http://host:port/path; tcps, wss and https likewise. The host's port must be named."`
	Domain   string        `name:"domain" required:"" help:"XMPP domain."`
	User     string        `name:"user" default:"u%d" help:"Account; %d is replaced by the session's number."`
	Accounts int           `name:"accounts" default:"0" help:"How many accounts there are; sessions share them. 0: one each."`
	Password string        `name:"password" default:"secret" help:"Password of all accounts."`
	AtOnce   int           `name:"at-once" default:"64" help:"Logins that go on at any time."`
	PID      []int         `name:"pid" help:"Processes whose CPU time and memory are measured, repeatable."`
	JSON     bool          `name:"json" help:"Print JSON."`
	Timeout  time.Duration `name:"timeout" default:"10m" help:"Give up after that time."`
}

func (t *benchTarget) target() load.Target {
	return load.Target{URL: t.URL, Domain: t.Domain, User: t.User, Accounts: t.Accounts, Password: t.Password, AtOnce: t.AtOnce}
}

// context ends with a signal or the timeout.
func (t *benchTarget) context() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	return ctx, func() { cancel(); stop() }
}

type benchChat struct {
	benchTarget `embed:""`
	Pairs       int           `name:"pairs" default:"100" help:"Pairs of sessions."`
	InFlight    int           `name:"in-flight" default:"8" help:"Messages on their way per pair."`
	Rate        float64       `name:"rate" default:"0" help:"Messages per second over all pairs; 0: as fast as they are answered."`
	Warmup      time.Duration `name:"warmup" default:"1s" help:"Not measured."`
	Duration    time.Duration `name:"duration" default:"5s" help:"Measured."`
}

func (c *benchChat) Run(p *process) error {
	if c.Pairs < 1 || c.InFlight < 1 || c.AtOnce < 1 || c.Duration <= 0 || c.Warmup < 0 || c.Rate < 0 {
		return errors.New("bench: pairs, in-flight, at-once and duration have to be positive, warmup and rate not negative")
	}
	ctx, stop := c.context()
	defer stop()
	res, err := load.Run(ctx, c.target(), load.Plan{
		Pairs: c.Pairs, InFlight: c.InFlight, Rate: c.Rate, Warmup: c.Warmup, Duration: c.Duration,
	}, load.Processes(c.PID).CPU)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if c.JSON {
		return printJSON(p, res)
	}
	_, err = fmt.Fprintf(p.stdout, "%.0f messages/s; latency p50 %v, p99 %v, max %v; CPU %v per message; %d lost, %d doubled, %d reordered\n",
		res.PerSecond, res.Latency.P50, res.Latency.P99, res.Latency.Max, res.CPUPerMessage, res.Lost, res.Doubled, res.Reordered)
	return err
}

type benchIdle struct {
	benchTarget `embed:""`
	Sessions    int           `name:"sessions" default:"1000" help:"Sessions."`
	Settle      time.Duration `name:"settle" default:"3s" help:"Wait before measuring."`
	Hold        time.Duration `name:"hold" default:"5s" help:"Measure CPU over that time, then memory."`
}

func (c *benchIdle) Run(p *process) error {
	if c.Sessions < 1 || c.AtOnce < 1 || c.Settle < 0 || c.Hold < 0 {
		return errors.New("bench: sessions and at-once have to be positive, settle and hold not negative")
	}
	ctx, stop := c.context()
	defer stop()
	processes := load.Processes(c.PID)
	res, err := load.Idle(ctx, c.target(), c.Sessions, c.Settle, c.Hold, processes.Memory, processes.CPU)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if c.JSON {
		return printJSON(p, res)
	}
	_, err = fmt.Fprintf(p.stdout, "%d sessions; %.0f logins/s; %.1f KiB per session; CPU %v per second\n",
		res.Sessions, res.LoginsPerSecond, float64(res.BytesPerSession)/1024, res.CPUPerSecond)
	return err
}

func printJSON(p *process, v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

type benchStub struct {
	Listen string `name:"listen" default:"127.0.0.1:5222" help:"Address."`
	Domain string `name:"domain" default:"stub.test" help:"XMPP domain."`
	Cert   string `name:"cert" help:"PEM file with certificate chain: direct TLS."`
	Key    string `name:"key" help:"PEM file with the private key."`
	Acks   bool   `name:"stream-management" help:"Offer XEP-0198; resumptions are refused."`
}

func (c *benchStub) Run() error {
	s := &load.Stub{Domain: c.Domain, StreamManagement: c.Acks}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	return untilSignal(c.Listen, s.Serve)
}

type benchRelay struct {
	Listen string `name:"listen" default:"127.0.0.1:5223" help:"Address."`
	To     string `name:"to" required:"" help:"Address of the server."`
}

func (c *benchRelay) Run() error {
	return untilSignal(c.Listen, func(ctx context.Context, ln net.Listener) error { return load.Relay(ctx, ln, c.To) })
}

func untilSignal(address string, serve func(context.Context, net.Listener) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return serve(ctx, ln)
}
