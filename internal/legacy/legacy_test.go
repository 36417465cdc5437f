package legacy

import (
	"context"

	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testLimits = socketio.Limits{Depth: 64, Attachments: 10, Payload: 1 << 20}

// patience bounds what a test waits for; it is spent by failing tests only.
const patience = 10 * time.Second

// fakeHub is a Backend whose namespaces, decisions and sockets a test sets.
type fakeHub struct {
	namespaces []string
	authorize  func(ctx context.Context, req *socketio.ConnectRequest) *socketio.ConnectError
	enter      func(link socketio.Link) bool // false: takes nobody in
	onEvent    func(s *fakeSocket, e socketio.Event)
	onClosed   func(s *fakeSocket)

	mu      sync.Mutex
	dropped []string
	asked   []*socketio.ConnectRequest
	tickets int // given and not yet handed back
	voided  int

	entered chan *fakeSocket
}

func newHub(namespaces ...string) *fakeHub {
	return &fakeHub{namespaces: append(namespaces, "/"), entered: make(chan *fakeSocket, 1000)}
}

func (h *fakeHub) Known(n string) bool { return slices.Contains(h.namespaces, n) }

func (h *fakeHub) Authorize(ctx context.Context, req *socketio.ConnectRequest) (socketio.Ticket, *socketio.ConnectError) {
	h.mu.Lock()
	h.asked = append(h.asked, req)
	h.mu.Unlock()
	if h.authorize != nil {
		if err := h.authorize(ctx, req); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	h.tickets++
	h.mu.Unlock()
	return &fakeTicket{h, req.Namespace}, nil
}

func (h *fakeHub) Enter(t socketio.Ticket, link socketio.Link) socketio.Socket {
	link.Accepted("sid", "")
	h.mu.Lock()
	h.tickets--
	h.mu.Unlock()
	s := &fakeSocket{hub: h, namespace: t.(*fakeTicket).namespace, link: link, events: make(chan socketio.Event, 2000), closed: make(chan engineio.Reason, 10)}
	if h.enter != nil && !h.enter(link) {
		return nil
	}
	h.entered <- s
	return s
}

func (h *fakeHub) Dropped(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropped = append(h.dropped, what)
}

func (h *fakeHub) drops() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.dropped)
}

type fakeTicket struct {
	hub       *fakeHub
	namespace string
}

func (t *fakeTicket) Void() {
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	t.hub.tickets--
	t.hub.voided++
}

type fakeSocket struct {
	hub       *fakeHub
	namespace string
	link      socketio.Link
	events    chan socketio.Event
	closed    chan engineio.Reason
}

func (s *fakeSocket) Event(e socketio.Event) {
	if s.hub.onEvent != nil {
		s.hub.onEvent(s, e)
	}
	s.events <- e
}

func (s *fakeSocket) Closed(reason engineio.Reason, _ []uint64) {
	if s.hub.onClosed != nil {
		s.hub.onClosed(s)
	}
	s.closed <- reason
}

// fakeSession records what is sent, in place of an engine's session.
type fakeSession struct {
	sent   chan *engineio.Packet
	closed chan engineio.Reason // the first Close

	mu   sync.Mutex
	over bool
}

func newSession() *fakeSession {
	return &fakeSession{sent: make(chan *engineio.Packet, 5000), closed: make(chan engineio.Reason, 1)}
}

func (s *fakeSession) Send(p *engineio.Packet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.sent <- p
	return true
}

func (s *fakeSession) Close(r engineio.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over = true
		s.closed <- r
	}
}

func (s *fakeSession) Settle()           {}
func (s *fakeSession) RequestID() string { return "" }

// A rig is one session under test.
type rig struct {
	*testing.T
	hub *fakeHub
	srv *Server
	out *fakeSession
	h   engineio.Handler
	end sync.Once
}

func testConfig(hub *fakeHub) *socketio.Config {
	return &socketio.Config{Backend: hub, Limits: testLimits, ConnectTimeout: patience, KeepHandshake: len(hub.namespaces) > 1, Farewell: tells}
}

func newServer(t *testing.T, hub *fakeHub) *Server {
	return New(testConfig(hub), hub.namespaces)
}

func open(t *testing.T, srv *Server, hub *fakeHub) *rig {
	t.Helper()
	r := &rig{T: t, hub: hub, srv: srv, out: newSession()}
	h, err := srv.accept(r.out, nil, &socketio.Handshake{Request: httptest.NewRequest("GET", "/?EIO=3&token=x", nil), Transport: "polling"})
	if err != nil {
		t.Fatal(err)
	}
	r.h = h
	return r
}

// start opens one session on a server of its own, closed with the test.
func start(t *testing.T, hub *fakeHub) *rig {
	t.Helper()
	srv := newServer(t, hub)
	r := open(t, srv, hub)
	t.Cleanup(func() {
		r.finish(engineio.ReasonTransportClose)
		shut(t, srv)
		hub.mu.Lock()
		defer hub.mu.Unlock()
		if hub.tickets != 0 {
			t.Errorf("%d tickets were neither used nor given back", hub.tickets)
		}
	})
	return r
}

func shut(t *testing.T, srv *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := srv.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// connect is start, until the client is in.
func connect(t *testing.T, hub *fakeHub) (*rig, *fakeSocket) {
	t.Helper()
	r := start(t, hub)
	r.expect("0")
	return r, r.socket()
}

// finish ends the session as the engine does, once.
func (r *rig) finish(reason engineio.Reason) {
	r.end.Do(func() {
		r.out.Close(reason)
		r.h.Closed(reason, nil)
	})
}

func (r *rig) text(s string) {
	r.Helper()
	if err := r.h.Text([]byte(s)); err != nil {
		r.Fatalf("%.80q: %v", s, err)
	}
}

func (r *rig) binary(b []byte) {
	r.Helper()
	if err := r.h.Binary(b); err != nil {
		r.Fatalf("attachment: %v", err)
	}
}

func (r *rig) expect(text string, attachments ...string) {
	r.Helper()
	p := recv(r.T, r.out.sent, text)
	if string(p.Text()) != text {
		r.Fatalf("sent %q, not %q", p.Text(), text)
	}
	for i, a := range p.Attachments() {
		if i >= len(attachments) || string(a) != attachments[i] {
			r.Fatalf("attachments %q, not %q", p.Attachments(), attachments)
		}
	}
	if len(p.Attachments()) != len(attachments) {
		r.Fatalf("%d attachments, not %d", len(p.Attachments()), len(attachments))
	}
}

func (r *rig) socket() *fakeSocket {
	r.Helper()
	return recv(r.T, r.hub.entered, "Enter")
}

func (s *fakeSocket) expect(t *testing.T, name string, values ...string) socketio.Event {
	t.Helper()
	e := recv(t, s.events, name)
	if e.Name != name || joinValues(e.Args) != strings.Join(values, "|") {
		t.Fatalf("event %q %s, not %q %s", e.Name, joinValues(e.Args), name, strings.Join(values, "|"))
	}
	return e
}

func joinValues(a socketio.Args) string {
	var texts []string
	for _, v := range a.Values {
		texts = append(texts, string(v))
	}
	return strings.Join(texts, "|")
}

func recv[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %q", what)
		panic("not reached")
	}
}

func encode(t *testing.T, args ...any) socketio.Encoded {
	t.Helper()
	e, err := socketio.Encode(args...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func refuseAll(context.Context, *socketio.ConnectRequest) *socketio.ConnectError {
	return &socketio.ConnectError{Message: "no"}
}

// waitFor waits for what go-socket.io's goroutines do at their end, of which they give no sign.
func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			t.Fatal("it did not come to it")
		}
		runtime.Gosched()
	}
}
