package chattest

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// A server serves one client's connections in memory.
type server struct {
	http   http.Server
	addr   string // of the client
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	done   sync.WaitGroup

	mu   sync.Mutex
	open []net.Conn // the client's ends
}

func serve(h http.Handler, addr string) *server {
	s := &server{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
	s.http.Handler = h
	s.http.ErrorLog = log.New(io.Discard, "", 0)
	s.done.Go(func() { _ = s.http.Serve(s) })
	return s
}

func (s *server) dial(ctx context.Context) (net.Conn, error) {
	client, srv := net.Pipe()
	select {
	case s.conns <- addrConn{srv, addr(s.addr)}:
	case <-s.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, client)
	return client, nil
}

// cut closes all that the client has open.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		_ = c.Close()
	}
	s.open = nil
}

func (s *server) stop() {
	s.cut()
	_ = s.http.Close()
	s.done.Wait()
}

// Accept, Close and Addr make s a net.Listener.
func (s *server) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closed:
		return nil, errors.Join(net.ErrClosed)
	}
}

func (s *server) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *server) Addr() net.Addr { return addr("192.0.2.2:80") }

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

type addrConn struct {
	net.Conn
	remote addr
}

func (c addrConn) RemoteAddr() net.Addr { return c.remote }
func (c addrConn) LocalAddr() net.Addr  { return addr("192.0.2.2:80") }
