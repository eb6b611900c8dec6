package readbuf

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// poller waits for all connections with an Alarm at once: with an epoll of its own, which the runtime's poller waits for.
// So there is one goroutine for all of them, and it lives as long as there are any. Safe for concurrent use.
type poller struct {
	mu sync.Mutex
	// guarded by mu
	file  *os.File // of the epoll; nil while nothing is waited for
	fd    int
	waits map[uint64]wait // by id
	last  uint64
}

type wait struct {
	alarm *Alarm
	ring  func()
}

var alarms = poller{waits: map[uint64]wait{}}

// takeAtOnce is how many events one system call brings.
const takeAtOnce = 128

func (p *poller) add(a *Alarm, raw syscall.RawConn, ring func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil && !p.startLocked() {
		return false
	}
	p.last++
	id := p.last
	p.waits[id] = wait{a, ring}
	a.id.Store(id) // before the connection is looked at: who closes it after that finds the alarm set
	failed := errors.New("connection is closed")
	if err := raw.Control(func(fd uintptr) { failed = p.watchLocked(int(fd), id) }); err != nil || failed != nil {
		p.takeLocked(id)
		return false
	}
	return true
}

// watchLocked has an event of a connection bear the id. Closing it takes it out of the epoll.
func (p *poller) watchLocked(fd int, id uint64) error {
	ev := syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT,
		Fd:     int32(uint32(id)), Pad: int32(uint32(id >> 32)), //nolint:gosec // both are 32 bits for our use
	}
	err := syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, fd, &ev)
	if errors.Is(err, syscall.EEXIST) { // from an earlier wait
		err = syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_MOD, fd, &ev)
	}
	return err
}

// startLocked makes the epoll and the goroutine that waits for it.
func (p *poller) startLocked() bool {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // then os.NewFile leaves waiting to the runtime
		_ = syscall.Close(fd)
		return false
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil || file.SetReadDeadline(time.Time{}) != nil { // the runtime cannot wait for it
		_ = file.Close()
		return false
	}
	p.file, p.fd = file, fd
	go p.run(raw)
	return true
}

// run rings what has something to read, until the epoll is closed.
func (p *poller) run(raw syscall.RawConn) {
	events := make([]syscall.EpollEvent, takeAtOnce)
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			var err error
			for {
				if n, err = syscall.EpollWait(int(fd), events, 0); !errors.Is(err, syscall.EINTR) {
					break
				}
			}
			return n > 0 || err != nil
		})
		if err != nil {
			return
		}
		for _, ev := range events[:max(n, 0)] {
			p.ring(uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32) //nolint:gosec // as watchLocked put it there
		}
	}
}

// ring rings an alarm unless it has rung.
func (p *poller) ring(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w, ok := p.waits[id]; ok {
		p.takeLocked(id)
		go w.ring()
	}
}

func (p *poller) ringIn(a *Alarm, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := a.id.Load()
	if id == 0 {
		return
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	a.timer = time.AfterFunc(d, func() { p.ring(id) })
}

// takeLocked forgets a wait. With the last one the poller ends.
func (p *poller) takeLocked(id uint64) {
	a := p.waits[id].alarm
	delete(p.waits, id)
	a.id.Store(0)
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	if len(p.waits) == 0 {
		_ = p.file.Close()
		p.file = nil
		p.waits = map[uint64]wait{} // the old one stays as large as it ever was
	}
}
