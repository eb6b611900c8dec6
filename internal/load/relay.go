package load

import (
	"context"
	"io"
	"net"
	"sync"
)

// Relay copies bytes between each connection to ln and one to addr until ctx ends: the least that anything between a client
// and a server can cost.
func Relay(ctx context.Context, ln net.Listener, addr string) error {
	return serve(ctx, ln, func(c net.Conn) {
		up, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer up.Close()
		stop := context.AfterFunc(ctx, func() { _ = up.Close() })
		defer stop()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = io.Copy(up, c) // a cut ends the copy; nothing is left to say
			_ = up.(*net.TCPConn).CloseWrite()
		})
		_, _ = io.Copy(c, up)
		_ = c.(*net.TCPConn).CloseWrite()
		wg.Wait()
	})
}

// serve runs f for each connection and waits for all of them when ctx ends.
func serve(ctx context.Context, ln net.Listener, f func(net.Conn)) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		wg.Go(func() {
			defer c.Close()
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			f(c)
		})
	}
}
