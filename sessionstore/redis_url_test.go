package sessionstore

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseRedis(t *testing.T) {
	for _, c := range []struct {
		urls []string
		want redisTarget
		text string
	}{
		{[]string{"redis://localhost"}, redisTarget{addrs: []string{"localhost:6379"}}, "redis://localhost:6379"},
		{[]string{"redis.example"}, redisTarget{addrs: []string{"redis.example:6379"}}, "redis://redis.example:6379"},
		{[]string{"redis://[::1]:7000/3"}, redisTarget{addrs: []string{"[::1]:7000"}, db: 3}, "redis://[::1]:7000/3"},
		{[]string{"redis://[::1]/"}, redisTarget{addrs: []string{"[::1]:6379"}}, "redis://[::1]:6379"},
		{
			[]string{"redis://:p%40ss%3A%2Fw@h:1"},
			redisTarget{addrs: []string{"h:1"}, password: "p@ss:/w"},
			"redis://h:1",
		},
		{
			[]string{"rediss://us%65r:pw:with:colons@h:1/0?ca=/a/b.pem&name=redis.example&cert=c&key=k"},
			redisTarget{
				addrs: []string{"h:1"}, secure: true, user: "user", password: "pw:with:colons",
				tls: tlsFiles{ca: "/a/b.pem", name: "redis.example", cert: "c", key: "k"},
			},
			"rediss://h:1",
		},
		{
			[]string{"redis+sentinel://u:p@s1,s2:26380/main/2?sentinel-user=su&sentinel-password=s%26p"},
			redisTarget{
				kind: redisSentinel, addrs: []string{"s1:26379", "s2:26380"}, user: "u", password: "p", master: "main", db: 2,
				sentinelUser: "su", sentinelPassword: "s&p",
			},
			"redis+sentinel://s1:26379,s2:26380/main/2",
		},
		{
			[]string{"rediss+sentinel://s/m"},
			redisTarget{kind: redisSentinel, secure: true, addrs: []string{"s:26379"}, master: "m"},
			"rediss+sentinel://s:26379/m",
		},
		{
			[]string{"rediss+cluster://u:p@a,b:7001"},
			redisTarget{kind: redisCluster, cluster: true, secure: true, addrs: []string{"a:6379", "b:7001"}, user: "u", password: "p"},
			"rediss+cluster://a:6379,b:7001",
		},
		{
			[]string{"redis://u:p@a", "redis://u:p@b:2"},
			redisTarget{kind: redisCluster, cluster: true, addrs: []string{"a:6379", "b:2"}, user: "u", password: "p"},
			"redis+cluster://a:6379,b:2",
		},
		{
			[]string{"redis+cluster://a", "redis+cluster://b,c"},
			redisTarget{kind: redisCluster, cluster: true, addrs: []string{"a:6379", "b:6379", "c:6379"}},
			"redis+cluster://a:6379,b:6379,c:6379",
		},
	} {
		got, err := parseRedis(c.urls)
		if err != nil {
			t.Errorf("%s: %v", c.urls, err)
			continue
		}
		if !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.urls, *got, c.want)
		}
		for _, text := range []string{got.String(), fmt.Sprint(got), fmt.Sprintf("%+v", got), fmt.Sprintf("%#v", got)} {
			if text != c.text {
				t.Errorf("%s is shown as %s, want %s", c.urls, text, c.text)
			}
		}
	}
}

// Errors say what is wrong, and no part of a password is in them, wherever it ended up.
func TestParseRedisRefuses(t *testing.T) {
	const secret = "hunter2"
	for _, c := range []struct {
		urls []string
		want string // part of the error
	}{
		{nil, "no address"},
		{[]string{""}, "host:"},
		{[]string{"http://h"}, "scheme"},
		{[]string{"hunter2://h"}, "scheme"},
		{[]string{"redis://"}, "host:"},
		{[]string{"redis://h:"}, "port:"},
		{[]string{"redis://h:0"}, "port:"},
		{[]string{"redis://h:65536"}, "port:"},
		{[]string{"redis://h:+1"}, "port:"},
		{[]string{"redis://h:hunter2"}, "port:"},
		{[]string{"redis://::1"}, "host:"},
		{[]string{"redis://[hunter2]:1"}, "IPv6"},
		{[]string{"redis://h 1"}, "host:"},
		{[]string{"redis://hunter2@h"}, "without a password"},
		{[]string{"redis://:hunt%zzer2@h"}, "%25"},
		{[]string{"redis://:hunter2@x@h"}, "%40"},
		{[]string{"redis://:hunter2/x@h"}, "%2F"},
		{[]string{"redis://:x/hunter2@h"}, "%2F"},
		{[]string{"redis://:x?hunter2@h"}, "%3F"},
		{[]string{"redis://:x#hunter2@h"}, "%23"},
		{[]string{"redis://h#hunter2"}, "#"},
		{[]string{"redis://h/hunter2"}, "database"},
		{[]string{"redis://h/-1"}, "database"},
		{[]string{"redis://h/1/2"}, "database"},
		{[]string{"redis://h?hunter2=1"}, "unknown option"},
		{[]string{"redis://h?hunter2"}, "unknown option"},
		{[]string{"redis://h?%zz"}, "options"},
		{[]string{"redis://h?ca=x"}, "need rediss"},
		{[]string{"rediss://h?ca="}, "option ca"},
		{[]string{"rediss://h?ca=a&ca=b"}, "option ca"},
		{[]string{"rediss://h?cert=a"}, "need each other"},
		{[]string{"redis://a,b"}, "redis+cluster"},
		{[]string{"redis+sentinel://a"}, "master"},
		{[]string{"redis+sentinel://a/"}, "master"},
		{[]string{"redis+sentinel://a/%zz"}, "master"},
		{[]string{"redis+sentinel://a/m/hunter2"}, "database"},
		{[]string{"redis+cluster://a/1"}, "database 0"},
		{[]string{"redis://a/1", "redis://b/1"}, "database 0"},
		{[]string{"redis://:hunter2@a", "redis://b"}, "same scheme"},
		{[]string{"redis://:hunter2@a", "redis://:hunter22@b"}, "same scheme"},
		{[]string{"redis://a", "rediss://b"}, "same scheme"},
		{[]string{"redis+sentinel://a/m", "redis+sentinel://b/m"}, "same scheme"},
		{[]string{"redis://a", "redis://b:hunter2"}, "address 2: port:"},
	} {
		got, err := parseRedis(c.urls)
		switch {
		case err == nil:
			t.Errorf("%q is accepted: %v", c.urls, got)
		case !strings.Contains(err.Error(), c.want):
			t.Errorf("%q: %v, want something about %q", c.urls, err, c.want)
		case strings.Contains(err.Error(), secret), strings.Contains(err.Error(), "hunt"):
			t.Errorf("%q: the error shows a secret: %v", c.urls, err)
		}
	}
}

func TestOpenRedisChecksItsConfiguration(t *testing.T) {
	good := RedisConfig{URLs: []string{"redis://h"}, Self: Replica{ID: "a", Incarnation: "i", Address: "h:1"}}
	for _, c := range []struct {
		change func(*RedisConfig)
		want   string
	}{
		{func(c *RedisConfig) { c.Prefix = "a{b" }, "prefix"},
		{func(c *RedisConfig) { c.Prefix = "a b" }, "prefix"},
		{func(c *RedisConfig) { c.Schema = -1 }, "schema"},
		{func(c *RedisConfig) { c.Lease = 1 }, "lease"},
		{func(c *RedisConfig) { c.Timeout = 1 }, "timeout"},
		{func(c *RedisConfig) { c.Self.ID = "a b" }, "replica name"},
		{func(c *RedisConfig) { c.URLs = []string{"x://"} }, "scheme"},
		{func(c *RedisConfig) { c.URLs = []string{"rediss://h?ca=/does/not/exist"} }, "option ca"},
		{func(c *RedisConfig) { c.URLs = []string{"rediss://h?ca=redis_url_test.go"} }, "no certificate"},
		{func(c *RedisConfig) { c.URLs = []string{"rediss://h?cert=a&key=b"} }, "options cert and key"},
	} {
		cfg := good
		c.change(&cfg)
		if r, err := OpenRedis(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want something about %s", cfg, err, c.want)
			_ = r.Close(t.Context())
		}
	}
	r, err := OpenRedis(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(t.Context()); err != nil { // never started
		t.Error(err)
	}
	r.Start() // does nothing any more
}

// What is accepted is shown without secrets, and what is refused does not repeat its input.
func FuzzParseRedis(f *testing.F) {
	for _, s := range []string{
		"redis://u:secretpassword@h:1/0", "redis+sentinel://:secretpassword@a,b/m?sentinel-password=secretpassword", "rediss://h?ca=x", "h:1", "redis://:a%2Fb@[::1]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseRedis([]string{s})
		if err != nil {
			for range 3 {
				err2 := errors.Unwrap(err)
				if err2 == nil {
					break
				}
				err = err2
			}
			if len(s) >= 12 && strings.Contains(err.Error(), s) {
				t.Errorf("error repeats %q: %v", s, err)
			}
			return
		}
		rest := got.String()
		for _, addr := range got.addrs {
			rest = strings.Replace(rest, addr, "", 1)
		}
		rest = strings.Replace(rest, got.master, "", 1)
		for _, secret := range []string{got.password, got.sentinelPassword} {
			if len(secret) >= 12 && strings.Contains(rest, secret) {
				t.Errorf("%q shows a secret", got.String())
			}
		}
		if len(got.addrs) == 0 || got.kind == redisSentinel && got.master == "" {
			t.Errorf("%q: %v", s, got)
		}
	})
}
