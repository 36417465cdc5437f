package chat

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/parleychat/chat/internal/socketio"
)

// roomLog is the queue before the store of one room; it exists while there is something in it. One goroutine
// at a time takes what is queued to the store in one batch, and delivers it in the order of the log.
type roomLog struct {
	queue []*appending
}

// appending is an entry on its way into a room's log; or, with sync, a look at the log's end between two batches.
type appending struct {
	entry   Entry
	client  *Client // who is to be answered at the entry's place in the order; nil: nobody
	event   *Event
	sync    func(last uint64)
	done    chan appendResult // of size 1
	settled atomic.Bool       // it was answered, or given up
}

type appendResult struct {
	entry Entry
	err   error
}

var errUnavailable = Errorf(Unavailable, "the store does not answer, try again")

// post saves an entry and delivers it.
func (sp *space) post(ctx context.Context, a *appending) (Entry, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Entry{}, err
	}
	a.entry.ID = id.String()
	return sp.enqueue(ctx, a)
}

// enqueue waits until a has been through the store, or for ctx, or for the store's deadline.
func (sp *space) enqueue(ctx context.Context, a *appending) (Entry, error) {
	a.done = make(chan appendResult, 1)
	room := a.entry.Room
	sp.logsMu.Lock()
	l := sp.logs[room]
	first := l == nil
	if first {
		if !sp.hub.handlers.enter() {
			sp.logsMu.Unlock()
			return Entry{}, ErrClosed
		}
		l = &roomLog{}
		sp.logs[room] = l
	}
	l.queue = append(l.queue, a)
	sp.logsMu.Unlock()
	if first {
		if sp.hub.inMemory {
			sp.drain(room, l, true) // it cannot block: the caller's goroutine will do
		} else {
			go sp.drain(room, l, false)
		}
	}
	select { // of a memory store's result there is no waiting, nor need for a timer
	case r := <-a.done:
		return r.entry, r.err
	default:
	}
	deadline := time.NewTimer(sp.hub.set.timeouts.Store)
	defer deadline.Stop()
	select {
	case r := <-a.done:
		return r.entry, r.err
	case <-deadline.C:
		return Entry{}, sp.giveUp(a, errUnavailable)
	case <-ctx.Done():
		return Entry{}, sp.giveUp(a, errors.Join(errUnavailable, context.Cause(ctx)))
	}
}

// giveUp stops waiting; whoever comes first, it or the delivery, says what the sender hears.
func (sp *space) giveUp(a *appending, err error) error {
	if a.settled.CompareAndSwap(false, true) {
		return err
	}
	return (<-a.done).err
}

// drain takes a room's queue through the store until it is empty; once hands what comes after the first batch
// to a goroutine.
func (sp *space) drain(room string, l *roomLog, once bool) {
	for {
		sp.logsMu.Lock()
		batch := l.queue
		l.queue = nil
		if len(batch) == 0 {
			delete(sp.logs, room)
			sp.logsMu.Unlock()
			sp.hub.handlers.leave()
			return
		}
		sp.logsMu.Unlock()
		sp.appendBatch(batch)
		if once {
			sp.logsMu.Lock()
			more := len(l.queue) > 0
			sp.logsMu.Unlock()
			if more {
				go sp.drain(room, l, false)
				return
			}
		}
	}
}

// appendBatch saves the entries of a batch, delivers them, and then runs its looks at the log's end.
func (sp *space) appendBatch(batch []*appending) {
	ctx, cancel := sp.storeContext()
	defer cancel()
	entries := make([]Entry, 0, len(batch))
	from := make([]*appending, 0, len(batch))
	for _, a := range batch {
		if a.sync == nil {
			entries = append(entries, a.entry)
			from = append(from, a)
		}
	}
	if len(entries) > 0 {
		saved, err := sp.append(ctx, entries)
		if err == nil && len(saved) != len(entries) {
			err = errors.New("chat: the store answered with a different number of entries")
		}
		for i, a := range from {
			if err != nil {
				sp.failAppend(a, err)
			} else {
				sp.deliver(a, saved[i])
			}
		}
	}
	for _, a := range batch {
		if a.sync != nil {
			last, err := sp.last(ctx, a.entry.Room)
			if err != nil {
				sp.failAppend(a, err)
				continue
			}
			if a.settled.CompareAndSwap(false, true) {
				a.sync(last)
			}
			a.done <- appendResult{}
		}
	}
}

// append and last are the store's; a panic of a host's store is an error like any other.
func (sp *space) append(ctx context.Context, entries []Entry) (saved []Appended, err error) {
	defer recovered(&err)
	return sp.hub.set.store.Append(ctx, entries)
}

func (sp *space) last(ctx context.Context, room string) (last uint64, err error) {
	defer recovered(&err)
	_, last, err = sp.hub.set.store.Bounds(ctx, sp.name, room)
	return last, err
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("chat: panic in the store: %v\n%s", p, debug.Stack())
	}
}

func (sp *space) storeContext() (context.Context, context.CancelFunc) {
	if sp.hub.inMemory {
		return context.Background(), func() {}
	}
	return context.WithTimeout(sp.hub.life, sp.hub.set.timeouts.Store)
}

func (sp *space) failAppend(a *appending, err error) {
	sp.hub.set.logger.Error("chat: store failed", "error", err, "namespace", sp.name, "room", a.entry.Room, "message_id", a.entry.MessageID)
	a.settled.Store(true)
	a.done <- appendResult{err: errUnavailable}
}

// deliver sends a saved entry to its room, and the sender's ack at the entry's own place in the order.
func (sp *space) deliver(a *appending, saved Appended) {
	enc, err := socketio.Encode(&saved.Entry)
	if err != nil {
		sp.failAppend(a, err)
		return
	}
	var ack socketio.Encoded
	answer := a.event != nil && a.event.NeedsAck
	if answer {
		ack.JSON = append(append([]byte(`{"ok":true,"message":`), enc.JSON...), '}')
	}
	sp.mu.Lock()
	defer func() {
		sp.mu.Unlock()
		a.done <- appendResult{entry: saved.Entry}
	}()
	if sp.closed {
		return
	}
	if saved.Repeated {
		if a.settled.CompareAndSwap(false, true) && answer {
			sp.ackLocked(a, ack, 0)
		}
		return
	}
	if r := sp.rooms[saved.Entry.Room]; r != nil {
		r.seq, r.known = saved.Entry.Seq, true
	}
	o := sp.numberLocked("new_message", enc)
	to := audience{rooms: []string{saved.Entry.Room}}
	told := a.settled.CompareAndSwap(false, true) && answer && sp.ackLocked(a, ack, sp.counter)
	if told && !sp.set.echo {
		to.notClients = []string{a.client.id}
	}
	sp.deliverLocked(&to, o, true)
}

// ackLocked queues the sender's ack. It is false where the sender is away: then the entry is replayed to it
// like anybody's.
func (sp *space) ackLocked(a *appending, ack socketio.Encoded, tag uint64) bool {
	a.event.answered = true
	if a.client.gone {
		return false
	}
	p := socketio.AckPacket(sp.name, a.event.ackID, ack)
	p.Tag = tag
	return a.client.sess.Send(p)
}
