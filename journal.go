package chat

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

const (
	batchEntries = 512     // of one transaction
	batchBytes   = 4 << 20 // of their texts, about
	batchesMost  = 4       // under way
	batchAside   = 64      // entries that are worth a batch beside another, where the store is a server
	batchHangs   = 100 * time.Millisecond
	logsKept     = 10 * time.Second // at least, once nobody is in the room
)

// journal is the one way into the store. What comes while a batch is being saved shares the next one, whatever rooms it is for: a commit
// costs about the same for one entry as for a hundred. A batch that hangs does not hold up the other rooms: another is begun beside it. One of a store that is shared by
// processes, and so a server, is waited for only while little else has come: the server is at work on one while the other is made, sent, written to the disk.
type journal struct {
	hub   *core
	aside bool            // the store is such a one
	life  context.Context // of what it asks the store; ends in Shutdown, when no handler is left
	end   context.CancelFunc
	fails seldom
	tasks tracker // its goroutines; shut after the Hub's handlers, which wait for them

	mu      sync.Mutex // guards what follows and the queues of all logs; taken under a namespace's mu, never the other way round
	logs    map[roomKey]*roomLog
	most    int        // that logs has had since it was made
	ready   []*roomLog // have a queue, and nothing in the way
	saving  []*saving  // batches that are under way
	reads   []*roomLog // wait for a reader
	readers int
	sweep   *time.Timer // runs while there are logs
}

func (j *journal) init(h *core) {
	j.hub, j.logs = h, map[roomKey]*roomLog{}
	shared, ok := h.set.store.(SharedStore)
	j.aside = ok && shared.Shared()
	j.life, j.end = context.WithCancel(h.life)
}

// close ends what is under way, when nobody waits for it any more; the channel is closed when all has ended.
func (j *journal) close() <-chan struct{} {
	j.end()
	done := j.tasks.shutDown()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.sweep != nil {
		j.sweep.Stop()
	}
	for _, l := range j.logs {
		l.stopWaiting()
	}
	return done
}

// logLocked is a room's log. interest tells whether anybody could miss an entry of it: then its end is looked up before anything is saved.
func (j *journal) logLocked(sp *space, room string, interest bool) *roomLog {
	key := roomKey{sp.name, room}
	l := j.logs[key]
	if l == nil {
		l = &roomLog{space: sp, name: room, used: time.Now()}
		if j.hub.inMemory { // nothing of it is on its way: what the store says now is right
			_, l.end, _ = j.hub.set.store.Bounds(j.life, sp.name, room)
			l.known.Store(true)
		}
		j.logs[key] = l
		if j.sweep == nil && j.life.Err() == nil {
			j.sweep = time.AfterFunc(j.keep(), j.sweepOut)
		}
	}
	l.watched = l.watched || interest
	return l
}

// open is the log of a room that somebody is in.
func (j *journal) open(sp *space, room string) *roomLog {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.logLocked(sp, room, true)
	j.scheduleLocked(l)
	return l
}

// whenKnown is nil where the end of a room's log is known, or else gets the error of finding out.
func (j *journal) whenKnown(sp *space, room string) <-chan error {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.logLocked(sp, room, true)
	if l.known.Load() {
		return nil
	}
	known := make(chan error, 1)
	l.waiters = append(l.waiters, known)
	j.scheduleLocked(l)
	return known
}

// whenRead has a room's log read on, and gets how that went.
func (j *journal) whenRead(sp *space, room string) <-chan error {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.logLocked(sp, room, true)
	read := make(chan error, 1)
	l.waiters = append(l.waiters, read)
	l.behind = l.known.Load()
	j.scheduleLocked(l)
	return read
}

// add queues an entry. Where the store cannot block, the entry is saved and delivered when add returns, if no other goroutine is at it.
func (j *journal) add(sp *space, a *appending) {
	interest := !j.hub.inMemory && sp.watched(a.entry.Room)
	j.mu.Lock()
	l := j.logLocked(sp, a.entry.Room, interest)
	if !j.hub.inMemory || l.busy || l.listed || len(l.queue) > 0 || l.readsFirstLocked() {
		for len(l.queue) > 0 && l.queue[0].settled.Load() { // senders that have given up, of a log whose turn is long: that of a batch that waits for the cluster
			l.queue[0] = nil
			l.queue = l.queue[1:]
		}
		l.queue = append(l.queue, a)
		j.scheduleLocked(l)
		j.mu.Unlock()
		return
	}
	l.busy, l.turn = true, false
	j.mu.Unlock()
	j.addAtOnce(l, a)
}

// alone is a batch of one entry; with the default store nearly all are.
type alone struct {
	parts [1]part
	from  [1]*appending
	saved [1]appended
	entry Appended
}

var alones = sync.Pool{New: func() any { return new(alone) }}

func (j *journal) addAtOnce(l *roomLog, a *appending) {
	b := alones.Get().(*alone)
	b.from[0], b.saved[0] = a, appended{from: a, Appended: &b.entry}
	b.parts[0] = part{log: l, from: b.from[:], saved: b.saved[:]}
	if !j.deliver(b.parts[:], j.appendOne(a, &b.entry)) {
		return // what a hole holds back is in b
	}
	*b = alone{}
	alones.Put(b)
}

// scheduleLocked puts a log where its next work is done.
func (j *journal) scheduleLocked(l *roomLog) {
	if len(l.waiters) > 0 && l.known.Load() { // it may have become known by an entry, while they waited for that
		l.behind = true
	}
	switch {
	case l.busy || l.listed || j.life.Err() != nil:
	case l.readsFirstLocked():
		if l.waits == nil || len(l.queue) > 0 || len(l.waiters) > 0 {
			l.listed = true
			j.reads = append(j.reads, l)
			j.startReadersLocked()
		}
	case len(l.queue) > 0:
		l.listed = true
		j.ready = append(j.ready, l)
		j.startBatchesLocked()
	}
}

// readsFirstLocked: what was saved before is delivered before, but a log that grows all the time must not keep its queue waiting.
func (l *roomLog) readsFirstLocked() bool {
	if !l.known.Load() {
		return l.watched
	}
	return l.behind && !(l.turn && len(l.queue) > 0)
}

// part is what a batch takes of one room.
type part struct {
	log   *roomLog
	from  []*appending
	saved []appended
}

// saving is a batch that is under way.
type saving struct {
	since time.Time
	hangs bool
	watch *time.Timer // until it hangs; nil: nothing waits for it
}

// startBatchesLocked begins a batch, unless one is under way that may yet end soon.
func (j *journal) startBatchesLocked() {
	if len(j.ready) == 0 {
		return
	}
	soon := 0
	for _, s := range j.saving {
		if !s.hangs {
			soon++
		}
	}
	if soon > 1 || soon == 1 && !j.manyLocked() {
		j.watchBatchesLocked()
		return
	}
	if len(j.saving) < batchesMost && j.tasks.enter() {
		s := &saving{since: time.Now()}
		j.saving = append(j.saving, s)
		go j.batch(s)
	}
}

// watchBatchesLocked finds out when one hangs that something waits for. Most batches are over before anything does: a timer for each would wake the process.
func (j *journal) watchBatchesLocked() {
	for _, s := range j.saving {
		if s.watch == nil {
			s.watch = time.AfterFunc(batchHangs-time.Since(s.since), func() {
				j.mu.Lock()
				defer j.mu.Unlock()
				if slices.Contains(j.saving, s) {
					s.hangs = true
					j.startBatchesLocked()
				}
			})
		}
	}
}

func (j *journal) savedLocked(s *saving) {
	if s.watch != nil {
		s.watch.Stop()
	}
	at := slices.Index(j.saving, s)
	j.saving = slices.Delete(j.saving, at, at+1)
}

// manyLocked tells whether as much is ready as is worth a batch beside the one that is under way.
func (j *journal) manyLocked() bool {
	if !j.aside {
		return false
	}
	entries := 0
	for _, l := range j.ready {
		if entries += len(l.queue); entries >= batchAside {
			return true
		}
	}
	return false
}

func (j *journal) batch(s *saving) {
	defer j.tasks.leave()
	growStack(1)
	j.mu.Lock()
	parts := j.takeLocked()
	j.startBatchesLocked()
	j.mu.Unlock()
	ctx, cancel := context.WithTimeout(j.life, j.hub.set.timeouts.Store)
	err := j.save(ctx, parts)
	cancel()
	j.mu.Lock()
	j.savedLocked(s)
	j.startBatchesLocked() // the next is being saved while this one is delivered
	j.mu.Unlock()
	if err == nil && j.hub.nodes != nil {
		j.publish(parts)
	}
	j.deliver(parts, err)
	j.hub.engine.Help()
}

// batchSize is what a batch holds.
type batchSize struct{ entries, bytes int }

func (s *batchSize) full() bool { return s.entries >= batchEntries || s.bytes >= batchBytes }

// takeLocked makes a batch of what is ready.
func (j *journal) takeLocked() (parts []part) {
	var size batchSize
	for len(j.ready) > 0 && !size.full() {
		l := j.ready[0]
		j.ready[0] = nil
		j.ready = j.ready[1:]
		l.listed = false
		if l.busy { // with what has arrived; scheduled again after that
			continue
		}
		if l.readsFirstLocked() { // since it was listed
			j.scheduleLocked(l)
		} else if p := l.takeLocked(&size); len(p.from) > 0 {
			parts = append(parts, p)
		}
	}
	return parts
}

func (l *roomLog) takeLocked(size *batchSize) part {
	p := part{log: l}
	for len(l.queue) > 0 && !size.full() {
		a := l.queue[0]
		l.queue[0] = nil
		if l.queue = l.queue[1:]; len(l.queue) == 0 {
			l.queue = nil
		}
		if a.settled.Load() { // its sender has given up
			continue
		}
		p.from = append(p.from, a)
		size.entries++
		size.bytes += len(a.entry.Text) + len(a.entry.Meta)
	}
	l.busy, l.turn = len(p.from) > 0, false
	return p
}

// save takes a batch to the store.
func (j *journal) save(ctx context.Context, parts []part) error {
	n := 0
	for _, p := range parts {
		n += len(p.from)
	}
	entries := make([]Entry, 0, n)
	for _, p := range parts {
		for _, a := range p.from {
			entries = append(entries, a.entry)
		}
	}
	if len(entries) == 0 {
		return nil
	}
	saved, err := j.append(ctx, entries, parts)
	if err == nil && len(saved) != len(entries) {
		err = errors.New("chat: the store answered with a different number of entries")
	}
	if err != nil {
		j.failed(ctx, err, "entries", len(entries))
		return err
	}
	for i := range parts {
		p := &parts[i]
		p.saved = make([]appended, len(p.from))
		for k, a := range p.from {
			p.saved[k] = appended{from: a, Appended: &saved[k]}
		}
		saved = saved[len(p.from):]
	}
	return nil
}

// failed logs a failure of the store: while it is down each room that is in use fails again and again.
func (j *journal) failed(ctx context.Context, err error, attrs ...any) {
	if untold, now := j.fails.now(); now && j.life.Err() == nil {
		j.hub.log().ErrorContext(ctx, "chat: store failed", append(attrs, "error", err, "failures_not_logged", untold)...)
	}
}

// deliver hands out what became of a batch, and lets its logs go on. It is false where something is held back.
func (j *journal) deliver(parts []part, err error) (all bool) {
	all = true
	for _, p := range parts {
		if err != nil {
			for _, a := range p.from {
				a.fail(errUnavailable)
			}
			j.release(p.log, nil, true)
			continue
		}
		held := p.log.deliver(p.saved)
		all = all && held == nil
		j.release(p.log, held, false)
	}
	return all
}

// release ends a log's turn. held is what a hole holds back; doubtful says that something may be saved of which nothing is known.
func (j *journal) release(l *roomLog, held []appended, doubtful bool) {
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	l.busy, l.used = false, now
	j.holdLocked(l, held, now)
	if doubtful {
		l.behind, l.doubt = true, now.Add(doubtLasts)
	} else {
		l.wrote = now
	}
	if l.arrived != nil {
		j.catchLocked(l)
	}
	j.scheduleLocked(l)
}

// holdLocked keeps what a hole holds back. What is missing is read from the store; in a cluster it is given a moment to come by itself.
func (j *journal) holdLocked(l *roomLog, held []appended, now time.Time) {
	switch {
	case held == nil:
	case j.hub.nodes == nil:
		l.held, l.since, l.behind = held, now, true
	default:
		l.held, l.since = held, now
		if l.waits == nil {
			j.readAfterLocked(l, holePatience)
		}
	}
}

// append, page and bounds are the store's; a panic of a host's store is an error like any other.
func (j *journal) append(ctx context.Context, entries []Entry, parts []part) (saved []Appended, err error) {
	if o := &j.hub.set.observe; len(o.store) > 0 {
		call := StoreCall{Op: "append", Entries: len(entries)}
		for _, p := range parts {
			for _, a := range p.from {
				call.For = append(call.For, a.cause)
			}
		}
		var done func(error)
		ctx, done = o.storing(ctx, call)
		defer func() { done(err) }()
	}
	defer recovered("the store", &err)
	return j.hub.set.store.Append(ctx, entries)
}

// appendOne is append for an entry and the default store.
func (j *journal) appendOne(a *appending, to *Appended) error {
	if o := &j.hub.set.observe; len(o.store) > 0 {
		_, done := o.storing(context.Background(), StoreCall{Op: "append", Entries: 1, For: []context.Context{a.cause}})
		defer done(nil)
	}
	j.hub.set.store.(*memoryStore).appendOne(&a.entry, to)
	return nil
}

// observed begins a call of the store's; what it returns ends it.
func (h *core) observed(ctx *context.Context, op string, err *error) func() {
	if len(h.set.observe.store) == 0 {
		return func() {}
	}
	next, done := h.set.observe.storing(*ctx, StoreCall{Op: op})
	*ctx = next
	return func() { done(*err) }
}

func (j *journal) page(ctx context.Context, q PageQuery) (entries []Entry, more bool, err error) {
	defer j.hub.observed(&ctx, "page", &err)()
	defer recovered("the store", &err)
	return j.hub.set.store.Page(ctx, q)
}

func (j *journal) bounds(ctx context.Context, namespace, room string) (first, last uint64, err error) {
	defer j.hub.observed(&ctx, "bounds", &err)()
	defer recovered("the store", &err)
	return j.hub.set.store.Bounds(ctx, namespace, room)
}

// recovered makes an error of a panic of the host's.
func recovered(in string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("chat: panic in %s: %v\n%s", in, p, debug.Stack())
	}
}

// keep is how long a log outlives its room: who comes back by recovery counts on it.
func (j *journal) keep() time.Duration { return max(j.hub.set.recoveryWindow, logsKept) }

// sweepOut forgets the logs of rooms that nobody is in, nor comes back to.
func (j *journal) sweepOut() {
	before := time.Now().Add(-j.keep())
	j.mu.Lock()
	j.most = max(j.most, len(j.logs))
	j.mu.Unlock()
	for _, sp := range j.hub.spaces {
		sp.mu.Lock()
		j.mu.Lock()
		for key, l := range j.logs {
			idle := !l.busy && !l.listed && l.queue == nil && l.waiters == nil
			if l.space == sp && idle && l.used.Before(before) && sp.rooms[l.name] == nil {
				l.stopWaiting()
				delete(j.logs, key)
			}
		}
		j.mu.Unlock()
		sp.mu.Unlock()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.logs = shrunk(j.logs, &j.most)
	if j.sweep = nil; len(j.logs) > 0 && j.life.Err() == nil {
		j.sweep = time.AfterFunc(j.keep(), j.sweepOut)
	}
}
