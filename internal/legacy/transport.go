package legacy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/googollee/go-socket.io/engineio/frame"
	iopacket "github.com/googollee/go-socket.io/engineio/packet"
	"github.com/googollee/go-socket.io/engineio/transport"

	"github.com/parleychat/chat/internal/engineio"
)

// entrance is the only transport that go-socket.io knows. It takes the connection out of the request's context.
type entrance struct{}

const entranceName = "chat"

type connKey struct{}

func (entrance) Name() string { return entranceName }

func (entrance) Accept(_ http.ResponseWriter, r *http.Request) (transport.Conn, error) {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok {
		return nil, errors.New("legacy: a request from outside")
	}
	return &pipe{c: c}, nil
}

func (entrance) Dial(*url.URL, http.Header) (transport.Conn, error) {
	return nil, errors.ErrUnsupported
}

// enterIO makes c one of go-socket.io's connections. Of the three requests that would do so in Engine.IO this
// is the only one that go-socket.io ever gets, once a session: its polling, sid check, upgrade and payload
// code never run.
func (s *Server) enterIO(c *conn) {
	r := (&http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{RawQuery: "transport=" + entranceName},
		Header: http.Header{},
	}).WithContext(context.WithValue(context.Background(), connKey{}, c))
	s.io.ServeHTTP(&discard{}, r)
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}
func (*discard) Write(p []byte) (int, error) { return len(p), nil }
func (*discard) WriteHeader(int)             {}

// sameID gives all of go-socket.io's connections one id. Nothing looks a connection up by it here; but
// go-socket.io puts each into a room of its id, and each disconnect scans all rooms under a lock that all
// share (broadcast.go:64). So there is one room, with the connection in it that came last.
type sameID struct{}

func (sameID) NewID() string { return "legacy" }

// A pipe is a connection's transport as go-socket.io sees it. Only the goroutine that reads calls NextReader
// and Close; NextWriter and its writers are used by one goroutine at a time.
type pipe struct {
	c       *conn
	text    []byte   // of an outgoing packet whose attachments are not complete, after engineio.Headroom bytes
	buffers [][]byte // its attachments so far
	missing int
}

// NextReader waits for the next canonical frame. After the session's end it gives io.EOF.
func (p *pipe) NextReader() (frame.Type, iopacket.Type, io.ReadCloser, error) {
	text, ok := p.c.nextFrame()
	if !ok {
		return 0, 0, nil, io.EOF
	}
	r := &reader{}
	r.Reset(text)
	return frame.String, iopacket.MESSAGE, r, nil
}

// NextWriter never fails: go-socket.io would leak the session for ever (server.go:219), or not take notice
// (server.go:273).
func (p *pipe) NextWriter(ft frame.Type, pt iopacket.Type) (io.WriteCloser, error) {
	w := &writer{p: p, binary: ft == frame.Binary, message: pt == iopacket.MESSAGE}
	if w.message && !w.binary {
		w.buf = make([]byte, engineio.Headroom, 128)
	}
	return w, nil
}

// Close is called when go-socket.io has read its last frame: after it there are no more events.
func (p *pipe) Close() error {
	p.c.release()
	return nil
}

// The local address leads go-socket.io's handlers back to the connection.
func (p *pipe) LocalAddr() net.Addr              { return p.c }
func (p *pipe) RemoteAddr() net.Addr             { return p.c }
func (p *pipe) URL() url.URL                     { return url.URL{} }
func (p *pipe) RemoteHeader() http.Header        { return nil }
func (p *pipe) SetReadDeadline(time.Time) error  { return nil }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

// A reader is a frame. It has ReadByte and UnreadByte, without which the decoder would wrap it into a buffer
// of 4 KiB.
type reader struct{ bytes.Reader }

func (*reader) Close() error { return nil }

// A writer gathers one frame in memory. It has WriteByte for the same reason.
type writer struct {
	p       *pipe
	buf     []byte
	binary  bool
	message bool // no Engine.IO packet else leaves: our engine has sent the OPEN
}

func (w *writer) Write(b []byte) (int, error) {
	w.buf = append(w.buf, b...)
	return len(b), nil
}

func (w *writer) WriteByte(b byte) error {
	w.buf = append(w.buf, b)
	return nil
}

// Close hands the packet on when it is whole.
func (w *writer) Close() error {
	switch p := w.p; {
	case !w.message:
	case w.binary:
		p.buffers = append(p.buffers, w.buf)
		if p.missing--; p.missing == 0 {
			p.flush()
		}
	default:
		p.text, p.buffers = w.buf, nil
		if p.missing = announced(w.buf[engineio.Headroom:]); p.missing == 0 {
			p.flush()
		}
	}
	return nil
}

func (p *pipe) flush() {
	text, buffers := p.text, p.buffers
	p.text, p.buffers = nil, nil
	p.c.written(text, buffers)
}

// announced is the number of attachments that follow what go-socket.io has written. An encoder that failed
// has written less than a whole packet, and then nothing follows, whatever the header says.
func announced(text []byte) int {
	if len(text) == 0 || text[0] != typeBinaryEvent && text[0] != typeBinaryAck || text[len(text)-1] != '\n' {
		return 0
	}
	n := 0
	for _, c := range text[1:] {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}
