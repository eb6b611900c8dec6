package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// checkEvery is how often handshakes look whether the certificate's files have changed.
const checkEvery = 10 * time.Second

// certificate is the pair in tls.cert and tls.key. It is read again when a handshake finds the files changed, and on
// SIGHUP. A pair that cannot be read is reported and the old one stays.
type certificate struct {
	// immutable after loadCertificate
	certFile, keyFile string
	log               *slog.Logger

	current atomic.Pointer[tls.Certificate]
	checked atomic.Int64 // nanoseconds since the epoch; when the files were last looked at

	mu    sync.Mutex
	stamp stamp // guarded by mu: of the files when they were last read, successfully or not
}

// stamp tells versions of the two files apart.
type stamp struct {
	certTime, keyTime time.Time
	certSize, keySize int64
}

func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.readLocked(); err != nil {
		return nil, err
	}
	return c, nil
}

// get is tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := time.Now().UnixNano()
	if last := c.checked.Load(); now-last > int64(checkEvery) && c.checked.CompareAndSwap(last, now) {
		c.refresh(false)
	}
	return c.current.Load(), nil
}

// refresh reads the files again, if they have changed or force is set.
func (c *certificate) refresh(force bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now, err := c.stat(); err == nil && now == c.stamp && !force {
		return
	}
	if err := c.readLocked(); err != nil {
		c.log.LogAttrs(context.Background(), slog.LevelError, "certificate not reloaded, the old one stays", slog.Any("error", err))
		return
	}
	c.log.LogAttrs(context.Background(), slog.LevelInfo, "certificate reloaded", slog.Time("expires", c.current.Load().Leaf.NotAfter))
}

func (c *certificate) stat() (stamp, error) {
	cert, err := os.Stat(c.certFile)
	if err != nil {
		return stamp{}, &settingError{key: "tls.cert", value: c.certFile, want: "cannot be read: " + pathCause(err)}
	}
	key, err := os.Stat(c.keyFile)
	if err != nil {
		return stamp{}, &settingError{key: "tls.key", value: c.keyFile, want: "cannot be read: " + pathCause(err)}
	}
	return stamp{cert.ModTime(), key.ModTime(), cert.Size(), key.Size()}, nil
}

func (c *certificate) readLocked() error {
	now, err := c.stat()
	if err != nil {
		return err
	}
	c.stamp = now
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return &settingError{key: "tls.cert", value: c.certFile, want: "is not usable with tls.key " + c.keyFile + ": " + err.Error()}
	}
	c.current.Store(&pair)
	return nil
}
