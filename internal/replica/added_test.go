package replica

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"stanzagate/sessionstore"
)

// ledger notes what a Client measures.
type ledger struct {
	mu    sync.Mutex
	added map[Outcome][]time.Duration // guarded by mu
}

func (l *ledger) Relayed(o Outcome, added time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.added[o] = append(l.added[o], added)
}

// lag stands between two replicas and makes each way longer.
func lag(t *testing.T, target string, by time.Duration) string {
	t.Helper()
	return between(t, target, func(to, from net.Conn) {
		defer to.Close()
		b := make([]byte, 64*1024)
		for {
			n, err := from.Read(b)
			time.Sleep(by)
			if _, werr := to.Write(b[:n]); err != nil || werr != nil {
				return
			}
		}
	})
}

// What handing on adds is the way there and back: not the time for which the owner holds a request, and all of the rest. The
// owner tells how long it was.
func TestAddedLatency(t *testing.T) {
	const hold, way = 400 * time.Millisecond, 50 * time.Millisecond
	answers := map[string]func(http.ResponseWriter){
		"body":   func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<body/>") },
		"status": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
		"long":   func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat("x", 200_000)) },
		"hinted": func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints); w.WriteHeader(http.StatusOK) },
	}
	id := identity(t, "k")
	o := startOwner(t, "127.0.0.1:0", id, func(w http.ResponseWriter, r *http.Request) bool {
		time.Sleep(hold)
		answers[r.URL.Query().Get("answer")](w)
		return true
	})
	far := o.Replica
	l := &ledger{added: map[Outcome][]time.Duration{}}
	c, err := NewClient(ClientConfig{Identity: id, Metrics: l})
	if err != nil {
		t.Fatal(err)
	}
	far.Address = lag(t, o.Address, way) // its connections end after c, which is closed first
	t.Cleanup(c.Close)
	relay := func(to sessionstore.Replica, answer string) time.Duration {
		t.Helper()
		w := httptest.NewRecorder()
		if got := c.Relay(Request{W: w, R: httptest.NewRequest(http.MethodPost, "/?answer="+answer, nil)}, to); got != Answered {
			t.Fatalf("outcome %s", got)
		}
		return l.added[Answered][len(l.added[Answered])-1]
	}
	for answer := range answers {
		relay(o.Replica, answer) // connects
		if added := relay(o.Replica, answer); added >= hold {
			t.Errorf("%s: %s is said to be added", answer, added)
		}
		relay(far, answer)
		if added := relay(far, answer); added < 2*way || added >= 2*way+hold {
			t.Errorf("%s from afar: %s is said to be added", answer, added)
		}
	}

	// Without an answer it is the time until that was known.
	far.Address = closedAddress(t)
	if got := c.Relay(Request{W: httptest.NewRecorder(), R: httptest.NewRequest(http.MethodPost, "/", nil)}, far); got != Dead || len(l.added[Dead]) != 1 {
		t.Errorf("outcome %s, noted %v", got, l.added)
	}
}

func closedAddress(t *testing.T) string {
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	return l.Addr().String()
}
