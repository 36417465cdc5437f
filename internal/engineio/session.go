package engineio

import (
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Session is one client's Engine.IO session, over whatever transport it has at the moment.
//
// What runs for it is counted by pins: the handshake, the goroutine that reads its WebSocket, a POST, the
// writing of its queue. A closed session is over, and Handler.Closed is called, when there are none.
type Session struct {
	srv     *Server
	secret  [15]byte // what of the id cannot be guessed
	version uint8
	handler Handler      // set before anything can come in
	due     atomic.Int64 // a time.Duration since the server was made: the heartbeat's next step
	state   atomic.Uint32
	reading atomic.Bool // data has come in and is being handled, which is a sign of life however long it takes
	mode    wireMode    // of ws

	mu       sync.Mutex // guards all below; state changes under it
	direct   bool       // the transport is websocket (from the handshake on, where it came by one)
	dirty    bool       // in the flusher's list, or in a Batch
	later    bool       // in a Batch's list of those to be woken later
	writing  bool       // somebody takes from the queue
	pinged   bool       // EIO=4: a ping is out
	held     bool       // the handler was at work when the client's time was over
	opening  bool       // queue[0] is what opens a WebSocket
	cut      bool       // end.last is to take the place of what is queued
	settled  bool
	evicted  bool
	pins     int16
	sent     int // bytes of queue[0] that are written
	queued   int // what queue weighs
	queue    []*Packet
	poll     *polling // nil once the transport is websocket
	ws       *wsConn  // nil until then
	end      *ending  // nil while the session is open
	nextDirt *Session // flusher's list; guarded by the flusher

	ring ring // guarded by the wheel
}

// An ending is what there is of a session that is not open any more.
type ending struct {
	reason Reason
	lost   []uint64    // tags of what was taken off the queue unwritten
	last   []*Packet   // what hangUp sends
	asking bool        // last is not known yet
	timer  *time.Timer // ends the flush of Close
}

const (
	stateOpen uint32 = iota
	stateClosing
	stateClosed
)

// closeGrace is how long Close waits for the queue to be written, and for the client to take note.
const closeGrace = time.Second

// ID is the secret of the transport.
func (s *Session) ID() string { return string(s.appendID(nil)) }

func (s *Session) appendID(b []byte) []byte {
	if tag := s.srv.cfg.Tag; tag != "" {
		b = append(append(b, tag...), tagEnd)
	}
	return base64.RawURLEncoding.AppendEncode(b, s.secret[:])
}

// tagEnd is not in the alphabet of base64url.
const tagEnd = '.'

// SessionOf is the id of the session that a request names; empty: none.
func SessionOf(r *http.Request) string { return query(r.URL.RawQuery).get("sid") }

// TagOf is the tag of the process that has the session which a request names; empty where it names none, or one without a tag.
func TagOf(r *http.Request) string {
	tag, _, ok := strings.Cut(SessionOf(r), string(tagEnd))
	if !ok {
		return ""
	}
	return tag
}

// Version is 4 or 3.
func (s *Session) Version() int { return int(s.version) }

// Transport is "polling" or "websocket".
func (s *Session) Transport() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.direct {
		return "websocket"
	}
	return "polling"
}

// Send queues p and never blocks. It reports false, and does nothing, when the session is closing or closed.
// An outbox that would pass Config.Outbox ends the session with ReasonSlowConsumer: p and what is queued and not begun are dropped,
// and the client has a second to take the farewell.
func (s *Session) Send(p *Packet) bool {
	s.mu.Lock()
	ok := s.roomLocked(p)
	wake := ok && s.queueLocked(p)
	s.mu.Unlock()
	if wake {
		s.srv.flush.add(s)
	}
	return ok
}

// roomLocked tells whether p may be queued. A session that is out of room ends.
func (s *Session) roomLocked(p *Packet) bool {
	if s.state.Load() != stateOpen {
		return false
	}
	if s.queued+p.size > s.srv.cfg.Outbox {
		s.hangUpLocked(ReasonSlowConsumer, closePolicy)
		return false
	}
	return true
}

// queueLocked queues p and wakes a poll that waits.
func (s *Session) queueLocked(p *Packet) (wake bool) {
	s.queue = append(s.queue, p)
	s.queued += p.size
	return s.wakeLocked()
}

// wakeLocked sees to it that the queue is written. true: by the flusher, which the caller tells.
func (s *Session) wakeLocked() bool {
	if s.ws == nil {
		if s.poll != nil {
			s.poll.look()
		}
		return false
	}
	if s.dirty || s.writing {
		return false
	}
	s.dirty = true
	return true
}

// keptQueue is the capacity up to which an empty queue's memory stays with its session.
const keptQueue = 16

// wroteLocked takes n written bytes, laid out for mode, off the queue.
func (s *Session) wroteLocked(n int) {
	done := 0
	for n > 0 {
		left := s.queue[done].wireLen(s.mode) - s.sent
		if n < left {
			s.sent += n
			break
		}
		n -= left
		s.sent = 0
		done++
	}
	s.dropLocked(done)
	if s.cut {
		s.cutLocked()
	}
}

// dropLocked takes the first n packets off the queue.
func (s *Session) dropLocked(n int) {
	s.opening = s.opening && n == 0
	for _, p := range s.queue[:n] {
		s.queued -= p.size
	}
	if n == len(s.queue) && cap(s.queue) > keptQueue {
		s.queue = nil
		return
	}
	rest := copy(s.queue, s.queue[n:])
	clear(s.queue[rest:])
	s.queue = s.queue[:rest]
}

// Close ends the session: nothing more is taken in, what is queued is written (for at most a second), then the
// transport is closed. It returns at once; later calls do nothing. With ReasonTooLarge and ReasonSlowConsumer what is
// written is the handler's Farewell instead.
func (s *Session) Close(reason Reason) {
	code := closeCode(reason)
	if reason == ReasonTooLarge || reason == ReasonSlowConsumer {
		s.hangUp(reason, code)
		return
	}
	s.mu.Lock()
	wake := false
	switch {
	case !s.closingLocked(reason):
	case s.direct:
		wake = s.queueLocked(newCloseFrame(code))
	default:
		s.poll.look()
	}
	s.mu.Unlock()
	if wake {
		s.srv.flush.add(s)
	}
}

// closingLocked begins the end of an open session.
func (s *Session) closingLocked(reason Reason) bool {
	if s.state.Load() != stateOpen {
		return false
	}
	s.end = &ending{reason: reason}
	s.state.Store(stateClosing)
	s.graceLocked(closeGrace)
	return true
}

// graceLocked gives the end its time, from now.
func (s *Session) graceLocked(d time.Duration) {
	s.srv.gate.stop(s.end.timer)
	s.end.timer = s.srv.gate.after(d, func() { s.Abort(s.end.reason) })
}

// Abort is Close without the flush.
func (s *Session) Abort(reason Reason) {
	s.mu.Lock()
	s.abortLocked(reason)
	s.mu.Unlock()
}

func (s *Session) abortLocked(reason Reason) {
	switch s.state.Load() {
	case stateClosed:
		return
	case stateOpen:
		s.end = &ending{reason: reason}
	}
	s.state.Store(stateClosed)
	s.srv.gate.stop(s.end.timer)
	s.srv.forget(s)
	if s.ws != nil {
		s.ws.close()
	}
	if p := s.poll; p != nil {
		p.look()
		p.breakOff()
		p.turn.Broadcast()
		if p.probe != nil {
			p.probe.close()
		}
	}
	s.endLocked()
}

// Done is closed when the connection is given up. Text and Binary, which hold up Closed as long as they run,
// may wait for it beside what they wait for.
//
// The channel is the server's to keep: hardly any session needs one, and there are many sessions.
func (s *Session) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.srv.mu.Lock()
	defer s.srv.mu.Unlock()
	c := s.srv.awaited[s]
	if c != nil {
		return c
	}
	c = make(chan struct{})
	if s.state.Load() == stateClosed {
		close(c)
		return c
	}
	if s.srv.awaited == nil {
		s.srv.awaited = map[*Session]chan struct{}{}
	}
	s.srv.awaited[s] = c
	return c
}

// unpin is the end of something that ran for the session.
func (s *Session) unpin() {
	s.mu.Lock()
	s.unpinLocked()
	s.mu.Unlock()
}

func (s *Session) unpinLocked() {
	s.pins--
	s.endLocked()
}

// endLocked tells the handler when all is over.
func (s *Session) endLocked() {
	if s.state.Load() != stateClosed || s.pins != 0 {
		return
	}
	s.pins = -1 // it never comes back to 0
	unsent := append(tags(nil, s.queue), s.end.lost...)
	s.queue, s.queued = nil, 0
	if s.handler == nil { // it was never accepted
		s.ended(s.end.reason, nil)
		return
	}
	go s.ended(s.end.reason, unsent)
}

// tags appends the tags of packets.
func tags(to []uint64, packets []*Packet) []uint64 {
	for _, p := range packets {
		if p.Tag != 0 {
			to = append(to, p.Tag)
		}
	}
	return to
}

func (s *Session) ended(reason Reason, unsent []uint64) {
	if s.handler != nil {
		s.Settle()
		s.handler.Closed(reason, unsent)
		// Whoever keeps the session for a while, as the Hub does for recoveries, must not keep the connection.
		s.mu.Lock()
		s.handler, s.ws, s.poll = nil, nil, nil
		s.mu.Unlock()
	}
	s.srv.live.Add(-1)
	s.srv.gate.done()
}

// A Batch sends to many sessions and wakes their writers at once. The zero Batch is ready; it is for one
// goroutine.
type Batch struct {
	dirty []*Session
	later []*Session
	full  *flusher // of a session that has much to write
}

// SendLater is Send for what is in no hurry: it leaves with the next packet that is, or with FlushLater. Many
// small packets then leave by one write.
func (b *Batch) SendLater(s *Session, p *Packet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.roomLocked(p) {
		return false
	}
	if s.ws == nil { // a poll takes what there is in any case
		s.queueLocked(p)
		return true
	}
	s.queue = append(s.queue, p)
	s.queued += p.size
	if !s.later {
		s.later = true
		b.later = append(b.later, s)
	}
	return true
}

// FlushLater wakes the writers of the sessions that SendLater has sent to and that have not been woken since.
func (b *Batch) FlushLater() {
	for _, s := range b.later {
		s.mu.Lock()
		s.later = false
		if len(s.queue) > 0 && s.state.Load() != stateClosed && s.wakeLocked() {
			b.dirty = append(b.dirty, s)
		}
		s.mu.Unlock()
	}
	clear(b.later)
	b.later = b.later[:0]
	b.Flush()
}

// Send is Session.Send without waking the writer; Flush wakes those of all the sessions sent to since the
// last Flush.
func (b *Batch) Send(s *Session, p *Packet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.roomLocked(p) {
		return false
	}
	if s.queueLocked(p) {
		b.dirty = append(b.dirty, s)
	}
	if s.dirty && s.queued > s.srv.cfg.Outbox/4 {
		b.full = &s.srv.flush
	}
	return true
}

// Flush wakes the writers of all the sessions sent to since the last Flush.
func (b *Batch) Flush() { b.flush(false) }

// FlushHelped is Flush for who calls Server.Help soon, and holds no lock then. Where an outbox is a quarter full, it does not count on that.
func (b *Batch) FlushHelped() { b.flush(true) }

func (b *Batch) flush(helped bool) {
	// The sessions are mostly of one server.
	for rest := b.dirty; len(rest) > 0; {
		f := &rest[0].srv.flush
		rest = rest[f.addAll(rest, helped):]
	}
	if b.full != nil {
		b.full.hire()
		b.full = nil
	}
	clear(b.dirty)
	b.dirty = b.dirty[:0]
}
