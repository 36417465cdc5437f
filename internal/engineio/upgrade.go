package engineio

import (
	"net/http"
	"time"
)

// serveUpgrade takes a WebSocket for a session that polls.
func (s *Session) serveUpgrade(w http.ResponseWriter, r *http.Request) {
	c, rest, err := s.srv.accept(w, r, s, nil)
	if err != nil {
		return // answered
	}
	c.probing = true
	if !s.beginProbe(c, r) {
		// One upgrade at a time, one a session, and a number of them in all. The session is unharmed.
		s.srv.gate.run(func() {
			_ = c.conn.SetWriteDeadline(time.Now().Add(closeGrace))
			_, _ = c.conn.Write(newCloseFrame(closeProtocol).frame)
			_ = c.conn.Close()
		})
		return
	}
	go c.read(rest)
}

func (s *Session) beginProbe(c *wsConn, r *http.Request) bool {
	if n, most := s.srv.probes.Add(1), s.srv.cfg.Probes; most > 0 && n > int64(most) {
		s.srv.probes.Add(-1)
		s.srv.limited(r, LimitProbes)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.poll
	if s.state.Load() != stateOpen || p == nil || p.probe != nil {
		s.srv.probes.Add(-1)
		return false
	}
	p.probe = c
	s.pins++
	s.srv.gate.add() // for the goroutine that reads c
	c.timer = s.srv.gate.after(s.srv.cfg.UpgradeTimeout, c.close)
	return true
}

// probe takes the messages of a WebSocket that is no session's transport yet. An error ends the WebSocket and
// nothing else.
func (c *wsConn) probe(op byte, data []byte) error {
	switch {
	case op == opText && !c.probed && string(data) == "2probe":
		return c.answerProbe()
	case op == opText && c.probed && string(data) == "5":
		return c.upgrade()
	default:
		return errParse
	}
}

// answerProbe gives the client as long as it would itself wait for the session. It stops polling now, and goes on when a poll that it has under way has ended: that one may hang
// elsewhere, on its way or at another node. A probe that ends meanwhile it does not get over before its own ping timeout: it neither polls on nor sends.
func (c *wsConn) answerProbe() error {
	c.probed = true
	s := c.s
	if d := s.srv.cfg.PingInterval + s.srv.cfg.PingTimeout; d > s.srv.cfg.UpgradeTimeout {
		s.srv.gate.stop(c.timer)
		c.timer = s.srv.gate.after(d, c.close)
	}
	s.mu.Lock()
	// From here on a GET is one that came during the probe: the client may have the answer, and send one,
	// before Write is back.
	if p := s.poll; p != nil && p.probe == c {
		p.probed = true
	}
	s.mu.Unlock()
	// Nobody else writes to this connection yet.
	_ = c.conn.SetWriteDeadline(time.Now().Add(s.srv.cfg.WriteTimeout))
	n, err := c.conn.Write(newControl("3probe").frame)
	s.srv.out.Add(int64(n))
	if err != nil {
		return errGone
	}
	_ = c.conn.SetWriteDeadline(time.Time{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.poll; p != nil && p.probe == c {
		p.release = !p.during
		p.look()
	}
	return nil
}

// upgrade makes c the session's transport, with all that is queued. It waits for what polling has under way
// to end: a response that is being written decides what is left in the queue, and a POST's messages come
// before those that follow on c.
func (c *wsConn) upgrade() error {
	s := c.s
	s.mu.Lock()
	p := s.poll
	if s.state.Load() != stateOpen || p == nil || p.probe != c {
		s.mu.Unlock()
		return errGone
	}
	s.srv.gate.stop(c.timer)
	p.upgrading = true
	p.look()
	for (p.get != noGet || p.posting) && s.state.Load() == stateOpen {
		p.turn.Wait()
	}
	if s.state.Load() != stateOpen {
		s.mu.Unlock()
		return errGone
	}
	c.probing = false
	s.srv.probes.Add(-1)
	s.attachLocked(c)
	wake := len(s.queue) > 0 && s.wakeLocked()
	s.mu.Unlock()
	if wake {
		s.srv.flush.add(s)
	}
	return nil
}

// attachLocked makes c the transport.
func (s *Session) attachLocked(c *wsConn) {
	s.ws, s.poll, s.direct = c, nil, true
	switch {
	case c.deflate:
		s.mode = wireDeflated
	case s.version == 3:
		s.mode = wireLegacy
	}
}
