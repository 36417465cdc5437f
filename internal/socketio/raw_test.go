package socketio_test

import (
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// raw is a WebSocket that knows nothing of the protocol. What comes is kept: text as it is, binary as b and
// hexadecimal, and closed at the end. The open packet is left out.
type raw struct {
	conn net.Conn
	out  chan func()
	mu   sync.Mutex
	got  []string
}

type oneConn struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func dialRaw(t *testing.T, h http.Handler) *raw {
	l := &oneConn{make(chan net.Conn, 1), make(chan struct{})}
	srv := http.Server{Handler: h}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { close(l.done) })
	client, server := net.Pipe()
	l.conns <- server
	d := ws.Dialer{NetDial: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
	conn, br, _, err := d.Dial(context.Background(), "ws://x/?EIO=4&transport=websocket")
	if err != nil {
		t.Fatal(err)
	}
	r := &raw{conn: conn, out: make(chan func(), 1000)}
	t.Cleanup(func() { close(r.out) })
	go func() {
		for f := range r.out {
			f()
		}
	}()
	rw := readWriter{conn, conn}
	if br != nil {
		rw.Reader = br
	}
	if _, _, err := wsutil.ReadServerData(rw); err != nil { // the open packet
		t.Fatal(err)
	}
	go r.read(rw)
	return r
}

type readWriter struct {
	io.Reader
	io.Writer
}

func (r *raw) read(rw io.ReadWriter) {
	for {
		data, op, err := wsutil.ReadServerData(rw)
		text := string(data)
		switch {
		case err != nil:
			text = "closed"
			_ = r.conn.Close()
		case op == ws.OpBinary:
			text = "b" + hex.EncodeToString(data)
		}
		r.mu.Lock()
		r.got = append(r.got, text)
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (r *raw) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

func (r *raw) send(messages ...string) {
	for _, m := range messages {
		r.out <- func() { _ = wsutil.WriteClientText(r.conn, []byte(m)) }
	}
}

func (r *raw) sendBinary(data []byte) {
	r.out <- func() { _ = wsutil.WriteClientBinary(r.conn, data) }
}

func (r *raw) Close() { _ = r.conn.Close() }
