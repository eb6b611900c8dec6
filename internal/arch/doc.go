// Package arch holds no code: its tests enforce the rules that concern all packages. Who may import whom and why
// (docs/architecture.md draws the picture), that every package says what it is for, looks for leaked goroutines, and that
// files stay small.
package arch
