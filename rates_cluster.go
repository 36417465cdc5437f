package chat

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/parleychat/chat/internal/limit"
)

// What users and addresses have done counts in the whole cluster: each node tells the others, a moment later, what it has taken from their buckets. How many clients they
// have is in the cluster's marks, and read when one connects.

const (
	ratesTick   = 150 * time.Millisecond // between two tellings
	ratesKeys   = 500                    // of one signal
	ratesSignal = 4                      // signals of a namespace at a tick
	countWithin = 500 * time.Millisecond // for the cluster to say how many clients there are; after that they are taken to be none
	countAgain  = 250 * time.Millisecond // after a count that refuses: who moves from one node to another may still be counted there
)

// sharedRates tells the other nodes of a namespace's rates.
type sharedRates struct {
	space *space
	print uint64 // of the rates: with others, in the midst of a rollout, nothing is shared
	armed atomic.Bool
}

// shareRates begins to tell and to learn.
func (sp *space) shareRates() {
	if sp.rates == nil || sp.hub.nodes == nil {
		return
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%+v", sp.rates.set) // never fails
	sp.rates.shared = &sharedRates{space: sp, print: h.Sum64()}
	sp.rates.limiter.Share(sp.rates.shared.arm)
}

// arm is called under a lock of the limiter's.
func (s *sharedRates) arm() {
	n := s.space.hub.nodes
	if s.armed.CompareAndSwap(false, true) && n.tasks.enter() {
		time.AfterFunc(ratesTick, s.tell)
	}
}

func (s *sharedRates) tell() {
	n := s.space.hub.nodes
	defer n.tasks.leave()
	s.armed.Store(false) // what is due from now on arms it again
	alone := n.alone()
	for range ratesSignal {
		news := s.space.rates.limiter.News(ratesKeys)
		if len(news) > 0 && !alone {
			n.signal(signalRates, s.encode(news))
		}
		if len(news) < ratesKeys {
			return
		}
	}
	s.arm()
}

func (s *sharedRates) encode(news []limit.News) []byte {
	b := appendStrings(nil, s.space.name)
	b = binary.BigEndian.AppendUint64(b, s.print)
	b = binary.AppendUvarint(b, uint64(len(news)))
	for _, of := range news {
		b = appendStrings(append(b, byte(of.Scope)), of.Key)
		b = binary.AppendUvarint(b, uint64(len(of.Rates)))
		for _, r := range of.Rates {
			b = binary.AppendUvarint(b, uint64(r.Taken))
			b = binary.AppendUvarint(b, uint64(r.Cool.Milliseconds()))
		}
	}
	return b
}

// ratesTold is told of another node's rates.
func (n *nodes) ratesTold(tag string, r reader) {
	sp := n.hub.spaces[r.string()]
	if tag == n.tag || sp == nil || sp.rates == nil || len(r.rest) < 8 || binary.BigEndian.Uint64(r.rest) != sp.rates.shared.print {
		return
	}
	r.rest = r.rest[8:]
	for i := r.count(); i > 0; i-- {
		of := limit.News{Scope: limit.Scope(r.byte()), Key: r.string()}
		for k := r.count(); k > 0; k-- {
			of.Rates = append(of.Rates, limit.RateNews{Taken: int64(r.uint()), Cool: time.Duration(min(r.uint(), uint64(refillMost/time.Millisecond))) * time.Millisecond})
		}
		if r.err != nil {
			return
		}
		sp.rates.limiter.Learn(of)
	}
}

// A tally is how many clients of a user, or of an address, a node has.
type tally struct {
	per Scope
	of  string // empty: it is not limited
}

// mostClients is the limit; negative: there is none.
func (sp *space) mostClients(per Scope) int {
	if per == PerUser {
		return sp.hub.set.limits.ClientsPerUser
	}
	return sp.hub.set.limits.ClientsPerAddress
}

// hiddenPart is the part of the limit that a node may have of somebody without saying so: most have one client or two, and the cluster need not know of each.
const hiddenPart = 20

func (sp *space) tallyKey(t tally) string {
	return "n\x00" + sp.name + "\x00" + string(t.per) + "\x00" + t.of
}

// countLocked is how many clients there are here, those on the way in included.
func (sp *space) countLocked(t tally) int {
	if t.per == PerAddress {
		return sp.perAddr[t.of]
	}
	n := sp.arriving[t.of]
	for c := sp.ofUserLocked(t.of); c != nil; c = c.nextOfUser {
		n++
	}
	return n
}

// talliedLocked lets the other nodes know of a number that has changed.
func (sp *space) talliedLocked(per Scope, of string) {
	most := sp.mostClients(per)
	if of == "" || most <= 0 || sp.hub.nodes == nil {
		return
	}
	t := tally{per, of}
	n, hidden := sp.countLocked(t), most/hiddenPart
	if n < hidden {
		return
	}
	sp.hub.nodes.relay.mark(Mark{Key: sp.tallyKey(t), Field: "n", Value: strconv.Itoa(n), Off: n <= hidden})
}

// tallyAgainLocked tells all numbers: the node has a new lease, or the cluster may have forgotten.
func (sp *space) tallyAgainLocked() {
	for user := range sp.users {
		sp.talliedLocked(PerUser, user)
	}
	for address := range sp.perAddr {
		sp.talliedLocked(PerAddress, address)
	}
}

// elsewhere is how many clients the other nodes have, as far as that decides whether one more may come here. What the cluster does not say is 0: the limit of each node holds.
func (sp *space) elsewhere(ctx context.Context, t tally) int {
	nodes, most := sp.hub.nodes, sp.mostClients(t.per)
	if nodes == nil || most <= 0 || t.of == "" || nodes.alone() {
		return 0
	}
	if _, away := nodes.isAway(); away {
		return 0
	}
	sp.mu.Lock()
	here := sp.countLocked(t)
	sp.mu.Unlock()
	if here < most/hiddenPart || here >= most {
		return 0
	}
	there := sp.markedElsewhere(ctx, t)
	if here+there >= most && sleep(ctx, countAgain) {
		there = sp.markedElsewhere(ctx, t)
	}
	return there
}

func (sp *space) markedElsewhere(ctx context.Context, t tally) (there int) {
	nodes := sp.hub.nodes
	ctx, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	marks, _ := nodes.marks(ctx, sp.tallyKey(t)) // none where it fails
	for _, m := range marks {
		n, _ := strconv.Atoi(m.Value) // 0 where it is of another version
		there += max(n, 0)
	}
	return there
}

// countElsewhere finds out what a ticket's user and address have on other nodes. A session that comes back takes the place of one that is counted.
func (sp *space) countElsewhere(ctx context.Context, t *ticket) {
	if t.lost == nil && t.revival == nil {
		t.there.user = sp.elsewhere(ctx, tally{PerUser, t.user.ID})
		t.there.address = sp.elsewhere(ctx, tally{PerAddress, addressKey(t.remote)})
	}
}
