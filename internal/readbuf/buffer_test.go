package readbuf

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a TCP connection over loopback.
func pair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

// hidden is a connection of a type that cannot be waited for without a buffer.
type hidden struct{ net.Conn }

// Whatever the sizes of writes and of what is consumed, the bytes come out as they went in.
func TestBytesAreKept(t *testing.T) {
	for name, wrap := range map[string]func(*net.TCPConn) io.Reader{
		"TCP":      func(c *net.TCPConn) io.Reader { return c },
		"other":    func(c *net.TCPConn) io.Reader { return hidden{c} },
		"one byte": func(c *net.TCPConn) io.Reader { return iotest.OneByteReader(hidden{c}) },
	} {
		t.Run(name, func(t *testing.T) {
			near, far := pair(t)
			random := rand.New(rand.NewPCG(1, 2))
			sent := make([]byte, 300_000)
			for i := range sent {
				sent[i] = byte(random.Uint32())
			}
			early := sent[:777]
			go func() {
				random := rand.New(rand.NewPCG(3, 4))
				for rest := sent[len(early):]; len(rest) > 0; {
					n := min(len(rest), 1+random.IntN(1<<random.IntN(17)))
					if _, err := far.Write(rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
				_ = far.CloseWrite()
			}()
			var b Buffer
			b.Init(wrap(near), early)
			var got []byte
			for {
				want := 1 + random.IntN(1<<random.IntN(17)) // sometimes more than a block at once
				for b.Len() < want {
					if err := b.Fill(); err != nil {
						if !errors.Is(err, io.EOF) {
							t.Fatal(err)
						}
						got = append(got, b.Bytes()...)
						if !bytes.Equal(got, sent) {
							t.Fatalf("%d bytes came out, %d went in", len(got), len(sent))
						}
						return
					}
				}
				got = append(got, b.Bytes()[:want]...)
				b.Consume(want)
				p := make([]byte, random.IntN(3))
				if n, err := b.Read(p); err == nil {
					got = append(got, p[:n]...)
				}
			}
		})
	}
}

// A silent TCP connection has no buffer at all; another one a small one. Both before anything came and after.
func TestSilentConnectionsHoldNothing(t *testing.T) {
	for name, c := range map[string]struct {
		wrap func(*net.TCPConn) io.Reader
		held int
	}{
		"TCP":   {func(c *net.TCPConn) io.Reader { return c }, 0},
		"other": {func(c *net.TCPConn) io.Reader { return hidden{c} }, smallBytes},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := pair(t)
			var b Buffer
			b.Init(c.wrap(near), nil)
			for _, n := range []int{0, 10, 5000, 100_000} {
				if _, err := far.Write(make([]byte, n)); err != nil {
					t.Fatal(err)
				}
				for got := 0; got < n; got = b.Len() {
					if err := b.Fill(); err != nil {
						t.Fatal(err)
					}
				}
				b.Consume(b.Len())
				for range 2 { // the first read may still hope for more
					_ = near.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
					if err := b.Fill(); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatalf("Fill: %v", err)
					}
				}
				_ = near.SetReadDeadline(time.Time{})
				if len(b.buf) != c.held || b.block != nil {
					t.Errorf("after %d bytes it holds %d", n, len(b.buf))
				}
			}
		})
	}
}

// What Park reads is the beginning of what Fill reads.
func TestPark(t *testing.T) {
	near, far := pair(t)
	var b Buffer
	b.Init(near, nil)
	for _, n := range []int{1, 15, 16, 17, 1000, 20_000} {
		if !b.Parks() {
			t.Fatal("cannot park")
		}
		parked := make(chan error, 1)
		go func() { parked <- b.Park() }()
		sent := bytes.Repeat([]byte("0123456789"), n)[:n]
		if _, err := far.Write(sent); err != nil {
			t.Fatal(err)
		}
		if err := <-parked; err != nil || b.Len() == 0 || b.Len() > 16 || b.block != nil {
			t.Fatalf("%v, %d bytes", err, b.Len())
		}
		for b.Len() < n {
			if err := b.Fill(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(b.Bytes(), sent) {
			t.Fatalf("%q", b.Bytes())
		}
		b.Consume(n)
	}
	_ = near.SetReadDeadline(time.Now())
	if err := b.Park(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("late: %v", err)
	}
	_ = near.SetReadDeadline(time.Time{})
	_ = far.Close()
	if err := b.Park(); !errors.Is(err, io.EOF) {
		t.Errorf("closed: %v", err)
	}
	b.Init(hidden{near}, nil)
	if b.Parks() {
		t.Error("a connection of an unknown type can park")
	}
}

func TestRest(t *testing.T) {
	near, far := pair(t)
	var b Buffer
	b.Init(near, nil)
	if _, err := far.Write([]byte("some")); err != nil {
		t.Fatal(err)
	}
	if err := b.Fill(); err != nil {
		t.Fatal(err)
	}
	b.Rest()
	if string(b.Bytes()) != "some" {
		t.Errorf("%q is left", b.Bytes())
	}
	b.Consume(4)
	b.Rest()
	if b.buf != nil || b.block != nil {
		t.Error("an empty Buffer kept its block")
	}
}

func TestDrop(t *testing.T) {
	near, far := pair(t)
	var b Buffer
	b.Init(near, []byte("early"))
	b.Drop()
	if _, err := far.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	if err := b.Fill(); err != nil || string(b.Bytes()) != "late" {
		t.Errorf("%q, %v", b.Bytes(), err)
	}
}

func TestErrors(t *testing.T) {
	near, far := pair(t)
	var b Buffer
	b.Init(near, nil)
	_ = far.SetLinger(0)
	_ = far.Close()
	if err := b.Fill(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("reset: %v", err)
	}
	near, _ = pair(t)
	b.Init(near, nil)
	_ = near.Close()
	if err := b.Fill(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	b.Init(iotest.ErrReader(io.ErrUnexpectedEOF), nil)
	if err := b.Fill(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("failing: %v", err)
	}
	b.Init(nothing{}, nil)
	if err := b.Fill(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("nothing: %v", err)
	}
}

// nothing is a source that breaks the rules of io.Reader politely.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

func TestNoAllocations(t *testing.T) {
	near, far := pair(t)
	var b Buffer
	b.Init(near, nil)
	p := make([]byte, 3000)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = far.Write(p)
		for b.Len() < len(p) {
			_ = b.Fill()
		}
		b.Consume(b.Len())
	}); n > 0.5 {
		t.Errorf("%v allocations per read", n)
	}
}
