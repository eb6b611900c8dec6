// Package e2e holds the end-to-end tests: real XMPP servers, real clients and the real gateway binary.
//
// Everything but this file has the build tag e2e, so that the unit tests need neither servers nor Node:
//
//	go test -tags e2e ./internal/e2e
//
// Each server of the matrix (Prosody, ejabberd, jabberd2) is started once per run on free loopback ports in a temporary
// directory and stopped by its process ID. A server that is not installed skips its tests, or fails them when CI=true.
// E2E_NATIVE=1 points the matrix at the servers' own BOSH and WebSocket endpoints instead of the gateway, which tells a
// quirk of a server from a fault of ours. E2E_VERBOSE=1 shows the logs of all processes, not only after a failure.
//
// The package imports nothing of ours: what it knows of the gateway is its command line and the protocols.
package e2e
