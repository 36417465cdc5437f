package simulation_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/clustertest"
)

// A bus is what makes a cluster of the servers, with its faults. A nil one does nothing.
type bus struct {
	*clustertest.Bus
	w       *world
	cut     map[*server]time.Time // until when
	out     time.Time             // until when it is away for all; zero: it is not
	faulted time.Time             // when anything was last the matter with it, with a server or with the store
}

const lease = 5 * time.Second

// A seat is the cluster as one Hub has it.
type seat struct {
	chat.Cluster
	tag string
}

func (s *seat) Join(n chat.Node, h chat.ClusterHandler) error {
	s.tag = n.Tag
	return s.Cluster.Join(n, h)
}

func drawCluster(rng *rand.Rand, k kinds, s settings) settings {
	s.raw, s.servers, s.streams = false, 2+rng.IntN(2), 1+rng.IntN(3)
	s.watch = rng.IntN(6) == 0 && k.foreign
	s.local, s.lossy = rng.IntN(4) == 0, rng.IntN(4) == 0 && k.lose
	return s
}

func newBus(w *world) *bus {
	b := &bus{Bus: clustertest.NewBus(w.set.streams), w: w, cut: map[*server]time.Time{}, faulted: time.Now()}
	b.Lease = lease
	if w.seed%4 == 0 { // what was published was removed before a node begins
		b.History = 0
	}
	return b
}

func (b *bus) seat() *seat { return &seat{Cluster: b.Node()} }

// Shared implements chat.SharedStore.
func (n *node) Shared() bool { return true }

func (w *world) actions() []action {
	if w.bus == nil {
		return actions
	}
	return slices.Concat(actions, busActions)
}

var busActions = []action{
	{18, func(w *world, rng *rand.Rand, _ *page, _ *view) { w.bus.cutOne(rng) }},
	{5, func(w *world, rng *rand.Rand, _ *page, _ *view) { w.bus.cutAll(rng) }},
	{12, func(w *world, _ *rand.Rand, _ *page, _ *view) { w.bus.healAll() }},
	{10, func(w *world, rng *rand.Rand, _ *page, _ *view) { w.bus.lose(rng) }},
	{10, func(w *world, rng *rand.Rand, _ *page, _ *view) { w.bus.failOne(rng) }},
	{3, func(w *world, rng *rand.Rand, _ *page, _ *view) { w.killOne(rng) }},
	{3, func(w *world, rng *rand.Rand, _ *page, _ *view) { w.endOne(rng) }},
	{20, func(w *world, rng *rand.Rand, p *page, v *view) { drop(w, rng, p, v) }},
}

// aServer is one that is up, or nil.
func (b *bus) aServer(rng *rand.Rand) *server {
	if s := pick(rng, b.w.servers); s != nil && !s.ending {
		return s
	}
	return nil
}

// aWhile is shorter than the lease, or longer.
func (b *bus) aWhile(rng *rand.Rand) time.Time {
	if rng.IntN(2) == 0 {
		return time.Now().Add(b.w.between(rng, 0, 4500))
	}
	return time.Now().Add(b.w.between(rng, 5500, 40_000))
}

func (b *bus) cutOne(rng *rand.Rand) {
	s := b.aServer(rng)
	if s == nil || !b.w.kinds.cut {
		return
	}
	if _, already := b.cut[s]; already {
		return
	}
	b.cut[s] = b.aWhile(rng)
	b.w.stats.cuts++
	b.w.note("server %d is cut off the cluster for %v", s.n, time.Until(b.cut[s]))
	b.Cut(s.seat.tag)
}

func (b *bus) cutAll(rng *rand.Rand) {
	if !b.w.kinds.cut || !b.out.IsZero() {
		return
	}
	b.out = b.aWhile(rng)
	b.w.stats.cuts++
	b.w.note("the cluster is away for %v", time.Until(b.out))
	b.CutAll()
}

func (b *bus) healAll() {
	if b == nil {
		return
	}
	if !b.out.IsZero() || len(b.cut) > 0 {
		b.w.note("the cluster is whole again")
	}
	b.out = time.Time{}
	clear(b.cut)
	b.HealAll()
}

// lose makes the cluster lose something, for all or for one: what comes next, or what those who are cut off have not had yet.
func (b *bus) lose(rng *rand.Rand) {
	s := b.aServer(rng)
	if s == nil || !b.w.set.lossy {
		return
	}
	stream, n := rng.IntN(b.w.set.streams), 1+rng.IntN(4)
	b.w.stats.lost++
	switch rng.IntN(3) {
	case 0:
		b.w.note("stream %d is trimmed", stream)
		b.Trim(stream)
	case 1:
		b.w.note("%d of stream %d will be lost for server %d", n, stream, s.n)
		b.Lose(stream, n, s.seat.tag)
	default:
		b.w.note("%d of stream %d will be lost", n, stream)
		b.Lose(stream, n)
	}
}

func (b *bus) failOne(rng *rand.Rand) {
	if s := b.aServer(rng); s != nil {
		n := 1 + rng.IntN(3)
		b.w.note("server %d will be told of %d publishes that they failed", s.n, n)
		b.Fail(s.seat.tag, n)
	}
}

// turn heals what is due.
func (b *bus) turn() {
	if b == nil {
		return
	}
	now := time.Now()
	if !b.well() {
		b.faulted = now
	}
	if !b.out.IsZero() {
		if now.After(b.out) {
			b.healAll()
		}
		return
	}
	for _, s := range b.w.past {
		if until, ok := b.cut[s]; ok && now.After(until) {
			delete(b.cut, s)
			b.w.note("server %d is in the cluster again", s.n)
			b.Heal(s.seat.tag)
		}
	}
}

func (b *bus) well() bool {
	for _, s := range b.w.servers {
		if s == nil || s.ending {
			return false
		}
	}
	b.w.db.mu.Lock()
	defer b.w.db.mu.Unlock()
	return b.out.IsZero() && len(b.cut) == 0 && b.w.db.weather == calm
}

// wellSince tells whether nothing was the matter since some time before.
func (b *bus) wellSince(t time.Time) bool {
	return !b.w.set.lossy && b.well() && t.Sub(b.faulted) > 10*time.Second // a node that has lost something waits for it in vain
}

// kill takes a server out of the cluster without a word.
func (b *bus) kill(s *server) {
	if b == nil {
		return
	}
	s.mute, b.faulted = true, time.Now()
	delete(b.cut, s)
	b.Kill(s.seat.tag)
}

// end notes what a server that is shut down may not be able to publish.
func (b *bus) end(s *server) {
	if b == nil {
		return
	}
	b.faulted = time.Now()
	s.mute = true
}

type presence struct {
	Room   string `json:"room"`
	UserID string `json:"user_id"`
}

// checkTally wants that a page has heard all that was emitted, as far as somebody could tell it.
func (w *world) checkTally(p *page, what string, t tally, made map[int]uint64) {
	if w.bus == nil {
		if n := p.server.n; !t.of(n).complete(made[n]) {
			w.fail(recoveredAll, "%s: %s: %v of %v", p.name, what, t, made)
		}
		return
	}
	for n := range made {
		if s := w.past[n-1]; !s.mute && !w.set.lossy && !t.of(n).complete(made[n]) {
			w.fail(recoveredAll, "%s on server %d: %s of server %d: %v of %v", p.name, p.server.n, what, n, t, made)
		}
	}
}

// check looks at who is where, and at the counts.
func (b *bus) check() {
	if b == nil {
		return
	}
	w := b.w
	for _, room := range w.rooms {
		want := map[string]bool{}
		for _, p := range w.pages {
			if p.views[room].state == in {
				want[p.user] = true
			}
		}
		for _, p := range w.pages {
			if p.views[room].state == in {
				w.checkPresent(p, room, want)
			}
		}
	}
	for _, s := range w.servers {
		st := s.hub.Stats()
		if st.Nodes != len(w.servers) || st.ClusterAway != 0 || st.ClusterQueue != 0 || st.ClusterDropped != 0 || st.ClusterUnread != 0 || st.ClusterLost != 0 && !w.set.lossy {
			w.fail(goesOn, "server %d: %+v", s.n, st)
		}
	}
}

// checkPresent compares what a page was told with the truth; of itself it need not be told.
func (w *world) checkPresent(p *page, room string, want map[string]bool) {
	got := maps.Clone(p.views[room].present)
	maps.DeleteFunc(got, func(_ string, there bool) bool { return !there })
	got[p.user] = true
	if !maps.Equal(got, want) {
		w.fail(presentAll, "%s on server %d was told of %v in %s, where %v are", p.name, p.server.n, names(got), room, names(want))
	}
}

func names(of map[string]bool) string {
	return fmt.Sprint(slices.Sorted(maps.Keys(of)))
}

// checkEmpty wants that nobody is left in the cluster.
func (b *bus) checkEmpty() {
	if b == nil {
		return
	}
	if tags := b.Tags(); len(tags) > 0 {
		b.w.fail(cleanEnd, "%v are still in the cluster", tags)
	}
}
