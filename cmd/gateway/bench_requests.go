package main

import (
	"errors"
	"fmt"
	"time"

	"stanzagate/internal/load"
)

type benchPoll struct {
	benchTarget `embed:""`
	Sessions    int           `name:"sessions" default:"1000" help:"Sessions."`
	Wait        int           `name:"wait" default:"1" help:"Seconds for which a request is held."`
	Warmup      time.Duration `name:"warmup" default:"2s" help:"Not measured."`
	Duration    time.Duration `name:"duration" default:"5s" help:"Measured."`
}

func (c *benchPoll) Run(p *process) error {
	if c.Sessions < 1 || c.AtOnce < 1 || c.Wait < 1 || c.Warmup < 0 || c.Duration <= 0 {
		return errors.New("bench: sessions, at-once, wait and duration have to be positive, warmup not negative")
	}
	ctx, stop := c.context()
	defer stop()
	target := c.target()
	target.Wait = c.Wait
	res, err := load.Poll(ctx, target, c.Sessions, c.Warmup, c.Duration, load.Processes(c.PID).CPU)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if c.JSON {
		return printJSON(p, res)
	}
	_, err = fmt.Fprintf(p.stdout, "%.0f empty responses/s; CPU %v each\n", res.PerSecond, res.CPUPerEmpty)
	return err
}

type benchDetour struct {
	benchTarget `embed:""`
	Other       string        `name:"other" required:"" help:"BOSH endpoint of another replica; --url is where the sessions are."`
	Sessions    int           `name:"sessions" default:"100" help:"Sessions."`
	Rate        float64       `name:"rate" default:"500" help:"Requests per second over all sessions."`
	Warmup      time.Duration `name:"warmup" default:"1s" help:"Not measured."`
	Duration    time.Duration `name:"duration" default:"5s" help:"Measured."`
}

func (c *benchDetour) Run(p *process) error {
	if c.Sessions < 1 || c.AtOnce < 1 || c.Rate <= 0 || c.Warmup < 0 || c.Duration <= 0 {
		return errors.New("bench: sessions, at-once, rate and duration have to be positive, warmup not negative")
	}
	ctx, stop := c.context()
	defer stop()
	res, err := load.Detour(ctx, c.target(), c.Other, c.Sessions, c.Rate, c.Warmup, c.Duration)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if c.JSON {
		return printJSON(p, res)
	}
	_, err = fmt.Fprintf(p.stdout, "to the owner p50 %v, p99 %v; by the other p50 %v, p99 %v\n",
		res.Direct.P50, res.Direct.P99, res.Detour.P50, res.Detour.P99)
	return err
}
