package engineio

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// polling is what a session needs until its transport is websocket. The session's mu guards it.
type polling struct {
	get       phase
	posting   bool
	base64    bool // EIO=3: the client takes no binary
	last      byte // type of the packet that ends the session on a waiting GET: close, or noop where the client closed
	probe     *wsConn
	probed    bool                     // the client has sent 2probe
	during    bool                     // the GET came after that
	release   bool                     // the GET is to end: it came before, or Release says so
	upgrading bool                     // the client has sent 5
	changed   chan struct{}            // tells the waiting GET to look again
	turn      *sync.Cond               // tells those who wait for a GET or a POST to be over
	post      *http.ResponseController // of the POST that is under way
	requestID string                   // of the POST whose packets are being handled; its goroutine's own
}

type phase uint8

const (
	noGet phase = iota
	getWaits
	getWrites
)

// noopDelay is how long a GET that comes during a probe is held. The client sends one when the probe's answer
// has not reached it yet; then the answer to the GET lets it go on. It is held that long since the
// packet "upgrade" may be about to come, after which a GET is an error.
const noopDelay = 30 * time.Millisecond

func newPolling(s *Session, base64 bool) *polling {
	return &polling{base64: base64, last: '1', changed: make(chan struct{}, 1), turn: sync.NewCond(&s.mu)}
}

// look makes a waiting GET look at the session again.
func (p *polling) look() {
	if p.get != getWaits {
		return
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Release answers the GET that waits for a session, if one does, with NOOP: the client asks again, by another way if need be.
func (srv *Server) Release(sid string) {
	srv.mu.Lock()
	s := srv.sessions[sid]
	srv.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.poll; p != nil && p.get == getWaits {
		p.release = true
		p.look()
	}
}

// breakOff ends the wait for the rest of a POST's body, which could otherwise hold up the end of the session
// for as long as BoundBody allows.
func (p *polling) breakOff() {
	if p.post != nil {
		_ = p.post.SetReadDeadline(time.Unix(1, 0))
	}
}

func (p *polling) forgetProbe(c *wsConn) {
	if p.probe == c {
		p.probe, p.probed, p.release = nil, false, false
		p.look()
	}
}

// serveGet holds a GET until there is something to answer it with.
func (s *Session) serveGet(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	p, refuse := s.beginGetLocked()
	if refuse != nil {
		s.mu.Unlock()
		refuse.write(w)
		return
	}
	// The host's deadlines are for its ordinary requests.
	rc := http.NewResponseController(w)
	var within time.Duration
	if errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})) != nil {
		within = HostLimit(r)
	}

	packets, last, ok := s.awaitLocked(r.Context(), p, within)
	if !ok {
		p.get = noGet
		p.turn.Broadcast()
		s.mu.Unlock()
		errBadRequest.write(w)
		return
	}
	p.get = getWrites
	s.pins++
	s.mu.Unlock()

	err := s.writePoll(w, r, rc, packets, last, p.base64)

	s.mu.Lock()
	defer s.mu.Unlock()
	p.get = noGet
	p.turn.Broadcast()
	switch {
	case err != nil:
		s.abortLocked(writeFailure(err))
	default:
		s.dropLocked(len(packets))
		if s.cut {
			s.cutLocked()
		}
		if last == '1' {
			s.abortLocked(s.end.reason)
		}
	}
	s.unpinLocked()
}

// HostLimit is how long a poll may wait where a middleware hides the deadlines of its connection: half of
// what the host gives a request, then it is answered with NOOP and the client asks again. 0: no limit.
func HostLimit(r *http.Request) time.Duration {
	hs, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	if hs == nil {
		return 0
	}
	limit := hs.WriteTimeout
	if d := hs.ReadTimeout; d > 0 && (limit <= 0 || d < limit) {
		limit = d // net/http ends the request's context with it
	}
	return max(limit, 0) / 2
}

// beginGetLocked makes the session's one GET of a request.
func (s *Session) beginGetLocked() (*polling, *Refusal) {
	for {
		p := s.poll
		switch {
		case s.state.Load() == stateClosed:
			return nil, ErrUnknownSession
		case p == nil || p.upgrading:
			return nil, errBadRequest
		case p.get == getWaits:
			s.abortLocked(ReasonTransportError)
			return nil, errBadRequest
		case p.get == noGet:
			p.get, p.during, p.release = getWaits, p.probed, false
			return p, nil
		}
		// The client may have the whole response, and ask anew, before the one who writes it is back.
		p.turn.Wait()
	}
}

// awaitLocked waits for something to answer a GET with: packets, a last packet of the type given, or both. Not
// ok: the GET is refused. It waits no longer than within, where that is not 0.
func (s *Session) awaitLocked(ctx context.Context, p *polling, within time.Duration) (packets []*Packet, last byte, ok bool) {
	var over <-chan time.Time
	if within > 0 {
		t := time.NewTimer(within)
		defer t.Stop()
		over = t.C
	}
	var held <-chan time.Time
	if p.during {
		t := time.NewTimer(noopDelay)
		defer t.Stop()
		held = t.C
	}
	noop, late := false, false
	for {
		select {
		case <-p.changed: // what it tells is seen now
		default:
		}
		switch {
		case s.state.Load() == stateClosed:
			return nil, p.last, true
		case s.state.Load() == stateClosing && s.end.asking: // it wakes this when it is known
		// The end of a session that may be recovered comes alone, by the next GET: socket.io-client 4.x takes an event a moment later than a close packet
		// of the same payload, as one that came while it was away. It hears it when it is back, and again from the recovery, since it has not counted it.
		case s.state.Load() == stateClosing && s.end.reason == ReasonShutdown && s.version == 4 && len(s.queue) > 0:
			return slices.Clone(s.queue), 0, true
		case s.state.Load() == stateClosing:
			return slices.Clone(s.queue), '1', true
		case p.upgrading && p.during:
			return nil, 0, false
		case p.upgrading:
			return nil, '6', true
		case len(s.queue) > 0:
			return slices.Clone(s.queue), 0, true
		case p.release, late, noop && p.probed:
			return nil, '6', true
		}
		s.mu.Unlock()
		gone := false
		select {
		case <-p.changed:
		case <-held:
			noop = true
		case <-over:
			late = true
		case <-ctx.Done():
			gone = true
		}
		s.mu.Lock()
		if gone {
			s.abortLocked(ReasonTransportError)
			return nil, 0, false
		}
	}
}

// writePoll answers a GET.
func (s *Session) writePoll(w http.ResponseWriter, r *http.Request, rc *http.ResponseController, packets []*Packet, last byte, base64 bool) error {
	b := bodies.Get().(*[]byte)
	body, binary := (*b)[:0], false
	if s.version == 3 {
		body, binary = encodePayload3(body, packets, last, base64)
	} else {
		body = encodePayload4(body, packets, last)
	}
	err := s.srv.respond(w, r, rc, body, binary)
	if cap(body) <= keptBody {
		*b = body
		bodies.Put(b)
	}
	return err
}

// keptBody is the capacity up to which buffers of requests and responses are used again.
const keptBody = 64 << 10

var bodies = sync.Pool{New: func() any { return new([]byte) }}

// servePost takes the packets of a POST.
func (s *Session) servePost(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	p := s.poll
	switch {
	case s.state.Load() != stateOpen:
		s.mu.Unlock()
		ErrUnknownSession.write(w)
		return
	case p == nil || p.upgrading:
		s.mu.Unlock()
		errBadRequest.write(w)
		return
	case p.posting:
		s.abortLocked(ReasonTransportError)
		s.mu.Unlock()
		errBadRequest.write(w)
		return
	}
	p.posting, p.post = true, http.NewResponseController(w)
	s.pins++
	BoundBody(p.post, r, s.srv.cfg.PingInterval+s.srv.cfg.PingTimeout)
	s.mu.Unlock()

	err := s.readPost(r, p)
	if errors.Is(err, ErrTooLarge) {
		s.endByPost(w, r, p)
		return
	}

	s.mu.Lock()
	p.post = nil
	if err != nil {
		s.endPostLocked(p, err)
	}
	closed := s.state.Load() == stateClosed
	p.posting = false
	p.turn.Broadcast()
	s.unpinLocked()
	s.mu.Unlock()

	switch {
	case errors.Is(err, errGone), err == nil && !closed:
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(w, "ok")
	default:
		errBadRequest.write(w)
	}
}

// endByPost ends the session because of a POST that is too large. The rest of the body is read and thrown
// away, within bounds, so that the answer arrives. A GET that waits is answered before: a client whose POST fails
// drops what it would have got.
func (s *Session) endByPost(w http.ResponseWriter, r *http.Request, p *polling) {
	rc := http.NewResponseController(w)
	s.mu.Lock()
	p.post, p.posting = nil, false
	if s.hangUpLocked(ReasonTooLarge, closeTooLarge); s.state.Load() == stateClosing {
		s.graceLocked(2 * closeGrace) // of which reading on may take one
	}
	p.turn.Broadcast()
	s.unpinLocked()
	s.mu.Unlock()
	s.srv.throwAway(rc, r)
	s.mu.Lock()
	for p.get != noGet && s.state.Load() != stateClosed {
		p.turn.Wait()
	}
	if s.state.Load() == stateClosing { // the next GET has its time from now
		s.graceLocked(closeGrace)
	}
	s.mu.Unlock()
	w.Header().Set("Connection", "close")
	(&Refusal{Status: http.StatusRequestEntityTooLarge, Code: codeBadRequest, Message: "Payload too large"}).write(w)
}

// throwAway reads on in a body, for at most drainMost bytes and closeGrace.
func (srv *Server) throwAway(rc *http.ResponseController, r *http.Request) {
	if r.ContentLength > int64(srv.cfg.MaxPayload) && r.Header.Get("Expect") != "" {
		return // the client waits for leave to send it
	}
	if rc.SetReadDeadline(time.Now().Add(closeGrace)) != nil {
		return
	}
	n, _ := io.CopyN(io.Discard, r.Body, drainMost)
	srv.in.Add(n)
}

// endPostLocked ends the session because of what a POST held.
func (s *Session) endPostLocked(p *polling, err error) {
	reason, _ := verdict(err)
	if s.state.Load() == stateOpen && errors.Is(err, errGone) {
		p.last = '6'
		if p.get == noGet {
			s.srv.bury(s)
		}
	}
	s.abortLocked(reason)
}

// BoundBody sees to it that a body comes within d, where the host has set no time of its own.
func BoundBody(rc *http.ResponseController, r *http.Request, d time.Duration) {
	host, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	if ok && host.ReadTimeout > 0 {
		return
	}
	_ = rc.SetReadDeadline(time.Now().Add(d))
}

// errBroken is a body that did not come whole.
var errBroken = errors.New("engineio: body broke off")

func (s *Session) readPost(r *http.Request, p *polling) error {
	limit := s.srv.cfg.MaxPayload
	if r.ContentLength > int64(limit) {
		return ErrTooLarge
	}
	b := bodies.Get().(*[]byte)
	body, err := readBody((*b)[:0], r.Body, limit)
	s.srv.in.Add(int64(len(body)))
	if err == nil {
		// Given up by the client while a handler holds it, a POST ends the session as a GET does: nothing
		// else would tell, since the heartbeat waits for the handler.
		stop := context.AfterFunc(r.Context(), func() { s.Abort(ReasonTransportError) })
		defer stop()
		s.reading.Store(true)
		if id := r.Header.Get("X-Request-Id"); len(id) <= MaxRequestID {
			p.requestID = id
		}
		if s.version == 3 {
			err = s.payload3(body, r.Header.Get("Content-Type"))
		} else {
			err = s.payload4(body)
		}
		s.reading.Store(false)
		p.requestID = ""
	}
	if cap(body) <= keptBody {
		*b = body
		bodies.Put(b)
	}
	return err
}

// readBody reads up to limit bytes into b. Memory follows what comes, whatever length was announced.
func readBody(b []byte, r io.Reader, limit int) ([]byte, error) {
	for {
		b = slices.Grow(b, 512)
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > limit:
			return b, ErrTooLarge
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, errBroken
		}
	}
}
