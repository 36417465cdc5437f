package redis_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between a node and Redis, and can cut it off.
type proxy struct {
	listener net.Listener
	to       string
	tasks    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	conns  map[net.Conn]bool
	cut    bool          // what connects is closed at once
	silent chan struct{} // nil, or closed when bytes go on
	closed bool
	count  int // of connections that were accepted
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, conns: map[net.Conn]bool{}}
	p.tasks.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.count++
		p.mu.Unlock()
		if !p.add(in) {
			continue
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			p.remove(in)
			continue
		}
		if !p.add(out) {
			p.remove(in)
			continue
		}
		p.tasks.Go(func() { p.copy(in, out) })
		p.tasks.Go(func() { p.copy(out, in) })
	}
}

func (p *proxy) accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

func (p *proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut || p.closed {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) remove(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

func (p *proxy) copy(to, from net.Conn) {
	defer p.remove(to)
	defer p.remove(from)
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		silent := p.silent
		p.mu.Unlock()
		if silent != nil {
			<-silent
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err == io.EOF || err != nil {
			return
		}
	}
}

// sever closes all connections and refuses new ones, until mend.
func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close()
	}
}

// hush holds back all bytes, until mend.
func (p *proxy) hush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = make(chan struct{})
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	if p.silent != nil {
		close(p.silent)
		p.silent = nil
	}
}

func (p *proxy) close() {
	p.mend()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	_ = p.listener.Close()
	p.tasks.Wait()
}
