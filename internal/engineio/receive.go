package engineio

import "time"

// textPacket takes one packet that came as text: its type, and data.
func (s *Session) textPacket(b []byte) error {
	if len(b) == 0 {
		return errParse
	}
	s.alive()
	switch b[0] {
	case '4':
		return s.text(b[1:])
	case '1':
		return errGone
	case '6':
		return nil
	case '2':
		if s.version == 3 {
			s.pong(b[1:])
			return nil
		}
	case '3':
		if s.version == 4 {
			s.ponged()
			return nil
		}
	}
	return errParse
}

func (s *Session) text(data []byte) error {
	if s.state.Load() != stateOpen {
		return nil
	}
	return s.handler.Text(data)
}

// binary takes one binary message.
func (s *Session) binary(data []byte) error {
	if s.state.Load() != stateOpen {
		return nil
	}
	s.alive()
	return s.handler.Binary(data)
}

// alive puts a client's end off, which with EIO=3 every packet does.
func (s *Session) alive() {
	if s.version == 3 {
		s.due.Store(int64(s.srv.now() + s.srv.cfg.PingInterval + s.srv.cfg.PingTimeout))
	}
}

// ponged takes the answer to a ping.
func (s *Session) ponged() {
	s.mu.Lock()
	s.pinged, s.held = false, false
	s.due.Store(int64(s.srv.now() + s.srv.cfg.PingInterval))
	s.mu.Unlock()
}

// pong answers a ping of an EIO=3 client; one answer does for all the pings since the last was written.
func (s *Session) pong(data []byte) {
	p := packetPong
	if len(data) > 0 {
		p = newControl("3" + string(data[:min(len(data), 64)]))
	}
	s.mu.Lock()
	last := len(s.queue) - 1
	same := p == packetPong && last >= 0 && s.queue[last] == packetPong
	s.mu.Unlock()
	if !same {
		s.Send(p)
	}
}

// beat is the session's turn on the wheel. It gives the time of its next one.
func (s *Session) beat(now time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Load() != stateOpen {
		return 0
	}
	due := time.Duration(s.due.Load())
	if s.version == 4 && !s.pinged {
		if due > now+s.srv.wheel.grain {
			return due
		}
		return s.pingLocked(due)
	}
	if due > now {
		return s.nextLook(now, due)
	}
	if reading := s.reading.Load(); reading || s.held {
		// What the client sent waits behind the handler. Once that is through there is one term more, for the
		// answer that waits in the connection to be read.
		s.held = reading
		due = now + s.srv.cfg.PingTimeout
		s.due.Store(int64(due))
		return due
	}
	s.abortLocked(ReasonPingTimeout)
	return 0
}

// nextLook is the session's next turn while an answer is awaited until due: where that is longer than the
// interval, the answer makes the next ping due before it.
func (s *Session) nextLook(now, due time.Duration) time.Duration {
	if s.version == 3 {
		return due
	}
	return min(due, now+s.srv.cfg.PingInterval)
}

// pingLocked sends the ping that is due. The answer's time runs from when it was due, not from when it was sent.
func (s *Session) pingLocked(due time.Duration) time.Duration {
	s.pinged = true
	pinged := due
	due += s.srv.cfg.PingTimeout
	s.due.Store(int64(due))
	if s.queueLocked(packetPing) {
		s.srv.flush.add(s)
	}
	return s.nextLook(pinged, due)
}

// expire ends the session if its time is over, whether or not the wheel has got to it.
func (s *Session) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Load() != stateOpen {
		return
	}
	due := time.Duration(s.due.Load())
	if s.version == 4 && !s.pinged {
		due += s.srv.cfg.PingTimeout
	}
	if s.srv.now() >= due && !s.held && !s.reading.Load() {
		s.abortLocked(ReasonPingTimeout)
	}
}
