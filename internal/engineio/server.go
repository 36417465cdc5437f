package engineio

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A Server makes sessions of HTTP requests and serves them.
type Server struct {
	cfg     Config
	epoch   time.Time
	refusal atomic.Pointer[Refusal]
	live    atomic.Int64
	probes  atomic.Int64
	in, out atomic.Int64 // bytes
	gate    gate
	flush   flusher
	wheel   wheel

	mu       sync.Mutex          // guards all below; taken after a session's mu, never before it
	sessions map[string]*Session // those that began by polling: no request names another
	tombs    map[string]*tomb
	awaited  map[*Session]chan struct{} // those whose end somebody waits for
	lobby    lobby
}

// A tomb is what stays for a moment of a polling session that its client closed: the GET which may be on its
// way gets a noop, once.
type tomb struct {
	version uint8
	timer   *time.Timer
}

const tombTime = 500 * time.Millisecond

// NewServer starts nothing: timers run while there are sessions.
func NewServer(cfg Config) *Server {
	s := &Server{cfg: cfg, epoch: time.Now(), sessions: map[string]*Session{}, tombs: map[string]*tomb{}}
	s.flush.gate = &s.gate
	s.wheel = wheel{now: s.now, beat: (*Session).beat, gate: &s.gate}
	s.wheel.setup(min(cfg.PingInterval, cfg.PingTimeout), cfg.PingInterval+cfg.PingTimeout)
	return s
}

// now is the time since the server was made.
func (srv *Server) now() time.Duration { return time.Since(srv.epoch) }

// Refuse answers every later handshake with r; sessions that exist go on.
func (srv *Server) Refuse(r *Refusal) { srv.refusal.Store(r) }

// Help writes what has been sent with Batch.FlushHelped. It may write what others have sent as well, up to as many sessions as wait when it is called;
// like all writing it never waits for a connection.
func (srv *Server) Help() { srv.flush.help() }

// Len is the number of sessions whose Handler.Closed has not returned yet.
func (srv *Server) Len() int { return int(srv.live.Load()) }

// Sessions are the sessions that have been opened and have not ended.
func (srv *Server) Sessions() []*Session { return srv.wheel.all() }

// Wait waits until Len is 0 and no goroutine or timer of the server is left (true), or until done is closed
// (false).
func (srv *Server) Wait(done <-chan struct{}) bool {
	srv.mu.Lock()
	for id, t := range srv.tombs {
		srv.gate.stop(t.timer)
		delete(srv.tombs, id)
	}
	srv.mu.Unlock()
	return srv.gate.wait(done)
}

// ServeHTTP serves one handshake, poll, post or upgrade. It looks at the query and the method, not at the path.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The order of the checks is that of the reference implementation.
	q := query(r.URL.RawQuery)
	transport := q.get("transport")
	if transport != "polling" && transport != "websocket" {
		errTransport.write(w)
		return
	}
	if transport == "polling" && q.has("j") { // JSONP: what it answers is run as a script of the page
		errBadRequest.write(w)
		return
	}
	if sid := q.get("sid"); sid != "" {
		srv.serveSession(w, r, sid, transport)
		return
	}
	switch {
	case r.Method != http.MethodGet:
		errMethod.write(w)
	case transport == "websocket" && !WantsWebSocket(r):
		errBadRequest.write(w)
	case srv.versionOf(q) == 0:
		errVersion.write(w)
	default:
		srv.handshake(w, r, srv.versionOf(q), transport == "websocket", q.get("b64") == "1")
	}
}

// versionOf is the protocol's version that q asks for; 0: none that is served.
func (srv *Server) versionOf(q query) uint8 {
	switch q.get("EIO") {
	case "4":
		return 4
	case "3":
		if srv.cfg.Legacy {
			return 3
		}
	}
	return 0
}

// serveSession serves a request that names a session.
func (srv *Server) serveSession(w http.ResponseWriter, r *http.Request, sid, transport string) {
	srv.mu.Lock()
	s := srv.sessions[sid]
	srv.mu.Unlock()
	if s != nil {
		s.expire()
	}
	switch {
	case s == nil && r.Method == http.MethodGet && srv.exhume(w, r, sid):
	case s == nil || s.state.Load() == stateClosed:
		ErrUnknownSession.write(w)
	case transport == "websocket":
		if !WantsWebSocket(r) {
			errBadRequest.write(w)
			return
		}
		s.serveUpgrade(w, r)
	case r.Method == http.MethodGet:
		s.serveGet(w, r)
	case r.Method == http.MethodPost:
		s.servePost(w, r)
	default:
		errBadRequest.write(w)
	}
}

// handshake makes a session.
func (srv *Server) handshake(w http.ResponseWriter, r *http.Request, version uint8, direct, base64 bool) {
	if no := srv.refusal.Load(); no != nil {
		no.write(w)
		return
	}
	place, no := srv.enter(r)
	if no != nil {
		no.write(w)
		return
	}
	s := srv.newSession(version, direct, base64, place)
	h, err := srv.cfg.Accept(s, r)
	if err != nil {
		srv.discard(s)
		asRefusal(err).write(w)
		return
	}
	s.mu.Lock() // what Accept has sent may be too much
	s.handler = h
	s.mu.Unlock()
	s.due.Store(int64(srv.now() + srv.cfg.PingInterval))
	if version == 3 {
		s.alive()
	}
	if direct {
		srv.open(w, r, s)
	} else {
		srv.openPolling(w, r, s)
	}
}

// newSession makes a session with one pin, the handshake's, that is pending.
func (srv *Server) newSession(version uint8, direct, base64 bool, place *crowd) *Session {
	s := &Session{srv: srv, secret: newSecret(), version: version, direct: direct, pins: 1}
	s.ring.slot = -1
	if !direct {
		s.poll = newPolling(s, base64)
	} else {
		p := srv.openPacket(s)
		s.queue = append(make([]*Packet, 0, 4), p)
		s.queued, s.opening = p.size, true
	}
	srv.live.Add(1)
	srv.gate.add()
	srv.enlist(s, place)
	return s
}

// discard ends a session that was not accepted.
func (srv *Server) discard(s *Session) {
	s.Settle()
	s.Abort(ReasonForced)
	s.unpin()
}

// openDelay stands between the answer to the handshake and the open packet with EIO=3. The protocol's test
// suite begins to listen for messages a moment after the connection is open.
const openDelay = 10 * time.Millisecond

// open makes the request's connection the session's. The answer to the handshake is put before the open
// packet, to go out by one write. (With EIO=3 they go one after the other.)
func (srv *Server) open(w http.ResponseWriter, r *http.Request, s *Session) {
	var answer *bytes.Buffer
	if s.version == 4 {
		answer = new(bytes.Buffer)
	}
	c, rest, err := srv.accept(w, r, s, answer)
	if err != nil {
		s.Abort(ReasonTransportError)
		s.unpin()
		return
	}
	s.mu.Lock()
	s.attachLocked(c)
	if answer != nil {
		open := s.queue[0]
		s.queue[0] = &Packet{frame: append(answer.Bytes(), open.frame...), size: open.size + answer.Len()}
		s.queued += answer.Len()
	}
	if s.state.Load() == stateClosed {
		c.close()
	}
	s.dirty = true
	s.mu.Unlock()
	if s.version == 4 {
		srv.flush.now(s)
	} else {
		srv.gate.after(openDelay, func() { srv.flush.now(s) })
	}
	srv.wheel.insert(s, time.Duration(s.due.Load()))
	srv.gate.add()
	go c.read(rest) // the handshake's pin is now the reader's
}

// openPolling answers with the open packet alone: with EIO=3 that is text framing, whatever the client takes
// later.
func (srv *Server) openPolling(w http.ResponseWriter, r *http.Request, s *Session) {
	srv.remember(s)
	srv.wheel.insert(s, time.Duration(s.due.Load()))
	var body []byte
	open := []*Packet{srv.openPacket(s)}
	if s.version == 3 {
		body, _ = encodePayload3(nil, open, 0, true)
	} else {
		body = encodePayload4(nil, open, 0)
	}
	if err := srv.respond(w, r, http.NewResponseController(w), body, false); err != nil {
		s.Abort(ReasonTransportError)
	}
	s.unpin()
}

// openPacket is the packet that tells the client what it is to know.
func (srv *Server) openPacket(s *Session) *Packet {
	b := make([]byte, 0, 192)
	b = append(b, `0{"sid":"`...)
	b = s.appendID(b)
	b = append(b, `","upgrades":[`...)
	if !s.direct && (s.version == 4 || srv.cfg.LegacyUpgrades) {
		b = append(b, `"websocket"`...)
	}
	b = append(b, `],"pingInterval":`...)
	b = strconv.AppendInt(b, srv.cfg.PingInterval.Milliseconds(), 10)
	b = append(b, `,"pingTimeout":`...)
	b = strconv.AppendInt(b, srv.cfg.PingTimeout.Milliseconds(), 10)
	b = append(b, `,"maxPayload":`...)
	b = strconv.AppendInt(b, int64(srv.cfg.MaxPayload), 10)
	b = append(b, '}')
	return newControl(string(b))
}

// newSecret makes what cannot be guessed.
func newSecret() (b [15]byte) {
	_, _ = rand.Read(b[:]) // never fails
	return b
}

// remember makes s known to later requests.
func (srv *Server) remember(s *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Load() == stateClosed { // by Accept
		return
	}
	srv.mu.Lock()
	srv.sessions[s.ID()] = s
	srv.mu.Unlock()
}

// forget takes a closed session out.
func (srv *Server) forget(s *Session) {
	srv.wheel.remove(s)
	srv.mu.Lock()
	delete(srv.sessions, s.ID())
	if c := srv.awaited[s]; c != nil {
		close(c)
		delete(srv.awaited, s)
	}
	srv.mu.Unlock()
}

// bury leaves a tomb for s.
func (srv *Server) bury(s *Session) {
	t := &tomb{version: s.version}
	id := s.ID()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.tombs[id] = t
	t.timer = srv.gate.after(tombTime, func() {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		delete(srv.tombs, id)
	})
}

// exhume answers the GET that a tomb was left for.
func (srv *Server) exhume(w http.ResponseWriter, r *http.Request, id string) bool {
	srv.mu.Lock()
	t := srv.tombs[id]
	if t != nil {
		delete(srv.tombs, id)
		srv.gate.stop(t.timer)
	}
	srv.mu.Unlock()
	if t == nil {
		return false
	}
	body := "6"
	if t.version == 3 {
		body = "1:6"
	}
	_ = srv.respond(w, r, http.NewResponseController(w), []byte(body), false)
	return true
}

func asRefusal(err error) *Refusal {
	var no *Refusal
	if errors.As(err, &no) {
		return no
	}
	return &Refusal{Status: http.StatusInternalServerError, Code: codeForbidden, Message: "Internal server error"}
}
