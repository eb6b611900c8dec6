package replica

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stanzagate/sessionstore"
)

// BenchmarkRelay compares requests that reach their owner with requests that reach another replica: what a browser sees.
// The owner answers at once.
func BenchmarkRelay(b *testing.B) {
	id := identity(b, "k")
	answer := []byte(strings.Repeat("a", 400))
	serve := func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header()["Content-Type"] = []string{"text/xml; charset=utf-8"}
		w.Header()["Content-Length"] = []string{"400"}
		_, _ = w.Write(answer)
		return true
	}
	o := startOwner(b, "127.0.0.1:0", id, serve)
	relayed := startFront(b, newClient(b, id), func() sessionstore.Replica { return o.Replica })
	go func() {
		for range relayed.outcomes { // nobody looks at them here
		}
	}()
	b.Cleanup(func() { close(relayed.outcomes) })
	direct := startFront(b, nil, nil)
	direct.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(w, r) })
	body := strings.Repeat("b", 400)
	for _, callers := range []int{1, 32} {
		for _, f := range []struct {
			name string
			*front
		}{{"direct", direct}, {"relayed", relayed}} {
			b.Run(f.name+"/callers="+[]string{1: "1", 32: "32"}[callers], func(b *testing.B) {
				f.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = callers
				f.post(b, body)
				b.ReportAllocs()
				b.ResetTimer()
				var mu sync.Mutex
				var took []time.Duration
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						var mine []time.Duration
						for range b.N / callers {
							begun := time.Now()
							if status, got := f.post(b, body); status != http.StatusOK || len(got) != len(answer) {
								b.Errorf("status %d, %d bytes", status, len(got))
								return
							}
							mine = append(mine, time.Since(begun))
						}
						mu.Lock()
						took = append(took, mine...)
						mu.Unlock()
					})
				}
				all.Wait()
				if len(took) == 0 {
					return
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			})
		}
	}
}
