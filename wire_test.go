package chat_test

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// pipes is a listener in memory, for bubbles of testing/synctest.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 80} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// serveInMemory serves h until the test ends.
func serveInMemory(t testing.TB, h http.Handler) *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	var done sync.WaitGroup
	done.Go(func() { _ = srv.Serve(p) })
	t.Cleanup(func() {
		_ = srv.Close()
		done.Wait()
	})
	return p
}

// client makes requests to what p serves.
func (p *pipes) client(t testing.TB) *http.Client {
	tr := &http.Transport{DialContext: p.dial}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// wire is a WebSocket client that sends what it is told to, in any number of namespaces, and keeps what comes.
type wire struct {
	conn net.Conn
	over chan struct{} // closed with the connection

	writing sync.Mutex // a reader must not wait for it: who is written to may wait to be read from

	mu    sync.Mutex // guards what follows
	texts []string

	code ws.StatusCode // of the close frame; 0: none came
}

// dialWire connects with EIO of that version.
func dialWire(t testing.TB, p *pipes, version string, header http.Header) *wire {
	t.Helper()
	d := ws.Dialer{NetDial: p.dial, Header: ws.HandshakeHeaderHTTP(header)}
	conn, br, _, err := d.Dial(t.Context(), "ws://chat.test/socket.io/?EIO="+version+"&transport=websocket")
	if err != nil {
		t.Fatal(err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	w := &wire{conn: conn, over: make(chan struct{})}
	go w.read(br)
	t.Cleanup(func() {
		_ = conn.Close()
		<-w.over
	})
	return w
}

func (w *wire) read(r io.Reader) {
	defer close(w.over)
	defer w.conn.Close()
	for {
		h, err := ws.ReadHeader(r)
		if err != nil {
			return
		}
		data := make([]byte, h.Length)
		if _, err := io.ReadFull(r, data); err != nil {
			return
		}
		switch {
		case h.OpCode == ws.OpClose:
			w.code, _ = ws.ParseCloseFrameData(data) // to be read when over is closed
			return
		case string(data) == "2":
			w.writing.Lock()
			_ = wsutil.WriteClientText(w.conn, []byte("3")) // the connection may be over
			w.writing.Unlock()
		default:
			w.mu.Lock()
			w.texts = append(w.texts, string(data))
			w.mu.Unlock()
		}
	}
}

func (w *wire) send(t testing.TB, texts ...string) {
	t.Helper()
	w.writing.Lock()
	defer w.writing.Unlock()
	for _, text := range texts {
		if err := wsutil.WriteClientText(w.conn, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
}

// try sends what the server may not read to its end.
func (w *wire) try(text string) {
	w.writing.Lock()
	defer w.writing.Unlock()
	_ = wsutil.WriteClientText(w.conn, []byte(text))
}

// take gives the first text with that prefix that was not taken yet; ok is false where there is none.
func (w *wire) take(prefix string) (text string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.texts, func(s string) bool { return strings.HasPrefix(s, prefix) })
	if i < 0 {
		return "", false
	}
	text = w.texts[i]
	w.texts = slices.Delete(w.texts, i, i+1)
	return text, true
}

// want is take for what must have come.
func (w *wire) want(t testing.TB, prefix string) string {
	t.Helper()
	text, ok := w.take(prefix)
	if !ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		t.Fatalf("no %q; there are %q", prefix, w.texts)
	}
	return text
}

func (w *wire) isOver() bool {
	select {
	case <-w.over:
		return true
	default:
		return false
	}
}
