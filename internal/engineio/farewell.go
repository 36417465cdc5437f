package engineio

import "slices"

// A Farewell is a Handler that has something to tell a client whose session ends by a bound.
type Farewell interface {
	Handler
	// Farewell gives what is written before the end of a session with ReasonTooLarge or ReasonSlowConsumer; what
	// was queued and not begun is not. It is asked at most once, on a goroutine of its own and before Closed, with no lock
	// held by the caller; it must not block. Where the connection was given up without a word it is not asked.
	Farewell(reason Reason) []*Packet
}

// What still comes on a connection after its end was decided is read, so that the client gets to see why, and
// thrown away, up to so much. Closing a connection with data unread may destroy what was written to it.
const drainMost = 1 << 20 // bytes

// closeCode is what the close frame says.
func closeCode(reason Reason) int {
	switch reason {
	case ReasonShutdown:
		return closeGoingAway
	case ReasonTooLarge:
		return closeTooLarge
	case ReasonSlowConsumer:
		return closePolicy
	}
	return closeNormal
}

// hangUp ends a session without what is queued: the client has said that it closes, broke the protocol, or
// passed a bound. A WebSocket gets a close frame.
func (s *Session) hangUp(reason Reason, code int) {
	s.mu.Lock()
	wake := s.hangUpLocked(reason, code)
	s.mu.Unlock()
	if wake {
		s.srv.flush.add(s)
	}
}

// hangUpLocked is hangUp. wake: the flusher is to be told; never where there may be a farewell, which is
// asked for elsewhere: the caller may hold locks that the handler takes.
func (s *Session) hangUpLocked(reason Reason, code int) (wake bool) {
	if !s.closingLocked(reason) {
		return false
	}
	if reason != ReasonTooLarge && reason != ReasonSlowConsumer {
		return s.endWithLocked(nil, code)
	}
	s.end.asking = true
	s.pins++
	s.srv.gate.run(func() { s.bidFarewell(code) })
	return false
}

// bidFarewell asks the handler and queues what it says.
func (s *Session) bidFarewell(code int) {
	s.mu.Lock()
	h, reason := s.handler, s.end.reason
	s.mu.Unlock()
	var packets []*Packet
	if f, ok := h.(Farewell); ok { // no handler yet: s is being accepted
		packets = f.Farewell(reason)
	}
	wake := false
	s.mu.Lock()
	s.end.asking = false
	if s.state.Load() == stateClosing {
		wake = s.endWithLocked(packets, code)
	}
	s.unpinLocked()
	s.mu.Unlock()
	if wake {
		s.srv.flush.add(s)
	}
}

// endWithLocked puts packets, and the close frame of a WebSocket, in the place of what is queued.
func (s *Session) endWithLocked(packets []*Packet, code int) (wake bool) {
	if s.direct {
		packets = append(slices.Clip(packets), newCloseFrame(code))
	}
	s.end.last = packets
	// While somebody writes from the queue, what comes next in it is his to decide.
	if s.writing || s.poll != nil && s.poll.get == getWrites {
		s.cut = true
		return false
	}
	s.cutLocked()
	return s.wakeLocked()
}

// cutLocked takes off the queue what is not sent any more, and puts the last packets there. A packet of which
// a part is written stays, and the one that opens a WebSocket.
func (s *Session) cutLocked() {
	s.cut = false
	keep := 0
	if s.sent > 0 || s.opening {
		keep = min(1, len(s.queue))
	}
	s.end.lost = tags(s.end.lost, s.queue[keep:])
	clear(s.queue[keep:])
	s.queue = append(s.queue[:keep], s.end.last...)
	s.queued = 0
	for _, p := range s.queue {
		s.queued += p.size
	}
}
