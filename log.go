package chat

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/parleychat/chat/internal/socketio"
)

// roomLog is what the Hub knows of a room's log. It exists while the room has somebody in it or something on its way to the store, and
// for the recovery's window after that, so that who comes back by recovery has missed nothing unseen.
type roomLog struct {
	space *space
	name  string

	// The last Seq delivered, and whether that is known. Written under the namespace's mu; so is end read.
	end   uint64
	known atomic.Bool

	// Guarded by the journal's mu.
	queue   []*appending // wait for a batch
	waiters []chan error // wait for the end to be known
	listed  bool         // in the journal's ready or reads
	busy    bool         // one goroutine at a time saves, reads and delivers, so that deliveries have the order of the log
	watched bool         // somebody could miss an entry: the end must be known before anything is saved
	behind  bool         // the store may have entries that were not delivered
	turn    bool         // of its queue: it has just been read
	retry   time.Duration
	waits   *time.Timer // for the next read, after one that failed or in doubt
	doubt   time.Time   // until when an append of unknown end may still come to light
	used    time.Time   // when it was last at work

	arrived []appended // from other nodes, while it was busy or its end not known
	wrote   time.Time  // when an entry was last delivered

	// Whoever has made it busy has these: what is saved and held back by a hole, and since when.
	held  []appended
	since time.Time
}

// appending is an entry on its way into a room's log.
type appending struct {
	entry   Entry
	cause   context.Context // of its sender, for what observes; its end does not matter
	client  *Client         // who is to be answered at the entry's place in the order; nil: nobody
	event   *Event
	until   time.Time   // the store's deadline; zero: it runs from wait on
	settled atomic.Bool // it was answered, or given up

	// What became of it: entry as it was saved, or err. They are set before done; most senders find them there and make no channel.
	err   error
	done  atomic.Bool
	waits atomic.Pointer[chan struct{}] // closed with done; nil: nobody waits
}

// appended is an entry that the store has saved.
type appended struct {
	from *appending
	*Appended
	text  []byte          // as JSON; nil: not made yet
	cause context.Context // of one that another node has saved
}

var errUnavailable = Errorf(Unavailable, "the store does not answer, try again")

// post saves an entry and delivers it. It waits until that is done, or for ctx, or for the store's deadline.
func (sp *space) post(ctx context.Context, a *appending) (Entry, error) {
	if !sp.hub.handlers.enter() {
		return Entry{}, ErrClosed
	}
	defer sp.hub.handlers.leave()
	if err := sp.begin(ctx, a); err != nil {
		return Entry{}, err
	}
	return a.wait(ctx, sp.hub.set.timeouts.Store)
}

// begin puts an entry on its way; wait must follow.
func (sp *space) begin(ctx context.Context, a *appending) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	a.entry.ID, a.cause = id.String(), ctx
	if !sp.hub.inMemory { // where there is hardly ever a wait
		a.until = time.Now().Add(sp.hub.set.timeouts.Store)
	}
	sp.hub.journal.add(sp, a)
	return nil
}

// wait is for one goroutine; limit is the store's deadline where begin has set none.
func (a *appending) wait(ctx context.Context, limit time.Duration) (Entry, error) {
	if a.done.Load() {
		return a.result()
	}
	if a.until.IsZero() {
		a.until = time.Now().Add(limit)
	}
	ended := make(chan struct{})
	a.waits.Store(&ended)
	if a.done.Load() { // whoever has set it may not have seen the channel
		return a.result()
	}
	deadline := time.NewTimer(time.Until(a.until))
	defer deadline.Stop()
	select {
	case <-ended:
		return a.result()
	case <-deadline.C:
		return a.giveUp(ended, errUnavailable)
	case <-ctx.Done():
		return a.giveUp(ended, errors.Join(errUnavailable, context.Cause(ctx)))
	}
}

func (a *appending) result() (Entry, error) {
	if a.err != nil {
		return Entry{}, a.err
	}
	return a.entry, nil
}

// giveUp stops waiting; whoever comes first, it or the delivery, says what the sender hears. What has not gone to the store
// by then never will.
func (a *appending) giveUp(ended <-chan struct{}, err error) (Entry, error) {
	if a.settled.CompareAndSwap(false, true) {
		return Entry{}, err
	}
	<-ended
	return a.result()
}

// end lets the sender go on.
func (a *appending) end(err error) {
	a.err = err
	a.done.Store(true)
	if c := a.waits.Load(); c != nil {
		close(*c)
	}
}

// fail answers a sender that its entry was not saved, or may not have been.
func (a *appending) fail(err error) {
	a.settled.Store(true)
	a.end(err)
}

// deliver puts saved entries into the outboxes of their room (the journal writes those), in the order of the log, with those that a hole has held back before. Where it
// finds a hole before one it returns what it did not deliver.
func (l *roomLog) deliver(saved []appended) (held []appended) {
	if l.space.hub.nodes != nil { // of another node they come in the order of its publications
		saved = append(l.held, saved...)
		l.held = nil
		slices.SortStableFunc(saved, func(a, b appended) int { return cmp.Compare(a.Entry.Seq, b.Entry.Seq) })
	}
	for i := range saved {
		if !l.deliverOne(&saved[i], false) {
			return saved[i:]
		}
	}
	return nil
}

// deliverOne sends an entry, and the sender's ack at the entry's own place. It is false where there is a hole before the entry; over
// goes on all the same.
func (l *roomLog) deliverOne(s *appended, over bool) bool {
	sp := l.space
	text, err := s.json()
	if err != nil { // a store has broken its contract: the place in the order is what is left
		sp.hub.log().ErrorContext(s.context(), "chat: entry cannot be encoded", "error", err, "namespace", sp.name, "room", l.name, "seq", s.Entry.Seq, "message_id", s.Entry.ID)
		left := tombstone(&s.Entry)
		text, _ = left.appendJSON(nil)
	}
	begin := sp.hub.now()
	enc := socketio.Encoded{JSON: text}
	ok, delivered, clients := l.putOut(s, enc, over)
	entry := &s.Entry
	if ok && s.from != nil {
		s.from.entry = s.Entry
		entry = &s.from.entry
	}
	if delivered {
		if s.cause != nil && len(sp.hub.set.observe.deliver) > 0 {
			_ = s.Entry.UnmarshalJSON(text) // another Hub has made it
			s.Entry.Namespace = sp.name
		}
		sp.hub.delivered(s.context(), &Delivery{
			Namespace: sp.name, Event: "new_message", Room: l.name, Entry: entry, Clients: clients, Bytes: len(text), Begin: begin,
		})
	}
	if ok && s.from != nil {
		s.from.end(nil)
	}
	return ok
}

// json is the entry as it is sent; it is made once.
func (s *appended) json() (_ []byte, err error) {
	if s.text == nil {
		s.text, err = s.Entry.appendJSON(nil)
	}
	return s.text, err
}

// context is that of the entry's sender.
func (s *appended) context() context.Context {
	switch {
	case s.cause != nil:
		return s.cause
	case s.from == nil || s.from.cause == nil:
		return context.Background()
	}
	return s.from.cause
}

// putOut is deliverOne for an entry that is encoded; delivered tells whether it was news.
func (l *roomLog) putOut(s *appended, enc socketio.Encoded, over bool) (ok, delivered bool, clients int) {
	sp := l.space
	sp.mu.Lock()
	defer sp.mu.Unlock()
	// A first record that was delivered long ago. A new entry of a lower seq is another matter: then the store has gone back, as one that is
	// restored from a backup does, and what it says now counts.
	known := l.known.Load()
	old := s.Repeated && (!known || s.Entry.Seq <= l.end)
	if hole := known && s.Entry.Seq > l.end+1; hole && !old {
		if !over {
			return false, false, 0
		}
		l.tellLocked()
	}
	if sp.closed {
		return true, false, 0
	}
	defer l.flushLocked()
	if old {
		s.ackLocked(enc, 0)
		return true, false, 0
	}
	l.end = s.Entry.Seq
	l.known.Store(true)
	e := sp.recovery.eventLocked()
	sp.numberLocked(&e.outgoing, "new_message", enc)
	e.author, e.seq = s.Entry.UserID, s.Entry.Seq
	e.room[0] = l.name
	e.to.rooms = e.room[:]
	if s.ackLocked(enc, sp.counter) && !sp.set.echo {
		e.other[0] = s.from.client.id
		e.to.notClients = e.other[:]
	}
	sp.bridgeEntryLocked(s, &e.to, enc)
	clients = sp.queueLocked(&e.to, &e.outgoing, false)
	sp.recovery.keepSentLocked(sp.counter, e)
	return true, true, clients
}

// flushLocked leaves the writing to who delivers a batch. With the default store each entry is a batch, and what the same client sends next is written with it where
// another goroutine writes.
func (l *roomLog) flushLocked() {
	if l.space.hub.inMemory {
		l.space.batch.Flush()
	} else {
		l.space.batch.FlushHelped()
	}
}

// ackLocked queues the sender's ack, where somebody waits for one. It is false where the sender is away: then the entry is replayed to it
// like anybody's.
func (s *appended) ackLocked(enc socketio.Encoded, tag uint64) bool {
	a := s.from
	if a == nil || !a.settled.CompareAndSwap(false, true) || a.event == nil || !a.event.NeedsAck {
		return false
	}
	a.event.answered = true
	if a.client.gone {
		return false
	}
	p := socketio.AckWith(a.client.wireName(), a.event.ackID, `{"ok":true,"message":`, enc, `}`)
	p.Tag = tag
	return a.client.space.batch.Send(a.client.sess, p)
}

// waitKnown returns when the Hub knows the end of a room's log, after which every entry is delivered live. Who asks for it
// before reading the store misses nothing in between.
func (sp *space) waitKnown(ctx context.Context, room string) error {
	if known := sp.hub.journal.whenKnown(sp, room); known != nil {
		return sp.waitRead(ctx, known)
	}
	return nil
}

// waitRead waits for the end of a read within the store's deadline.
func (sp *space) waitRead(ctx context.Context, read <-chan error) error {
	deadline := time.NewTimer(sp.hub.set.timeouts.Store)
	defer deadline.Stop()
	select {
	case err := <-read:
		return err
	case <-deadline.C:
		return errUnavailable
	case <-ctx.Done():
		return errors.Join(errUnavailable, context.Cause(ctx))
	}
}

type holeNotice struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Event   string `json:"event"`
	Room    string `json:"room"`
	After   uint64 `json:"after"`
}

// tellLocked says that entries are missing after the last one delivered: history has them, or says from where on it is kept.
func (l *roomLog) tellLocked() {
	enc, err := socketio.Encode(holeNotice{Unavailable, "entries are missing: ask for the history", "new_message", l.name, l.end})
	if err != nil || l.space.closed {
		return
	}
	l.space.hub.holes.Add(1)
	l.space.sendLocked(&audience{rooms: []string{l.name}}, "error", enc, true)
}
