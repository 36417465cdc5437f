package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// A gate is a TCP proxy before the server, with faults. Each group of clients has one.
type gate struct {
	target   string
	listener net.Listener
	pumps    sync.WaitGroup

	mu      sync.Mutex // guards all below
	refuses bool
	flow    [2]chan struct{} // by direction; closed while bytes flow
	links   map[*link]struct{}
	closed  bool
}

// A direction of bytes.
type direction int

const (
	toServer direction = iota
	toClient
)

// A link is one connection through a gate: the client's end and the server's.
type link struct{ client, server net.Conn }

// A cutKind is how a connection ends.
type cutKind int

const (
	reset     cutKind = iota // RST to both: what is on its way is gone
	finish                   // FIN to both
	abandoned                // RST to the client; the server's end stays open and silent, as after a network has changed
	cutKinds
)

func (k cutKind) String() string { return [...]string{"RST", "FIN", "half"}[k] }

// silence is how long an abandoned connection stays open at the server.
const silence = 8 * time.Second

func newGate(target string) (*gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gate{target: target, listener: l, links: map[*link]struct{}{}}
	for way := range g.flow {
		g.flow[way] = make(chan struct{})
		close(g.flow[way])
	}
	g.pumps.Go(g.accept)
	return g, nil
}

func (g *gate) addr() string { return g.listener.Addr().String() }

func (g *gate) accept() {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			return // closed
		}
		g.pumps.Go(func() { g.serve(conn) })
	}
}

func (g *gate) serve(client net.Conn) {
	if g.refusing() {
		drop(client, reset)
		return
	}
	server, err := net.DialTimeout("tcp", g.target, 5*time.Second)
	if err != nil {
		drop(client, reset)
		return
	}
	l := &link{client: client, server: server}
	if !g.add(l) {
		drop(client, reset)
		drop(server, reset)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { g.pump(l, toServer, server, client) })
	both.Go(func() { g.pump(l, toClient, client, server) })
	both.Wait()
	g.mu.Lock()
	delete(g.links, l)
	g.mu.Unlock()
}

func (g *gate) refusing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refuses || g.closed
}

func (g *gate) add(l *link) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuses || g.closed { // meanwhile
		return false
	}
	g.links[l] = struct{}{}
	return true
}

// pump carries bytes one way. A link that has ended in one direction is over in both: neither HTTP clients nor WebSockets half-close.
func (g *gate) pump(l *link, way direction, to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			<-g.flowing(way)
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			kind := reset
			if errors.Is(err, io.EOF) {
				kind = finish
			}
			if errors.Is(err, net.ErrClosed) { // by a cut, which sees to the other end
				return
			}
			drop(l.client, kind)
			drop(l.server, kind)
			return
		}
	}
}

func (g *gate) flowing(way direction) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.flow[way]
}

// drop closes with a FIN, or with an RST that throws away what the kernel holds.
func drop(c net.Conn, kind cutKind) {
	if tcp, ok := c.(*net.TCPConn); ok && kind != finish {
		_ = tcp.SetLinger(0) // it fails on a connection that has ended
	}
	_ = c.Close()
}

// refuse tells whether new connections are reset.
func (g *gate) refuse(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuses = on
}

// cut ends all connections, each in a way of its own.
func (g *gate) cut(kind func() cutKind) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for l := range g.links {
		k := kind()
		drop(l.client, k)
		if k == abandoned {
			time.AfterFunc(silence, func() { drop(l.server, reset) })
		} else {
			drop(l.server, k)
		}
	}
}

// stall holds back the bytes of one direction, or of both, until flows is called; what is held arrives then.
func (g *gate) stall(ways ...direction) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, way := range ways {
		select {
		case <-g.flow[way]:
			g.flow[way] = make(chan struct{})
		default: // it is stalled
		}
	}
}

func (g *gate) flows() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, flow := range g.flow {
		select {
		case <-flow:
		default:
			close(flow)
		}
	}
}

// close ends everything and waits for it.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	_ = g.listener.Close()
	g.flows()
	g.cut(func() cutKind { return reset })
	g.pumps.Wait()
}
