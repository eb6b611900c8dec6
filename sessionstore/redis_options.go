package sessionstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	poolSize    = 16        // connections to each server; group commit needs few
	bufferBytes = 16 * 1024 // of a connection, each way
	idleTime    = 5 * time.Minute
)

// options are those of the library: nothing is retried behind our back, no call outlasts its deadline, and a connection
// costs one round trip (HELLO) before it is used.
func (t *redisTarget) options(timeout time.Duration, config *tls.Config) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs: t.addrs, MasterName: t.master, IsClusterMode: t.cluster,
		Username: t.user, Password: t.password, SentinelUsername: t.sentinelUser, SentinelPassword: t.sentinelPassword, DB: t.db,

		MaxRetries:   -1,
		MaxRedirects: 3, // of a cluster: MOVED and ASK. It also repeats calls then; the scripts allow for that

		DialTimeout: timeout, DialerRetries: 1, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout,
		ContextTimeoutEnabled: true,

		PoolSize: poolSize, PipelinePoolSize: -1, ReadBufferSize: bufferBytes, WriteBufferSize: bufferBytes,
		ConnMaxIdleTime: idleTime,

		TLSConfig:                config,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// tlsConfig reads the files that the URL names; nil without TLS.
func (t *redisTarget) tlsConfig() (*tls.Config, error) {
	if !t.secure {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.tls.name}
	if t.tls.ca != "" {
		pem, err := os.ReadFile(t.tls.ca)
		if err != nil {
			return nil, fmt.Errorf("option ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("option ca: no certificate in the file")
		}
	}
	if t.tls.cert != "" {
		pair, err := tls.LoadX509KeyPair(t.tls.cert, t.tls.key)
		if err != nil {
			return nil, fmt.Errorf("options cert and key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// muteLibrary turns off the library's own log, which it writes to stderr, one for the process. What it says there comes
// as an error as well.
var muteLibrary = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
