package engineio

import (
	"net/http"
	"time"
)

// Limits that a handshake or an upgrade can meet, as Config.Limited is told.
const (
	LimitPending = "pending"
	LimitProbes  = "probes"
)

var errPending = &Refusal{
	Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"1"}}, Code: codeBadRequest, Message: "Too many connections",
}

// Pending is the number of sessions that are neither settled nor over.
func (srv *Server) Pending() int { return int(srv.pending.Load()) }

// Probes is the number of WebSockets that are upgrades not completed.
func (srv *Server) Probes() int { return int(srv.probes.Load()) }

// reserve counts one more against a bound of most; 0 is none.
func (srv *Server) reserve(count interface{ Add(int64) int64 }, most int, r *http.Request, what string) bool {
	if n := count.Add(1); most <= 0 || n <= int64(most) {
		return true
	}
	if what == LimitPending && srv.evict() {
		return true
	}
	count.Add(-1)
	if srv.cfg.Limited != nil {
		srv.cfg.Limited(r, what)
	}
	return false
}

// evictable is how old a session must be to make room for another: what takes longer to be settled is mostly what never will be.
const evictable = time.Second

// A waiting is a session that is not settled. Here and not in Session, since it is nothing to most of a session's life.
type waiting struct {
	s            *Session
	since        time.Duration // the server's now
	settled      func(evicted bool)
	older, newer *waiting
}

// A lobby has the sessions that are not settled, in the order of arrival.
type lobby struct {
	of             map[*Session]*waiting
	oldest, newest *waiting
	most           int // that have been in it since it was last empty
}

func (l *lobby) add(w *waiting) {
	if l.of == nil {
		l.of = map[*Session]*waiting{}
	}
	l.of[w.s] = w
	l.most = max(l.most, len(l.of))
	if w.older = l.newest; w.older != nil {
		w.older.newer = w
	} else {
		l.oldest = w
	}
	l.newest = w
}

// keptLobby is up to how many places an empty lobby keeps: a map never shrinks.
const keptLobby = 1 << 10

// remove returns what there was of s.
func (l *lobby) remove(s *Session) *waiting {
	w := l.of[s]
	delete(l.of, s)
	if w.older != nil {
		w.older.newer = w.newer
	} else {
		l.oldest = w.newer
	}
	if w.newer != nil {
		w.newer.older = w.older
	} else {
		l.newest = w.older
	}
	if len(l.of) == 0 && l.most > keptLobby {
		l.of, l.most = nil, 0
	}
	return w
}

// enlist counts a new session among those that are not settled.
func (srv *Server) enlist(s *Session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.lobby.add(&waiting{s: s, since: srv.now()})
}

// evict ends the session that has waited longest to be settled, if that is long enough.
func (srv *Server) evict() bool {
	for {
		srv.mu.Lock()
		w := srv.lobby.oldest
		srv.mu.Unlock()
		if w == nil || srv.now()-w.since < evictable {
			return false
		}
		if w.s.settle(true) { // or it has just been settled
			return true
		}
	}
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
	s.settled = true
	s.srv.mu.Lock()
	w := s.srv.lobby.remove(s)
	s.srv.mu.Unlock()
	if evicted {
		s.abortLocked(ReasonForced)
	}
	s.mu.Unlock()
	s.srv.pending.Add(-1)
	if w.settled != nil {
		w.settled(evicted)
	}
	return true
}

// OnSettled has f called once: by Settle, or when the session is over, before Handler.Closed (where it is not
// accepted, before the refusal is written), or evicted, on another handshake's goroutine; at once where that has been. f must not block. A session has one f.
func (s *Session) OnSettled(f func(evicted bool)) {
	s.mu.Lock()
	settled := s.settled
	if !settled {
		s.srv.mu.Lock()
		s.srv.lobby.of[s].settled = f
		s.srv.mu.Unlock()
	}
	s.mu.Unlock()
	if settled {
		f(false)
	}
}
