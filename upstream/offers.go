package upstream

import (
	"sync"
	"time"
)

// offers remembers what servers offer to those who name themselves, so that not each login has to find out. It is kept per
// domain (AMB-7: never the list of mechanisms itself, which may depend on the account).
type offers struct {
	mu      sync.Mutex
	domains map[string]offered
}

type offered struct {
	fast []string // HT mechanisms; empty: no token to be had
	at   time.Time
}

const (
	offersLife = 10 * time.Minute
	offersMax  = 1024 // domains; beyond it some are forgotten
)

// fast returns the HT mechanisms that the domain's server listed on a stream with `from`.
func (o *offers) fast(domain string) (mechanisms []string, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	x, known := o.domains[domain]
	if known && time.Since(x.at) > offersLife {
		delete(o.domains, domain)
		return nil, false
	}
	return x.fast, known
}

func (o *offers) remember(domain string, fast []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.domains == nil {
		o.domains = map[string]offered{}
	}
	if _, known := o.domains[domain]; !known && len(o.domains) >= offersMax {
		for other := range o.domains {
			delete(o.domains, other)
			break
		}
	}
	o.domains[domain] = offered{fast: fast, at: time.Now()}
}
