package engineio

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// plainWriter is a middleware's response writer that can do nothing but write.
type plainWriter struct{ w http.ResponseWriter }

func (p plainWriter) Header() http.Header         { return p.w.Header() }
func (p plainWriter) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p plainWriter) WriteHeader(status int)      { p.w.WriteHeader(status) }

// unwrapper is one that tells what it wraps.
type unwrapper struct{ plainWriter }

func (u unwrapper) Unwrap() http.ResponseWriter { return u.w }

// A host's timeouts are for its ordinary requests; a poll that waits longer, and the requests after it on the
// same connection, are served.
func TestHostTimeouts(t *testing.T) {
	bubble(t, func(o *setup) {
		o.handle = echo
		o.http = func(hs *http.Server) {
			hs.ReadTimeout, hs.WriteTimeout, hs.IdleTimeout = 2*time.Second, 2*time.Second, time.Minute
		}
		o.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(unwrapper{plainWriter{w}}, r) })
		}
	}, func(t *testing.T, b *bench) {
		q := b.open(4, "")
		for range 3 {
			began := time.Now()
			b.get(q).want(t, 200, "2")
			after(t, began, 25*time.Second, grain)
			b.post(q, "3").want(t, 200, "ok")
		}
		c := b.probe(q)
		c.send("5")
		for range 3 {
			if m := c.readSlow(); m != "2" {
				t.Fatalf("read %q", m)
			}
			c.send("3", "4x")
			c.want("4x")
		}
	})
}

// Where a middleware hides the deadlines, a poll is answered before the host's end it.
func TestHostTimeoutsHidden(t *testing.T) {
	bubble(t, func(o *setup) {
		o.handle = echo
		o.http = func(hs *http.Server) { hs.ReadTimeout, hs.WriteTimeout = 20*time.Second, 16*time.Second }
		o.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(plainWriter{w}, r) })
		}
	}, func(t *testing.T, b *bench) {
		q := b.open(4, "")
		for range 3 {
			for range 3 {
				began := time.Now()
				b.get(q).want(t, 200, "6")
				after(t, began, 8*time.Second, grain)
			}
			b.get(q).want(t, 200, "2")
			b.post(q, "3").want(t, 200, "ok")
		}
	})
}

// A middleware that hides what its response writer can do breaks no polling; an upgrade is refused.
func TestPlainMiddleware(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) {
		o.handle = echo
		o.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(plainWriter{w}, r) })
		}
	})
	q := b.open(4, "")
	b.post(q, "4x").want(t, 200, "ok")
	b.get(q).want(t, 200, "4x")
	r, _ := http.NewRequest("GET", "http://test/?EIO=4&transport=websocket", nil)
	for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		r.Header.Set(k, v)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 500 {
		t.Errorf("status %d", resp.StatusCode)
	}
	b.post(q, "4y").want(t, 200, "ok")
}

// stuck is one whose Hijack needs of the writer below what that does not have.
type stuck struct{ unwrapper }

func (stuck) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("the writer below is no Hijacker")
}

// A middleware that announces gzip, by either header, compresses by itself: what it is given must not be
// compressed already.
func TestCompressingMiddleware(t *testing.T) {
	t.Parallel()
	for header, value := range map[string]string{"Content-Encoding": "gzip", "Vary": "Origin, accept-encoding"} {
		t.Run(header, func(t *testing.T) { t.Parallel(); underCompression(t, header, value) })
	}
}

func underCompression(t *testing.T, header, value string) {
	b := start(t, func(o *setup) {
		o.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && r.URL.Query().Get("transport") == "polling" {
					w.Header().Set(header, value)
					z := gzip.NewWriter(w)
					defer z.Close()
					w = compressing{stuck{unwrapper{plainWriter{w}}}, z}
				}
				h.ServeHTTP(stuck{unwrapper{plainWriter{w}}}, r)
			})
		}
	})
	long := strings.Repeat("long ", 1000)
	q := b.open(4, "")
	b.peer().s.Send(textPacket(long))
	b.get(q).want(t, 200, "4"+long)          // the transport asks for gzip and unpacks
	b.ws("EIO=4&transport=websocket").read() // the open packet
}

// compressing gives what is written to z, and passes no length on.
type compressing struct {
	stuck
	z *gzip.Writer
}

func (c compressing) Write(b []byte) (int, error) {
	c.Header().Del("Content-Length")
	c.Header().Set("Content-Encoding", "gzip")
	return c.z.Write(b)
}

// A body that never ends does not outlive the session's own time by much.
func TestBodyThatStalls(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *bench) {
		q := b.open(4, "")
		began := time.Now()
		conn, err := b.dial()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "POST /?"+q+" HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n4")
		e := <-b.peer().end
		if e.reason != ReasonPingTimeout && e.reason != ReasonTransportError {
			t.Errorf("ended by %q", e.reason)
		}
		after(t, began, 45*time.Second, grain)
		_ = conn.Close()
	})
}
