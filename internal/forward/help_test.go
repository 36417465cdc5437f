package forward

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"go.uber.org/goleak"

	"github.com/parleychat/chat/internal/engineio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// A node is an engine that echoes, behind a Forwarder and an HTTP server.
type node struct {
	t        testing.TB
	tag      string
	engine   *engineio.Server
	forward  *Forwarder
	http     *httptest.Server
	peers    func(tag string) (address string, ok bool)
	seen     chan *http.Request // those that were passed on to it
	ended    chan engineio.Reason
	released chan string           // what Release was told
	wrong    atomic.Pointer[error] // what Failed was told last

	mu       sync.Mutex
	sessions []*engineio.Session
}

// echo is the handler of a session.
type echo struct {
	n *node
	s *engineio.Session
}

func (e *echo) Text(b []byte) error {
	e.s.Send(engineio.NewPacket(append(make([]byte, engineio.Headroom), b...)))
	return nil
}

func (e *echo) Binary(b []byte) error {
	e.s.Send(engineio.NewBinary(append([]byte(nil), b...)))
	return nil
}
func (e *echo) Closed(r engineio.Reason, _ []uint64) { e.n.ended <- r }

// newNodes makes nodes that know each other.
func newNodes(t testing.TB, wrap func(http.Handler) http.Handler, tags ...string) []*node {
	t.Helper()
	var nodes []*node
	peers := func(tag string) (string, bool) {
		for _, n := range nodes {
			if n.tag == tag {
				return n.http.URL, true
			}
		}
		return "", false
	}
	for _, tag := range tags {
		nodes = append(nodes, newNode(t, tag, peers, wrap))
	}
	return nodes
}

func newNode(t testing.TB, tag string, peers func(string) (string, bool), wrap func(http.Handler) http.Handler) *node {
	n := &node{t: t, tag: tag, peers: peers, seen: make(chan *http.Request, 10000), ended: make(chan engineio.Reason, 1000), released: make(chan string, 10)}
	n.engine = engineio.NewServer(engineio.Config{
		Tag: tag, PingInterval: time.Hour, PingTimeout: time.Hour, UpgradeTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		MaxPayload: 1_000_000, Outbox: 4 << 20, Legacy: true, LegacyUpgrades: true, GzipFrom: 1024,
		Accept: func(s *engineio.Session, _ *http.Request) (engineio.Handler, error) {
			n.mu.Lock()
			n.sessions = append(n.sessions, s)
			n.mu.Unlock()
			return &echo{n, s}, nil
		},
	})
	n.forward = New(Config{
		Tag: tag, Key: testKey, Client: func(r *http.Request) string { return "client of " + r.Header.Get("X-Who") },
		Answer: patience, Body: patience, Write: patience, Logger: slog.New(slog.DiscardHandler),
		Release: func(tag, sid string) {
			if tag == "node11" {
				n.released <- sid
			}
		},
		Failed: func(w http.ResponseWriter, _ *http.Request, err error) {
			n.wrong.Store(&err)
			w.WriteHeader(http.StatusServiceUnavailable)
		},
	})
	if wrap == nil {
		wrap = func(h http.Handler) http.Handler { return h }
	}
	n.http = httptest.NewUnstartedServer(wrap(http.HandlerFunc(n.serve)))
	n.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	n.http.Start()
	t.Cleanup(n.close)
	return n
}

// serve does what a Hub does.
func (n *node) serve(w http.ResponseWriter, r *http.Request) {
	client, passed, err := n.forward.Verify(r)
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if passed {
		r.RemoteAddr = client
		select {
		case n.seen <- r:
		default: // a benchmark's are more
		}
	} else if tag := engineio.TagOf(r); tag != n.tag && tag != "" {
		if address, ok := n.peers(tag); ok {
			n.forward.Serve(w, r, tag, address)
			return
		}
	}
	n.engine.ServeHTTP(w, r)
}

func (n *node) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n.engine.Refuse(&engineio.Refusal{Status: 503})
	n.mu.Lock()
	for _, s := range n.sessions {
		s.Abort(engineio.ReasonShutdown)
	}
	n.mu.Unlock()
	if !n.forward.Close(ctx.Done()) || !n.engine.Wait(ctx.Done()) {
		n.t.Errorf("node %s goes on", n.tag)
	}
	n.http.CloseClientConnections()
	n.http.Close()
}

func (n *node) wantWrong(want error) {
	n.t.Helper()
	if p := n.wrong.Load(); p == nil || *p != want {
		n.t.Errorf("Failed was told %v, want %v", p, want)
	}
}

// open opens a polling session at a node and gives its query.
func (n *node) open(eio string) (query string) {
	n.t.Helper()
	_, body := n.do("GET", "EIO="+eio+"&transport=polling", "")
	_, text, _ := strings.Cut(body, "0{")
	var o struct{ SID string }
	if err := json.Unmarshal([]byte("{"+text), &o); err != nil {
		n.t.Fatalf("%q: %v", body, err)
	}
	return "EIO=" + eio + "&transport=polling&sid=" + o.SID
}

func (n *node) request(ctx context.Context, method, query, body string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, n.http.URL+"/socket.io/?"+query, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

func (n *node) do(method, query, body string) (int, string) {
	n.t.Helper()
	res, text := n.send(n.request(n.t.Context(), method, query, body))
	return res.StatusCode, text
}

func (n *node) send(r *http.Request) (*http.Response, string) {
	n.t.Helper()
	res, err := n.http.Client().Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return res, string(b)
}

func (n *node) want(method, query, body string, status int, answer string) {
	n.t.Helper()
	if s, b := n.do(method, query, body); s != status || b != answer {
		n.t.Fatalf("%s: %d %.100q, want %d %.100q", method, s, b, status, answer)
	}
}

// later runs a GET beside the test, and returns when the node that has the session has it.
func (n *node) later(query string, at *node) <-chan int {
	c := make(chan int, 1)
	go func() {
		s, _ := n.do("GET", query, "")
		c <- s
	}()
	receive(n.t, at.seen)
	return c
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

// A sock is a test's WebSocket.
type sock struct {
	t    testing.TB
	conn net.Conn
	r    io.Reader
}

func (n *node) dial(query string) *sock {
	n.t.Helper()
	conn, err := net.Dial("tcp", n.http.Listener.Addr().String())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	u, _ := url.Parse("ws://test/socket.io/?" + strings.Replace(query, "polling", "websocket", 1))
	br, _, err := ws.Dialer{}.Upgrade(conn, u)
	if err != nil {
		n.t.Fatal(err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	return &sock{n.t, conn, br}
}

func (s *sock) send(text string) {
	s.t.Helper()
	if err := wsutil.WriteClientText(s.conn, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sock) want(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		got, _, err := wsutil.ReadServerData(struct {
			io.Reader
			io.Writer
		}{s.r, s.conn})
		if err != nil || string(got) != text {
			s.t.Fatalf("%.100q %v, want %.100q", got, err, text)
		}
	}
}

// ends wants nothing more but the end.
func (s *sock) ends() {
	s.t.Helper()
	if _, err := io.Copy(io.Discard, s.r); isTimeout(err) {
		s.t.Error("the WebSocket goes on")
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}
