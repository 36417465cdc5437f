package engineio

import (
	"sync"
	"time"
)

// A wheel runs the heartbeats of all sessions of a server: one timer, which is armed while there are
// sessions, and a ring of lists. A session's time may be put off without telling the wheel: it looks when the
// session's old turn comes, and finds it a new place.
type wheel struct {
	grain time.Duration
	now   func() time.Duration // since the server was made
	beat  func(s *Session, now time.Duration) (next time.Duration)
	gate  *gate

	mu    sync.Mutex // guards all below and the sessions' own ring fields; taken after a session's mu, never before it
	slots []*Session // heads of doubly linked lists
	at    int64      // the last tick that was run
	n     int
	turn  *Session // whose beat runs, and which is in no slot meanwhile
	timer *time.Timer
	armed bool
}

// all are the sessions of the wheel.
func (w *wheel) all() []*Session {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]*Session, 0, w.n+1)
	for _, s := range w.slots {
		for ; s != nil; s = s.ring.next {
			list = append(list, s)
		}
	}
	if w.turn != nil {
		list = append(list, w.turn)
	}
	return list
}

// ring is a session's place in the wheel.
type ring struct {
	next, prev *Session
	slot       int32 // -1: in none
	gone       bool  // removed for good
}

const (
	minGrain = time.Millisecond
	maxGrain = 250 * time.Millisecond
)

// setup sizes the wheel for times of up to horizon, with a grain that suits the shortest of them.
func (w *wheel) setup(shortest, horizon time.Duration) {
	w.grain = min(max(shortest/64, minGrain), maxGrain)
	w.slots = make([]*Session, int(horizon/w.grain)+2)
}

// insert gives s its place. due is when it wants its turn; it gets it at most one grain early.
func (w *wheel) insert(s *Session, due time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.ring.gone {
		return
	}
	if w.n == 0 && !w.armed {
		w.at = int64(w.now() / w.grain)
	}
	size := int64(len(w.slots))
	tick := min(max(int64(due/w.grain), w.at+1), w.at+size-1)
	i := int32(tick % size)
	s.ring.slot, s.ring.prev, s.ring.next = i, nil, w.slots[i]
	if s.ring.next != nil {
		s.ring.next.ring.prev = s
	}
	w.slots[i] = s
	w.n++
	if !w.armed {
		w.armed = true
		w.gate.add()
		w.armLocked()
	}
}

// armLocked sets the timer to the next tick.
func (w *wheel) armLocked() {
	d := time.Duration(w.at+1)*w.grain - w.now()
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.tick)
		return
	}
	w.timer.Reset(d)
}

// remove takes s out for good.
func (w *wheel) remove(s *Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.ring.gone = true
	if s.ring.slot < 0 {
		return
	}
	w.unlinkLocked(s)
	// Where Stop comes too late, tick is about to run and finds nothing to do.
	if w.n == 0 && w.armed && w.timer.Stop() {
		w.armed = false
		w.gate.done()
	}
}

func (w *wheel) unlinkLocked(s *Session) {
	r := &s.ring
	if r.prev != nil {
		r.prev.ring.next = r.next
	} else {
		w.slots[r.slot] = r.next
	}
	if r.next != nil {
		r.next.ring.prev = r.prev
	}
	r.next, r.prev, r.slot = nil, nil, -1
	w.n--
}

// tick gives their turn to all whose time has come.
func (w *wheel) tick() {
	now := w.now()
	for {
		s := w.pop(int64(now / w.grain))
		if s == nil {
			break
		}
		if next := w.beat(s, now); next > 0 {
			w.insert(s, next)
		}
	}
	w.mu.Lock()
	again := w.n > 0
	if again {
		w.armLocked()
	} else {
		w.armed = false
	}
	w.mu.Unlock()
	if !again {
		w.gate.done()
	}
}

// pop takes one session out whose slot is of tick or before. An insert from within a beat lands after w.at, which
// moves on only when a slot is empty.
func (w *wheel) pop(tick int64) *Session {
	w.mu.Lock()
	defer w.mu.Unlock()
	size := int64(len(w.slots))
	w.turn = nil
	if tick-w.at >= size { // the process slept
		w.at = tick - size + 1
	}
	for {
		if w.n == 0 {
			w.at = max(w.at, tick)
			return nil
		}
		if s := w.slots[w.at%size]; s != nil {
			w.unlinkLocked(s)
			w.turn = s
			return s
		}
		if w.at >= tick {
			return nil
		}
		w.at++
	}
}
