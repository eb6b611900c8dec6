//go:build race

package bosh

const raceEnabled = true
