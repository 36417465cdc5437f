package limit

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// keysMost bounds the keys of a table: what is used least recently goes. A key takes some 200 bytes.
const keysMost = 1 << 16

// sweepLeast is between two sweeps at least, sweepBatch what one forgets at most: it holds up everybody.
const (
	sweepLeast = time.Second
	sweepBatch = 1 << 12
)

// table has the buckets of users, or of addresses. A key whose buckets are all full again is forgotten.
type table struct {
	limiter *Limiter
	buckets int // of a key
	most    int
	due     func() // called with mu when there are dues; nil: nobody is told of anything

	mu     sync.Mutex // innermost, held for no call
	keys   map[string]*entry
	recent entry // a ring by last use: next is the key used least recently
	sweep  *time.Timer
	closed bool
	dues   []*entry // of which there is something to tell
}

type entry struct {
	key        string
	buckets    []bucket
	due        bool // it is in dues
	prev, next *entry
}

func newTable(l *Limiter, buckets int) *table {
	t := &table{limiter: l, buckets: buckets, most: keysMost, keys: map[string]*entry{}}
	t.recent.prev, t.recent.next = &t.recent, &t.recent
	return t
}

// lock gives the buckets of a key and leaves mu locked.
func (t *table) lock(key string) []bucket {
	t.mu.Lock()
	e := t.keys[key]
	if e != nil {
		e.unlink()
	} else {
		e = t.addLocked(key)
	}
	e.next, e.prev = &t.recent, t.recent.prev
	e.prev.next, t.recent.prev = e, e
	return e.buckets
}

func (t *table) addLocked(key string) *entry {
	for len(t.keys) >= t.most {
		t.removeLocked(t.recent.next)
	}
	e := &entry{key: strings.Clone(key), buckets: make([]bucket, t.buckets)}
	t.keys[e.key] = e
	if t.sweep == nil && !t.closed {
		t.sweep = time.AfterFunc(sweepLeast, t.sweepOut)
	}
	return e
}

func (t *table) removeLocked(e *entry) {
	e.unlink()
	delete(t.keys, e.key)
}

func (e *entry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }

func (e *entry) full() int64 {
	at := int64(0)
	for i := range e.buckets {
		at = max(at, e.buckets[i].full())
	}
	return at
}

// peek is a copy of the buckets of a key; it does not count as a use.
func (t *table) peek(key string) []bucket {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.keys[key]; e != nil {
		return slices.Clone(e.buckets)
	}
	return nil
}

// sweepOut forgets the keys whose buckets are full, up to the first one, by last use, that owes something: those behind it wait for it, but no longer
// than a bucket takes to fill.
func (t *table) sweepOut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	now, wait := t.limiter.now(), sweepLeast
	for n := 0; len(t.keys) > 0; n++ {
		oldest := t.recent.next
		left := time.Duration(oldest.full() - now)
		if left > 0 {
			wait = max(wait, left)
			break
		}
		if n == sweepBatch {
			wait = 0
			break
		}
		t.removeLocked(oldest)
	}
	if len(t.keys) == 0 {
		t.sweep, t.keys = nil, map[string]*entry{} // a map does not shrink
		return
	}
	t.sweep = time.AfterFunc(wait, t.sweepOut)
}

func (t *table) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.sweep != nil {
		t.sweep.Stop()
	}
}

// AddressKey is what an address (without its port) counts by: one of IPv6 by its /64, of which a host may have any.
func AddressKey(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	p, _ := a.WithZone("").Prefix(64) // 64 is good for any IPv6 address
	return p.String()
}
