package engineio

// Bytes are the bytes read from clients and written to them since the server was made: frames of WebSockets
// with their headers, and the bodies of polls and posts as they go over the wire (compressed ones as such).
func (srv *Server) Bytes() (in, out int64) { return srv.in.Load(), srv.out.Load() }

// Outboxes are the bytes that all sessions have queued, and the most that one has, as Config.Outbox counts
// them. It looks at every session.
func (srv *Server) Outboxes() (bytes, deepest int) {
	for _, s := range srv.Sessions() {
		s.mu.Lock()
		n := s.queued
		s.mu.Unlock()
		bytes += n
		deepest = max(deepest, n)
	}
	return bytes, deepest
}

// MaxRequestID is the length in bytes beyond which a request's id is not taken.
const MaxRequestID = 128

// RequestID is the X-Request-Id (of at most 128 bytes) of the POST whose packets are being handled; empty:
// it had none, or the transport is websocket. It is for use within Text and Binary.
func (s *Session) RequestID() string {
	// Text and Binary run on the POST's goroutine, during which poll does not change, or on that of the
	// WebSocket, which is the one that has changed it.
	if p := s.poll; p != nil {
		return p.requestID
	}
	return ""
}
