// Package legacy serves Socket.IO clients 1.x and 2.x (protocol 4 and before, over Engine.IO 3) by
// github.com/googollee/go-socket.io. That package sees nothing of a client's requests but a handshake, and
// nothing of a client's packets but canonical ones that the guard has passed.
//
// What goes where:
//
//	session ─ Text, Binary ─> guard ─ canonical frame ─> go-socket.io ─ handlers ─> hub
//	session <─ whole packet ─ writer <─ frames ──────── go-socket.io <─ Emit ───── outbox <─ Link.Call
//	session <─ ready packets ─────────────────────────────────────────────────────── hub
//
// Goroutines of a connection, beside the session's: the three of go-socket.io, of which the one that reads
// makes every call into the hub but Authorize and, at the end, Closed; one for each Authorize; and an outbox
// while there is something in it.
package legacy

import (
	"context"
	"net/http"
	"sync"

	gosocket "github.com/googollee/go-socket.io"
	gosocketengine "github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/transport"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// A Server wraps one go-socket.io server.
type Server struct {
	cfg  *socketio.Config
	io   *gosocket.Server
	gate gate

	serve  sync.Once     // starts go-socket.io's serving goroutine
	served chan struct{} // closed when that has ended
	stop   sync.Once
}

// New starts go-socket.io's serving goroutine when the first session comes. namespaces are those that exist.
func New(cfg *socketio.Config, namespaces []string) *Server {
	s := &Server{
		cfg: cfg,
		io: gosocket.NewServer(&gosocketengine.Options{
			Transports:         []transport.Transport{entrance{}},
			SessionIDGenerator: sameID{},
		}),
		served: make(chan struct{}),
	}
	register(s.io, "/", cfg.Log())
	for _, n := range namespaces {
		if n != "/" {
			register(s.io, n, cfg.Log())
		}
	}
	return s
}

// Accept makes the handler of a session of Engine.IO 3 and starts its connection to "/".
func (s *Server) Accept(es *engineio.Session, hs *socketio.Handshake) (engineio.Handler, error) {
	return s.accept(es, es, hs)
}

func (s *Server) accept(out session, es *engineio.Session, hs *socketio.Handshake) (engineio.Handler, error) {
	if !s.gate.enter() {
		return nil, &engineio.Refusal{Status: http.StatusServiceUnavailable, Message: "server is shutting down"}
	}
	s.serve.Do(func() {
		go func() {
			defer close(s.served)
			_ = s.io.Serve() // ends with io.EOF, after Close
		}()
	})
	c := newConn(s, out, es, hs)
	c.begin(hs)
	return c, nil
}

// Close waits for the sessions to end (the caller closes them), then stops go-socket.io. When ctx ends first,
// its error is returned and go-socket.io goes on; Close can be called again.
//
// go-socket.io sends each new connection on a channel that its Close closes, from a goroutine that nothing
// waits for (engineio/server.go:155, :50). A session leaves the gate only after go-socket.io has written its
// root CONNECT, which proves that it came out of that channel.
func (s *Server) Close(ctx context.Context) error {
	select {
	case <-s.gate.shutdown():
	case <-ctx.Done():
		return ctx.Err()
	}
	s.stop.Do(func() {
		started := true
		s.serve.Do(func() { started = false })
		_ = s.io.Close() // always nil
		if !started {
			close(s.served)
		}
	})
	<-s.served
	return nil
}

// A gate counts what must have ended before go-socket.io may be stopped. The zero gate is open.
type gate struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // made by shutdown; closed when n is 0 after that
}

// enter counts one more, unless the gate is shut.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.idle != nil {
		return false
	}
	g.n++
	return true
}

// add counts one more on behalf of one that has entered and not left.
func (g *gate) add() {
	g.mu.Lock()
	g.n++
	g.mu.Unlock()
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.n == 0 && g.idle != nil {
		close(g.idle)
	}
}

func (g *gate) shutdown() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.idle == nil {
		g.idle = make(chan struct{})
		if g.n == 0 {
			close(g.idle)
		}
	}
	return g.idle
}
