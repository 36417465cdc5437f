package engineio

import "net/http"

// A Server makes sessions of HTTP requests and serves them.
type Server struct{}

// NewServer starts nothing: timers run while there are sessions.
func NewServer(cfg Config) *Server { panic("todo") }

// ServeHTTP serves one handshake, poll, post or upgrade. It looks at the query and the method, not at the path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { panic("todo") }

// Refuse answers every later handshake with f's refusal; sessions that exist go on.
func (s *Server) Refuse(r *Refusal) { panic("todo") }

// Len is the number of sessions whose Handler.Closed has not returned yet.
func (s *Server) Len() int { panic("todo") }

// Wait waits until Len is 0 and no goroutine or timer of the server is left (true), or until done is closed (false).
func (s *Server) Wait(done <-chan struct{}) bool { panic("todo") }

// A Session is one client's Engine.IO session, over whatever transport it has at the moment.
type Session struct{}

func (s *Session) ID() string        { panic("todo") } // secret of the transport
func (s *Session) Version() int      { panic("todo") } // 4 or 3
func (s *Session) Transport() string { panic("todo") } // "polling" or "websocket"

// Send queues p and never blocks. It reports false, and does nothing, when the session is closing or closed. An outbox that
// would pass Config.Outbox closes the session with ReasonSlowConsumer.
func (s *Session) Send(p *Packet) bool { panic("todo") }

// A Batch sends to many sessions and wakes their writers at once. The zero Batch is ready; it is for one goroutine.
type Batch struct{}

// Send is Session.Send without waking the writer; Flush wakes those of all the sessions sent to since the last Flush.
func (b *Batch) Send(s *Session, p *Packet) bool { panic("todo") }
func (b *Batch) Flush()                          { panic("todo") }

// Close ends the session: nothing more is taken in, what is queued is written (for at most a second), then the
// transport is closed. It returns at once; later calls do nothing.
func (s *Session) Close(reason Reason) { panic("todo") }

// Abort is Close without the flush.
func (s *Session) Abort(reason Reason) { panic("todo") }
