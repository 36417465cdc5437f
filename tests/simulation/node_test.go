package simulation_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/parleychat/chat"
)

// A weather is what the store is up to; the driver changes it.
type weather int

const (
	calm weather = iota
	slow
	flaky
	hanging
	outage
	weathers
)

func (w weather) String() string {
	return [...]string{"calm", "slow", "flaky", "hanging", "outage"}[w]
}

// A database is what all nodes share.
type database struct {
	base  chat.Store
	seed  uint64
	kinds kinds
	work  sync.WaitGroup // saves that nobody waits for

	mu      sync.Mutex // guards what follows
	weather weather
	calls   uint64
	nodes   map[*node]func(namespace, room string) // those who watch
	by      map[string]*node                       // who has saved an entry, by id
	note    func(format string, args ...any)
}

func (db *database) setWeather(w weather) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.weather = w
}

// commit saves, and tells those who watch, also who knows it already. by is nil for another program.
func (db *database) commit(by *node, entries []chat.Entry) ([]chat.Appended, error) {
	saved, err := db.base.Append(context.Background(), entries)
	db.mu.Lock()
	var told []func(namespace, room string)
	for _, grown := range db.nodes {
		told = append(told, grown)
	}
	for _, e := range entries {
		db.by[e.ID] = by
	}
	db.mu.Unlock()
	for _, grown := range told {
		for _, e := range entries {
			grown(e.Namespace, e.Room)
		}
	}
	return saved, err
}

// A plan is what becomes of one call.
type plan struct {
	before, after time.Duration // of waiting, around the save
	deaf          bool          // it does not look at its ctx
	fail          bool          // nothing is saved
	unknown       bool          // it is saved, and fails
	detached      bool          // it fails when ctx ends or before is over, and is saved some time after
}

// next draws the plan of the next call. It depends on the seed, the weather, and the number of the call.
func (db *database) next(write bool) (plan, *rand.Rand) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.calls++
	rng := rand.New(rand.NewPCG(db.seed, 1<<40|db.calls))
	p := db.draw(rng, write)
	if db.weather != calm {
		db.note("store: call %d: %+v", db.calls, p)
	}
	return p, rng
}

func (db *database) draw(rng *rand.Rand, write bool) plan {
	ms := func(from, to int) time.Duration { return time.Duration(from+rng.IntN(to-from)) * time.Millisecond }
	switch db.weather {
	case slow:
		return plan{before: ms(0, 3000), after: ms(0, 1500)}
	case flaky:
		switch n := rng.IntN(6); {
		case n == 0:
			return plan{fail: true}
		case n == 1:
			return plan{fail: true, before: ms(0, 4000)}
		case n == 2 && write && db.kinds.unknown:
			return plan{unknown: true, before: ms(0, 50), after: ms(0, 500)}
		case n == 3 && write && db.kinds.unknown:
			return plan{detached: true, before: ms(0, 500), after: ms(0, 3000)}
		}
	case hanging:
		switch n := rng.IntN(4); {
		case !write:
			return plan{before: ms(0, 8000)}
		case n == 0:
			return plan{deaf: true, before: ms(4000, 9000), after: ms(0, 500)}
		case n == 1:
			return plan{deaf: true, before: ms(4000, 9000), fail: true}
		case n == 2 && db.kinds.unknown:
			return plan{detached: true, before: ms(6000, 7000), after: ms(0, 6000)}
		case n == 2:
			return plan{deaf: true, before: ms(0, 100), after: ms(4000, 9000)}
		case db.kinds.unknown:
			return plan{deaf: true, before: ms(0, 9000), after: ms(0, 9000), unknown: true}
		}
	case outage:
		return plan{fail: true, before: ms(0, 100)}
	}
	return plan{before: ms(0, 8), after: ms(0, 4)}
}

// A node is the store as one Hub has it: with faults, and with an end.
type node struct {
	db   *database
	dead chan struct{}
}

// watchNode is one that tells what others have saved.
type watchNode struct{ *node }

var (
	errFault = errors.New("simulated fault")
	errDead  = errors.New("the process is gone")
)

func (db *database) newNode() *node { return &node{db: db, dead: make(chan struct{})} }

func (n *node) die() { close(n.dead) }

// pause waits; false: ctx ended first, where that counts, or the node's process did.
func (n *node) pause(ctx context.Context, d time.Duration, deaf bool) error {
	done := ctx.Done()
	if deaf {
		done = nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-n.dead:
		return errDead
	default:
	}
	if d == 0 {
		return nil
	}
	select {
	case <-t.C:
		return nil
	case <-done:
		return ctx.Err()
	case <-n.dead:
		return errDead
	}
}

func (n *node) Append(ctx context.Context, entries []chat.Entry) ([]chat.Appended, error) {
	if err := ctx.Err(); err != nil || !n.alive() {
		return nil, errors.Join(err, errDead)
	}
	p, rng := n.db.next(true)
	err := n.pause(ctx, p.before, p.deaf)
	if p.detached && err != errDead {
		n.later(entries, p.after)
		return nil, errFault
	}
	if err == errDead && n.db.kinds.unknown && rng.IntN(2) == 0 { // what was on its way when the process died may still be saved
		n.later(entries, time.Duration(rng.IntN(2000))*time.Millisecond)
	}
	switch {
	case err != nil:
		return nil, err
	case p.fail:
		return nil, errFault
	}
	saved, err := n.db.commit(n, entries)
	if late := n.pause(ctx, p.after, true); late != nil {
		return nil, late
	}
	if p.unknown {
		return nil, errFault
	}
	return saved, err
}

func (n *node) alive() bool {
	select {
	case <-n.dead:
		return false
	default:
		return true
	}
}

func (n *node) later(entries []chat.Entry, d time.Duration) {
	n.db.work.Go(func() {
		time.Sleep(d)
		n.db.note("store: saved at last: %s", texts(entries))
		_, _ = n.db.commit(n, entries)
	})
}

func (n *node) read(ctx context.Context) error {
	p, _ := n.db.next(false)
	if err := n.pause(ctx, p.before+p.after, false); err != nil {
		return err
	}
	if p.fail {
		return errFault
	}
	return nil
}

func (n *node) Page(ctx context.Context, q chat.PageQuery) ([]chat.Entry, bool, error) {
	if err := n.read(ctx); err != nil {
		return nil, false, err
	}
	return n.db.base.Page(ctx, q)
}

func (n *node) Bounds(ctx context.Context, namespace, room string) (uint64, uint64, error) {
	if err := n.read(ctx); err != nil {
		return 0, 0, err
	}
	return n.db.base.Bounds(ctx, namespace, room)
}

// Watch implements chat.Watcher. Now and then it breaks off.
func (n watchNode) Watch(ctx context.Context, grown func(namespace, room string)) error {
	n.db.mu.Lock()
	n.db.calls++
	rng := rand.New(rand.NewPCG(n.db.seed, 2<<40|n.db.calls))
	n.db.nodes[n.node] = grown
	n.db.mu.Unlock()
	defer func() {
		n.db.mu.Lock()
		defer n.db.mu.Unlock()
		delete(n.db.nodes, n.node)
	}()
	grown("", "")
	return n.pause(ctx, time.Duration(1+rng.IntN(120))*time.Second, false)
}

func texts(entries []chat.Entry) (out []string) {
	for _, e := range entries {
		out = append(out, e.Room+"/"+e.Text)
	}
	return out
}
