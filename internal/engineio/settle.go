package engineio

import "net/http"

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
	count.Add(-1)
	if srv.cfg.Limited != nil {
		srv.cfg.Limited(r, what)
	}
	return false
}

// Settle tells that something has come of the session: it does not count for Config.Pending any more. Later
// calls do nothing.
func (s *Session) Settle() {
	s.mu.Lock()
	if s.settled {
		s.mu.Unlock()
		return
	}
	s.settled = true
	s.srv.mu.Lock()
	f := s.srv.settling[s]
	delete(s.srv.settling, s)
	s.srv.mu.Unlock()
	s.mu.Unlock()
	s.srv.pending.Add(-1)
	if f != nil {
		f()
	}
}

// OnSettled has f called once: by Settle, or when the session is over, before Handler.Closed (where it is not
// accepted, before the refusal is written); at once where that has been. f must not block. A session has one f.
func (s *Session) OnSettled(f func()) {
	s.mu.Lock()
	settled := s.settled
	if !settled {
		s.srv.mu.Lock()
		if s.srv.settling == nil {
			s.srv.settling = map[*Session]func(){}
		}
		s.srv.settling[s] = f
		s.srv.mu.Unlock()
	}
	s.mu.Unlock()
	if settled {
		f()
	}
}
