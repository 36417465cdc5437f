package engineio

import (
	"container/list"
	"net/http"
	"time"
)

// Limits that a handshake or an upgrade can meet, as Config.Limited is told.
const (
	LimitPending     = "pending"
	LimitPendingEach = "pending of an origin"
	LimitProbes      = "probes"
)

var (
	errPending = &Refusal{
		Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"1"}}, Code: codeBadRequest, Message: "Too many connections",
	}
	errPendingEach = &Refusal{
		Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}, Code: codeBadRequest, Message: "Too many connections from this address",
	}
)

// Pending is the number of sessions that are neither settled nor over.
func (srv *Server) Pending() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.lobby.n
}

// Probes is the number of WebSockets that are upgrades not completed.
func (srv *Server) Probes() int { return int(srv.probes.Load()) }

// limited tells the host of a refusal.
func (srv *Server) limited(r *http.Request, what string) {
	if srv.cfg.Limited != nil {
		srv.cfg.Limited(r, what)
	}
}

// evictable is how old a session must be to make room for another of an origin that has as many: what takes longer to be settled is mostly what never will be.
const evictable = time.Second

// A waiting is a session that is not settled. Here and not in Session, since it is nothing to most of a session's life.
type waiting struct {
	s       *Session
	since   time.Duration // the server's now
	settled func(evicted bool)
	crowd   *crowd
	at      *list.Element // in lobby.all
	atOwn   *list.Element // in crowd.all
}

// A crowd is the sessions of one origin that are not settled.
type crowd struct {
	origin string
	n      int           // of them, those included that are not in all yet
	all    list.List     // of *waiting, the oldest first
	at     *list.Element // in lobby.sizes[n]
}

// A lobby has the sessions that are not settled.
type lobby struct {
	n      int // of them, those included that are not in all yet
	of     map[*Session]*waiting
	all    list.List // of *waiting, the oldest first
	crowds map[string]*crowd
	sizes  []*list.List // the crowds of so many
	most   int          // that n has been since the maps were made
}

// enter makes a place for a session of an origin.
func (l *lobby) enter(origin string) *crowd {
	c := l.crowds[origin]
	if c == nil {
		c = &crowd{origin: origin}
		if l.crowds == nil {
			l.crowds = map[string]*crowd{}
		}
		l.crowds[origin] = c
	}
	l.resize(c, 1)
	l.most = max(l.most, l.n)
	return c
}

// resize counts by more sessions of a crowd; the sizes end at that of the largest.
func (l *lobby) resize(c *crowd, by int) {
	if c.n > 0 {
		l.sizes[c.n].Remove(c.at)
	}
	c.n += by
	l.n += by
	for len(l.sizes) <= c.n {
		l.sizes = append(l.sizes, list.New())
	}
	if c.n > 0 {
		c.at = l.sizes[c.n].PushBack(c)
	} else {
		delete(l.crowds, c.origin)
	}
	for n := len(l.sizes); n > 0 && l.sizes[n-1].Len() == 0; n-- {
		l.sizes[n-1] = nil
		l.sizes = l.sizes[:n-1]
	}
}

// add takes in a session that has its place.
func (l *lobby) add(s *Session, c *crowd, now time.Duration) {
	w := &waiting{s: s, since: now, crowd: c}
	w.at, w.atOwn = l.all.PushBack(w), c.all.PushBack(w)
	if l.of == nil {
		l.of = map[*Session]*waiting{}
	}
	l.of[s] = w
}

// keptLobby is up to how many places an empty lobby keeps: a map never shrinks.
const keptLobby = 1 << 10

// remove returns what there was of s.
func (l *lobby) remove(s *Session) *waiting {
	w := l.of[s]
	delete(l.of, s)
	l.all.Remove(w.at)
	w.crowd.all.Remove(w.atOwn)
	if l.resize(w.crowd, -1); l.n == 0 && l.most > keptLobby {
		*l = lobby{}
	}
	return w
}

// yields is who makes room for one more of an origin: the oldest of the origin that has most, where that is more than this one would have, or else the oldest of all,
// where it has had its time. So a flood from some addresses does not shut out the others. nil: nobody.
func (l *lobby) yields(origin string, now time.Duration) *waiting {
	own := 0
	if c := l.crowds[origin]; c != nil {
		own = c.n
	}
	if largest := len(l.sizes) - 1; largest > own+1 {
		if first := l.sizes[largest].Front().Value.(*crowd).all.Front(); first != nil {
			return first.Value.(*waiting)
		}
	}
	if first := l.all.Front(); first != nil && now-first.Value.(*waiting).since >= evictable {
		return first.Value.(*waiting)
	}
	return nil
}

// enter makes a place for a handshake's session, or refuses it.
func (srv *Server) enter(r *http.Request) (*crowd, *Refusal) {
	origin := ""
	if srv.cfg.Origin != nil {
		origin = srv.cfg.Origin(r)
	}
	for {
		c, first, refused := srv.place(origin)
		switch {
		case refused != nil:
			what := LimitPending
			if refused == errPendingEach {
				what = LimitPendingEach
			}
			srv.limited(r, what)
			return nil, refused
		case first == nil:
			return c, nil
		}
		first.s.settle(true) // unless it has just been settled
	}
}

// place makes a place, or says who has to go before there is one.
func (srv *Server) place(origin string) (c *crowd, first *waiting, refused *Refusal) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	l := &srv.lobby
	if c := l.crowds[origin]; c != nil && srv.cfg.PendingEach > 0 && c.n >= srv.cfg.PendingEach {
		return nil, nil, errPendingEach
	}
	if srv.cfg.Pending <= 0 || l.n < srv.cfg.Pending {
		return l.enter(origin), nil, nil
	}
	if first = l.yields(origin, srv.now()); first == nil {
		return nil, nil, errPending
	}
	return nil, first, nil
}

// enlist puts a new session in its place.
func (srv *Server) enlist(s *Session, c *crowd) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.lobby.add(s, c, srv.now())
}

// Settle tells that something has come of the session: it does not count for Config.Pending any more, nor is it ended to make room. Later
// calls do nothing.
func (s *Session) Settle() { s.settle(false) }

func (s *Session) settle(evicted bool) bool {
	s.mu.Lock()
	if s.settled {
		s.mu.Unlock()
		return false
	}
	s.settled, s.evicted = true, evicted
	s.srv.mu.Lock()
	w := s.srv.lobby.remove(s)
	s.srv.mu.Unlock()
	if evicted {
		s.abortLocked(ReasonForced)
	}
	s.mu.Unlock()
	if w.settled != nil {
		w.settled(evicted)
	}
	return true
}

// OnSettled has f called once: by Settle, or when the session is over, before Handler.Closed (where it is not
// accepted, before the refusal is written), or evicted, on another handshake's goroutine; at once where that has been. f must not block. A session has one f.
func (s *Session) OnSettled(f func(evicted bool)) {
	s.mu.Lock()
	settled, evicted := s.settled, s.evicted
	if !settled {
		s.srv.mu.Lock()
		s.srv.lobby.of[s].settled = f
		s.srv.mu.Unlock()
	}
	s.mu.Unlock()
	if settled {
		f(evicted)
	}
}
