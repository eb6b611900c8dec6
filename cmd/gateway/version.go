package main

import (
	"runtime"
	"runtime/debug"
)

// version says which code this is: the module's version or the commit, and the Go release that built it.
func version() string {
	name := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		name = info.Main.Version
		if name == "" {
			name = "(devel)"
		}
	}
	return name + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
