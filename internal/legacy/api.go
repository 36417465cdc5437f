// Package legacy serves Socket.IO clients 1.x and 2.x (protocol 4 and before, over Engine.IO 3) by
// github.com/googollee/go-socket.io. That package sees nothing of a client's requests but a handshake, and nothing of a client's packets but
// canonical ones that the guard has passed.
package legacy

import (
	"context"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// A Server wraps one go-socket.io server.
type Server struct{}

// New starts go-socket.io's serving goroutine when the first session comes. namespaces are those that exist.
func New(cfg *socketio.Config, namespaces []string) *Server { panic("todo") }

// Accept makes the handler of a session of Engine.IO 3 and starts its connection to "/".
func (s *Server) Accept(es *engineio.Session, hs *socketio.Handshake) (engineio.Handler, error) {
	panic("todo")
}

// Close waits for the sessions to end (the caller closes them), then stops go-socket.io.
func (s *Server) Close(ctx context.Context) error { panic("todo") }
