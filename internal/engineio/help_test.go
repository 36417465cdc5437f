package engineio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

func testConfig() Config {
	return Config{
		PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, UpgradeTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		MaxPayload: 1_000_000, Outbox: 1 << 20, Legacy: true, LegacyUpgrades: true, GzipFrom: 1024,
	}
}

type end struct {
	reason Reason
	unsent []uint64
}

// A peer is the handler of a session, and the server's end of it in tests.
type peer struct {
	s       *Session
	in      chan string // what came; binary as "b:" and its text
	end     chan end
	handle  func(p *peer, msg string) error // instead of in
	inside  sync.Mutex                      // held in Text and Binary: TryLock fails where two run at once
	overlap bool
}

func (p *peer) take(msg string) error {
	if !p.inside.TryLock() {
		p.overlap = true
		return errors.New("two at once")
	}
	defer p.inside.Unlock()
	if p.handle != nil {
		return p.handle(p, msg)
	}
	p.in <- msg
	return nil
}

func (p *peer) Text(b []byte) error   { return p.take(string(b)) }
func (p *peer) Binary(b []byte) error { return p.take("b:" + string(b)) }
func (p *peer) Closed(r Reason, unsent []uint64) {
	if !p.inside.TryLock() {
		r = "closed before the last message returned"
	} else {
		p.inside.Unlock()
	}
	p.end <- end{r, unsent}
}

func textPacket(text string) *Packet {
	return NewPacket(append(make([]byte, Headroom, Headroom+len(text)), text...))
}

func tagged(tag uint64, text string) *Packet {
	p := textPacket(text)
	p.Tag = tag
	return p
}

func echo(p *peer, msg string) error {
	if b, ok := strings.CutPrefix(msg, "b:"); ok {
		p.s.Send(NewBinary([]byte(b)))
		return nil
	}
	p.s.Send(textPacket(msg))
	return nil
}

// A bench is a server under test, behind an HTTP server on loopback or on pipes.
type bench struct {
	t      testing.TB
	srv    *Server
	peers  chan *peer
	dial   func() (net.Conn, error)
	client *http.Client
	close  func()

	mu  sync.Mutex
	all []*Session
}

type setup struct {
	cfg    Config
	handle func(p *peer, msg string) error
	say    func(p *peer, r Reason) []*Packet // makes the peers a Farewell
	accept func(s *Session, r *http.Request) error
	wrap   func(http.Handler) http.Handler
	http   func(*http.Server)
	pipes  bool // net.Pipe, for synctest
}

func start(t testing.TB, edit func(*setup)) *bench {
	t.Helper()
	o := setup{cfg: testConfig(), wrap: func(h http.Handler) http.Handler { return h }, http: func(*http.Server) {}}
	if edit != nil {
		edit(&o)
	}
	b := &bench{t: t, peers: make(chan *peer, 10000)}
	o.cfg.Accept = func(s *Session, r *http.Request) (Handler, error) {
		if o.accept != nil {
			if err := o.accept(s, r); err != nil {
				return nil, err
			}
		}
		p := &peer{s: s, in: make(chan string, 4096), end: make(chan end, 2), handle: o.handle}
		b.peers <- p
		b.mu.Lock()
		b.all = append(b.all, s)
		b.mu.Unlock()
		if o.say != nil {
			return &teller{p, o.say}, nil
		}
		return p, nil
	}
	b.srv = NewServer(o.cfg)
	var l net.Listener
	if o.pipes {
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		l, b.dial = p, p.dial
	} else {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		b.dial = func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
	}
	hs := &http.Server{Handler: o.wrap(b.srv), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	o.http(hs)
	served := make(chan struct{})
	go func() { defer close(served); _ = hs.Serve(l) }()
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return b.dial() }, MaxIdleConnsPerHost: 100}
	b.client = &http.Client{Transport: tr}
	b.close = sync.OnceFunc(func() {
		b.srv.Refuse(&Refusal{Status: 503})
		b.mu.Lock()
		for _, s := range b.all {
			s.Abort(ReasonShutdown)
		}
		b.mu.Unlock()
		tr.CloseIdleConnections()
		_ = hs.Close()
		<-served
		done := make(chan struct{})
		timer := time.AfterFunc(patience, func() { close(done) })
		defer timer.Stop()
		if !b.srv.Wait(done) {
			t.Errorf("server still has %d sessions, %d things under way", b.srv.Len(), b.srv.gate.n.Load())
		}
		if b.srv.Len() != 0 {
			t.Errorf("Len is %d after Wait", b.srv.Len())
		}
	})
	t.Cleanup(b.close)
	return b
}

// pipes is a listener whose connections are net.Pipes.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
func (p *pipes) dial() (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case p.conns <- a:
		return b, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// peer gives the server's end of the session that was opened last.
func (b *bench) peer() *peer {
	b.t.Helper()
	return receive(b.t, b.peers)
}

func receive[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v = <-c:
	case <-timer.C:
		t.Fatal("nothing came")
	}
	return v
}

func (p *peer) wantEnd(t testing.TB, want Reason) end {
	t.Helper()
	e := receive(t, p.end)
	if e.reason != want {
		t.Errorf("session ended by %q, want %q", e.reason, want)
	}
	return e
}

func (p *peer) want(t testing.TB, msgs ...string) {
	t.Helper()
	for _, m := range msgs {
		if got := receive(t, p.in); got != m {
			t.Fatalf("got message %q, want %q", got, m)
		}
	}
}

type reply struct {
	status int
	body   string
	header http.Header
	err    error
}

func (b *bench) do(method, query, contentType, body string) reply {
	return b.doContext(context.Background(), method, query, contentType, body)
}

func (b *bench) doContext(ctx context.Context, method, query, contentType, body string) reply {
	r, _ := http.NewRequestWithContext(ctx, method, "http://test/engine.io/?"+query, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, string(data), resp.Header, err}
}

func (b *bench) get(query string) reply        { return b.do("GET", query, "", "") }
func (b *bench) post(query, body string) reply { return b.do("POST", query, "text/plain", body) }

// later runs a GET beside the test.
func (b *bench) later(query string) <-chan reply {
	c := make(chan reply, 1)
	go func() { c <- b.get(query) }()
	return c
}

func (r reply) want(t testing.TB, status int, body string) {
	t.Helper()
	if r.err != nil || r.status != status || r.body != body {
		t.Fatalf("answer %d %q %v, want %d %q", r.status, r.body, r.err, status, body)
	}
}

// open opens a polling session and gives the query of its further requests.
func (b *bench) open(eio int, more string) string {
	b.t.Helper()
	r := b.get(fmt.Sprintf("EIO=%d&transport=polling%s", eio, more))
	if r.status != 200 {
		b.t.Fatalf("handshake: %d %s %v", r.status, r.body, r.err)
	}
	_, text, _ := strings.Cut(r.body, "0{")
	var o struct{ SID string }
	if err := json.Unmarshal([]byte("{"+text), &o); err != nil {
		b.t.Fatalf("open packet %q: %v", r.body, err)
	}
	return fmt.Sprintf("EIO=%d&transport=polling&sid=%s", eio, o.SID)
}

// A sock is a test's WebSocket.
type sock struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// ws opens a WebSocket.
func (b *bench) ws(query string) *sock {
	b.t.Helper()
	s, err := b.tryWS(query, ws.Dialer{})
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bench) tryWS(query string, d ws.Dialer) (*sock, error) {
	conn, err := b.dial()
	if err != nil {
		return nil, err
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	u, _ := url.Parse("ws://test/engine.io/?" + query)
	r, _, err := d.Upgrade(conn, u)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = bufio.NewReader(conn)
	}
	return &sock{t: b.t, conn: conn, r: r}, nil
}

// openWS opens a session by WebSocket and takes the open packet.
func (b *bench) openWS(eio int) *sock {
	b.t.Helper()
	c := b.ws(fmt.Sprintf("EIO=%d&transport=websocket", eio))
	if m := c.read(); !strings.HasPrefix(m, "0{") {
		b.t.Fatalf("first message is %q", m)
	}
	return c
}

func (b *bench) probe(query string) *sock {
	b.t.Helper()
	c := b.ws(strings.Replace(query, "polling", "websocket", 1))
	c.send("2probe")
	c.want("3probe")
	return c
}

func frameOf(op ws.OpCode, data []byte) []byte {
	var b bytes.Buffer
	_ = ws.WriteFrame(&b, ws.MaskFrame(ws.NewFrame(op, true, bytes.Clone(data))))
	return b.Bytes()
}

func (c *sock) send(texts ...string) {
	for _, m := range texts {
		c.raw(frameOf(ws.OpText, []byte(m)))
	}
}

func (c *sock) raw(b []byte) {
	_, _ = c.conn.Write(b) // what does not arrive shows in what is read
}

// read gives the next message: binary as "b:" and its text, a close as "close" and its code, the end as "end".
func (c *sock) read() string { return c.readWithin(patience) }

func (c *sock) readWithin(d time.Duration) string {
	_ = c.conn.SetReadDeadline(time.Now().Add(d))
	//lint:ignore SA1019 the peer, which declares the lengths, is our own server
	f, err := ws.ReadFrame(c.r)
	if err != nil {
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			c.t.Error("nothing came on the WebSocket")
		}
		_ = c.conn.Close()
		return "end"
	}
	switch f.Header.OpCode {
	case ws.OpClose:
		code, _ := ws.ParseCloseFrameData(f.Payload)
		return fmt.Sprintf("close %d", code)
	case ws.OpBinary:
		return "b:" + string(f.Payload)
	case ws.OpPong:
		return "pong:" + string(f.Payload)
	}
	return string(f.Payload)
}

func (c *sock) want(msgs ...string) {
	c.t.Helper()
	for _, m := range msgs {
		if got := c.read(); got != m {
			c.t.Fatalf("read %.200q, want %.200q", got, m)
		}
	}
}
