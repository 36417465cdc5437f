package forward

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/parleychat/chat/internal/engineio"
)

// tunnel passes on a WebSocket: the opening handshake, and then bytes both ways. While nothing comes it costs two connections and two small stacks.
func (f *Forwarder) tunnel(w http.ResponseWriter, r *http.Request, tag string, to *url.URL, fl *flight) {
	far, br, res, err := f.shakeHands(r, tag, to)
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		relay(w, res)
		_ = far.Close()
		f.end(tag, fl)
		return
	}
	var near net.Conn
	var buffered []byte
	if err == nil {
		near, buffered, err = takeOver(w, f.cfg.Write, res)
	}
	if err != nil {
		if far != nil {
			_ = far.Close()
		}
		if near == nil {
			f.fail(w, r, tag, err)
		} else {
			_ = near.Close()
		}
		f.end(tag, fl)
		return
	}
	f.join(tag, fl, near, far, buffered, br)
}

// shakeHands asks the other node for the WebSocket. Its connection is the caller's, where it is not nil.
func (f *Forwarder) shakeHands(r *http.Request, tag string, to *url.URL) (net.Conn, *bufio.Reader, *http.Response, error) {
	conn, err := f.dial(r.Context(), to)
	if err != nil {
		return nil, nil, nil, err
	}
	stop := context.AfterFunc(r.Context(), func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	out := r.Clone(r.Context())
	out.URL, out.Body, out.ContentLength = to, nil, 0
	out.Header.Set("Connection", "Upgrade")
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header.Set("User-Agent", "") // or Go's takes its place
	}
	f.prove(out, r, tag)
	_ = conn.SetDeadline(time.Now().Add(f.cfg.Answer))
	if err := out.Write(conn); err != nil {
		return conn, nil, nil, err
	}
	br := bufio.NewReaderSize(conn, 1024)
	res, err := http.ReadResponse(br, out)
	if err == nil && !stop() {
		err = context.Cause(r.Context())
	}
	return conn, br, res, err
}

func (f *Forwarder) dial(ctx context.Context, to *url.URL) (net.Conn, error) {
	address := to.Host
	if to.Port() == "" {
		address = net.JoinHostPort(to.Hostname(), map[string]string{"http": "80", "https": "443"}[to.Scheme])
	}
	if to.Scheme == "https" {
		d := tls.Dialer{NetDialer: &f.dialer, Config: f.tls}
		return d.DialContext(ctx, "tcp", address)
	}
	return f.dialer.DialContext(ctx, "tcp", address)
}

// relay answers with what the other node has said to a WebSocket that it does not take.
func relay(w http.ResponseWriter, res *http.Response) {
	h := w.Header()
	for name, values := range res.Header {
		if name != "Connection" && name != "Transfer-Encoding" {
			h[name] = values
		}
	}
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(res.Body, refusalMost)) // a client that is gone does not want it
	_ = res.Body.Close()
}

const refusalMost = 64 << 10

// takeOver makes the request's connection the tunnel's and writes the answer to it. Where it fails without a connection nothing was answered yet.
func takeOver(w http.ResponseWriter, within time.Duration, res *http.Response) (near net.Conn, buffered []byte, err error) {
	near, rw, err := engineio.Hijack(w)
	if err != nil {
		return nil, nil, err
	}
	if n := rw.Reader.Buffered(); n > 0 {
		b, _ := rw.Reader.Peek(n)
		buffered = bytes.Clone(b)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %s\r\n", res.Status)
	_ = res.Header.Write(&b)
	b.WriteString("\r\n")
	_ = near.SetDeadline(time.Now().Add(within))
	_, err = near.Write(b.Bytes())
	return near, buffered, err
}

// A pair is the two ends of a tunnel.
type pair struct {
	near, far net.Conn
	within    time.Duration // of a write
	left      atomic.Int32  // directions that go on
	ended     func()
}

// join lets bytes go both ways until both ends have ended, one fails, or the flight is cut. It returns at once: the request and its buffers go.
func (f *Forwarder) join(tag string, fl *flight, near, far net.Conn, buffered []byte, br *bufio.Reader) {
	rest, _ := br.Peek(br.Buffered())
	_ = near.SetDeadline(time.Time{})
	_ = far.SetDeadline(time.Time{})
	p := &pair{near: near, far: far, within: 2 * f.cfg.Write} // the other node, whose client it is, is the first to lose patience
	p.ended = func() { f.end(tag, fl) }
	p.left.Store(2)
	f.recut(fl, func(error) { p.close() })
	go p.pump(far, near, buffered)
	go p.pump(near, far, bytes.Clone(rest))
}

// pump writes first and then what comes from src to dst. Where src has ended, dst is told; what goes the other way may go on.
func (p *pair) pump(dst, src net.Conn, first []byte) {
	in := engineio.NewWaiter(src)
	var err error
	for b := first; err == nil; b, err = in.Next() {
		if len(b) == 0 {
			continue
		}
		_ = dst.SetWriteDeadline(time.Now().Add(p.within))
		if _, failed := dst.Write(b); failed != nil {
			err = failed
			break
		}
	}
	in.Release()
	half, ok := dst.(interface{ CloseWrite() error })
	if err != io.EOF || !ok || half.CloseWrite() != nil {
		p.close()
	}
	if p.left.Add(-1) == 0 {
		p.close()
		p.ended()
	}
}

func (p *pair) close() {
	_ = p.near.Close()
	_ = p.far.Close()
}
