package engineio

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

// WantsWebSocket tells whether r is a WebSocket's opening handshake (RFC 6455, section 4.2.1).
func WantsWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) && r.ProtoMajor == 1 &&
		strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		slices.ContainsFunc(r.Header.Values("Connection"), func(v string) bool {
			return slices.ContainsFunc(strings.Split(v, ","), func(t string) bool {
				return strings.EqualFold(strings.TrimSpace(t), "upgrade")
			})
		}) &&
		len(r.Header.Get("Sec-WebSocket-Key")) == 24 && r.Header.Get("Sec-WebSocket-Version") == "13"
}

// accept answers the opening handshake. rest is what the client has sent after it. Where answer is not nil
// the answer is put there instead of being written.
func (srv *Server) accept(w http.ResponseWriter, r *http.Request, s *Session, answer *bytes.Buffer) (c *wsConn, rest []byte, err error) {
	up := ws.HTTPUpgrader{Timeout: srv.cfg.WriteTimeout}
	if answer != nil {
		up.Timeout = 0
	}
	w = hijacker{w, answer}
	var ext *wsflate.Extension
	if srv.cfg.Compression && s.version == 4 {
		ext = &wsflate.Extension{Parameters: wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}}
		up.Negotiate = func(o httphead.Option) (httphead.Option, error) { return ext.Negotiate(o) }
	}
	conn, rw, _, err := up.Upgrade(r, w)
	if err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return nil, nil, err
	}
	if n := rw.Reader.Buffered(); n > 0 {
		b, _ := rw.Reader.Peek(n)
		rest = slices.Clone(b)
	}
	c = &wsConn{conn: conn, raw: rawConn(conn), s: s}
	if ext != nil {
		_, c.deflate = ext.Accepted()
	}
	c.ready = c.tryRead
	return c, rest, nil
}

// A hijacker finds the connection behind a host's middleware. Where kept is not nil it keeps back what the
// one who hijacks writes.
type hijacker struct {
	http.ResponseWriter
	kept *bytes.Buffer
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := Hijack(h.ResponseWriter)
	if err == nil && h.kept != nil {
		rw.Writer.Reset(h.kept)
	}
	return conn, rw, err
}

// Hijack is what http.ResponseController does, and goes on where a writer has the method but cannot use it:
// that of chi's Compress fails on a writer below that tells only what it wraps.
func Hijack(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
	err := fmt.Errorf("hijack: %w", http.ErrNotSupported)
	for {
		if h, ok := w.(http.Hijacker); ok {
			conn, rw, failed := h.Hijack()
			if failed == nil {
				return conn, rw, nil
			}
			err = failed
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil, nil, err
		}
		w = u.Unwrap()
	}
}
