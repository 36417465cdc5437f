package legacy

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

func TestConnectAndEvents(t *testing.T) {
	t.Parallel()
	hub := newHub()
	r, s := connect(t, hub)
	r.text(`2["hello",1,"zwei",{"drei":3},null]`)
	e := s.expect(t, "hello", `1`, `"zwei"`, `{"drei":3}`, `null`)
	if e.HasAck {
		t.Error("no ack was asked for")
	}
	r.text(`20["ask"]`)
	if e := s.expect(t, "ask"); !e.HasAck || e.ID != 0 {
		t.Errorf("ack id %v %d", e.HasAck, e.ID)
	}
	r.text(`217["\u00e4ö, [\"]","😀"]`)
	if e := s.expect(t, `äö, ["]`, `"😀"`); e.ID != 17 {
		t.Errorf("ack id %d", e.ID)
	}
	r.text(`52-3["bin",{"_placeholder":true,"num":1},{"deep":[{"num":0,"_placeholder":true}]}]`)
	r.binary([]byte("zero"))
	r.binary([]byte("one"))
	e = s.expect(t, "bin", `{"_placeholder":true,"num":1}`, `{"deep":[{"num":0,"_placeholder":true}]}`)
	if e.ID != 3 || len(e.Args.Attachments) != 2 || string(e.Args.Attachments[0]) != "zero" || string(e.Args.Attachments[1]) != "one" {
		t.Errorf("binary event %+v", e)
	}
	r.finish(engineio.ReasonPingTimeout)
	if reason := recv(t, s.closed, "Closed"); reason != engineio.ReasonPingTimeout {
		t.Errorf("closed with %q", reason)
	}
}

func TestHandshakeReachesAuth(t *testing.T) {
	t.Parallel()
	hub := newHub("/admin")
	hub.authorize = func(ctx context.Context, req *socketio.ConnectRequest) *socketio.ConnectError {
		if req.Protocol != 4 || req.Handshake.Request.URL.Query().Get("token") != "x" {
			return &socketio.ConnectError{Message: "no token"}
		}
		if req.Namespace == "/admin" && req.Query.Get("key") != "a b" {
			return &socketio.ConnectError{Message: "no key"}
		}
		return nil
	}
	r, _ := connect(t, hub)
	r.text("0/admin?key=a%20b,")
	r.expect("0/admin,")
	r.socket()
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	type coded struct {
		Code string `json:"code"`
	}
	for name, tt := range map[string]struct {
		err  *socketio.ConnectError
		want string
	}{
		"message": {&socketio.ConnectError{Message: `no "entry"`}, `4"no \"entry\""`},
		"data":    {&socketio.ConnectError{Message: "no", Data: coded{"UNAUTHORIZED"}}, `4{"code":"UNAUTHORIZED"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := newHub()
			hub.authorize = func(context.Context, *socketio.ConnectRequest) *socketio.ConnectError { return tt.err }
			r := start(t, hub)
			r.expect(tt.want)
			r.expect("1")
			if reason := recv(t, r.out.closed, "Close"); reason != engineio.ReasonForced {
				t.Errorf("closed with %q", reason)
			}
		})
	}
}

// A page whose manager has other namespaces waiting is told of each, or it would come back for them.
func TestRefuseWithNamespacesWaiting(t *testing.T) {
	t.Parallel()
	hub := newHub("/admin")
	gate := make(chan struct{})
	hub.authorize = func(context.Context, *socketio.ConnectRequest) *socketio.ConnectError {
		<-gate
		return &socketio.ConnectError{Message: "no"}
	}
	r := start(t, hub)
	r.text("0/admin")
	close(gate)
	r.expect(`4"no"`)
	r.expect(`4/admin,"no"`)
	r.expect(`1/admin,`)
	r.expect("1")
	if reason := recv(t, r.out.closed, "Close"); reason != engineio.ReasonForced {
		t.Errorf("closed with %q", reason)
	}
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	hub := newHub("/admin", "/late")
	gate := make(chan struct{})
	hub.authorize = func(_ context.Context, req *socketio.ConnectRequest) *socketio.ConnectError {
		switch req.Namespace {
		case "/":
			<-gate
		case "/late":
			return &socketio.ConnectError{Message: "not you"}
		}
		return nil
	}
	r := start(t, hub)
	r.text("0/admin") // ahead of "/", as 1.x and 2.x do
	close(gate)
	r.expect("0")
	root := r.socket()
	r.expect("0/admin,")
	admin := r.socket()
	r.text(`2/admin,7["x",1]`)
	if e := admin.expect(t, "x", "1"); e.ID != 7 {
		t.Errorf("ack id %d", e.ID)
	}
	r.text(`0/none`)
	r.expect(`4/none,"Invalid namespace"`)
	r.text(`0/late,`)
	r.expect(`4/late,"not you"`)
	r.text(`2["y"]`)
	root.expect(t, "y")

	r.text(`1/admin,`)
	if reason := recv(t, admin.closed, "Closed"); reason != socketio.ReasonClientDisconnect {
		t.Errorf("closed with %q", reason)
	}
	r.text(`2/admin,["lost"]`)
	r.text(`0/admin,`)
	r.expect("0/admin,")
	again := r.socket()
	r.text(`2/admin,["found"]`)
	again.expect(t, "found")
	r.finish(engineio.ReasonTransportClose)
	for _, s := range []*fakeSocket{root, again} {
		if reason := recv(t, s.closed, "Closed"); reason != engineio.ReasonTransportClose {
			t.Errorf("closed with %q", reason)
		}
	}
	if len(admin.closed) != 0 {
		t.Error("closed twice")
	}
}

func TestDropped(t *testing.T) {
	t.Parallel()
	hub := newHub("/admin")
	r, s := connect(t, hub)
	for _, in := range []string{
		`2/admin,["x"]`, `2/none,["x"]`, `1/admin,`, `3/admin,1[]`, `31[]`, `30[]`, `399999999999999999999[]`,
		`0`, `0/`, `0/?a=b`, `2["connect"]`, `2["\u0064isconnect",1]`, `299999999999999999999["x"]`,
	} {
		before := len(hub.drops())
		r.text(in)
		if len(hub.drops()) != before+1 {
			t.Errorf("%s: not counted as dropped: %q", in, hub.drops()[before:])
		}
	}
	// With its attachments, which go-socket.io would take for the next packet.
	r.text(`51-/admin,["x",{"_placeholder":true,"num":0}]`)
	r.binary([]byte("x"))
	r.text(`61-1[{"_placeholder":true,"num":0}]`)
	r.binary([]byte("x"))
	r.text(`2["still here"]`)
	s.expect(t, "still here")
}

func TestDuplicateConnect(t *testing.T) {
	t.Parallel()
	hub := newHub("/admin")
	gate := make(chan struct{})
	hub.authorize = func(_ context.Context, req *socketio.ConnectRequest) *socketio.ConnectError {
		if req.Namespace == "/admin" {
			<-gate
		}
		return nil
	}
	r, _ := connect(t, hub)
	r.text("0/admin")
	r.text("0/admin")
	close(gate)
	r.expect("0/admin,")
	r.socket()
	r.text("0/admin")
	if got := hub.drops(); !slices.Equal(got, []string{"duplicate CONNECT", "duplicate CONNECT"}) {
		t.Errorf("dropped %q", got)
	}
}

func TestClientDisconnect(t *testing.T) {
	t.Parallel()
	r, s := connect(t, newHub())
	r.text(`2["before"]`)
	r.text(`1`)
	s.expect(t, "before")
	if reason := recv(t, s.closed, "Closed"); reason != socketio.ReasonClientDisconnect {
		t.Errorf("closed with %q", reason)
	}
	r.text(`2["after"]`)
	r.finish(engineio.ReasonTransportClose)
	if len(s.closed) != 0 || len(s.events) != 0 {
		t.Error("called after Closed")
	}
}

func TestServerDisconnect(t *testing.T) {
	t.Parallel()
	for _, closeTransport := range []bool{false, true} {
		t.Run(fmt.Sprint(closeTransport), func(t *testing.T) {
			t.Parallel()
			r, s := connect(t, newHub())
			s.link.Call("first", encode(t), func(socketio.Args) {})
			s.link.Disconnect(closeTransport)
			s.link.Disconnect(closeTransport)
			r.expect(`21["first"]`)
			r.expect("1")
			if closeTransport {
				if reason := recv(t, r.out.closed, "Close"); reason != engineio.ReasonForced {
					t.Errorf("closed with %q", reason)
				}
				r.finish(engineio.ReasonForced)
			}
			if reason := recv(t, s.closed, "Closed"); reason != socketio.ReasonServerDisconnect {
				t.Errorf("closed with %q", reason)
			}
			r.finish(engineio.ReasonTransportClose)
			if len(s.closed) != 0 {
				t.Error("closed twice")
			}
		})
	}
}

func TestServerDisconnectOfOneNamespace(t *testing.T) {
	t.Parallel()
	hub := newHub("/admin")
	r, s := connect(t, hub)
	r.text("0/admin")
	r.expect("0/admin,")
	admin := r.socket()
	admin.link.Disconnect(false)
	r.expect("1/admin,")
	if reason := recv(t, admin.closed, "Closed"); reason != socketio.ReasonServerDisconnect {
		t.Errorf("closed with %q", reason)
	}
	r.text(`2["here"]`)
	s.expect(t, "here")
}

func TestEnterTakesNobody(t *testing.T) {
	t.Parallel()
	hub := newHub()
	hub.enter = func(link socketio.Link) bool {
		link.Disconnect(true)
		return false
	}
	r := start(t, hub)
	r.expect("0")
	r.expect("1")
	recv(t, r.out.closed, "Close")
}

// The hub uses the link under a lock that Event and Closed take as well.
func TestLinkNeverCallsBack(t *testing.T) {
	t.Parallel()
	hub := newHub()
	var mu sync.Mutex
	hub.onEvent = func(s *fakeSocket, e socketio.Event) {
		mu.Lock()
		defer mu.Unlock()
		cancel := s.link.Call("x", encode(t), func(socketio.Args) {})
		cancel()
		s.link.Disconnect(false)
		s.link.Disconnect(true)
	}
	r, s := connect(t, hub)
	mu.Lock()
	for range 5 {
		s.link.Call("y", encode(t), func(socketio.Args) {})
	}
	mu.Unlock()
	r.text(`2["go"]`)
	recv(t, r.out.closed, "Close")
	r.finish(engineio.ReasonForced)
	if reason := recv(t, s.closed, "Closed"); reason != socketio.ReasonServerDisconnect {
		t.Errorf("closed with %q", reason)
	}
}

func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	hub := newHub()
	release := make(chan struct{})
	hub.authorize = func(context.Context, *socketio.ConnectRequest) *socketio.ConnectError {
		<-release // whatever its context says
		return nil
	}
	cfg := testConfig(hub)
	cfg.ConnectTimeout = time.Millisecond
	srv := New(cfg, []string{"/"})
	r := open(t, srv, hub)
	recv(t, r.out.closed, "Close")
	r.finish(engineio.ReasonForced)
	close(release)
	shut(t, srv)
	if hub.voided != 1 || hub.tickets != 0 || len(hub.entered) != 0 {
		t.Errorf("voided %d, entered %d", hub.voided, len(hub.entered))
	}
}

func TestSessionEndsWhileAuthorizing(t *testing.T) {
	t.Parallel()
	hub := newHub()
	hub.authorize = func(ctx context.Context, _ *socketio.ConnectRequest) *socketio.ConnectError {
		<-ctx.Done()
		return nil
	}
	r := start(t, hub)
	r.finish(engineio.ReasonTransportClose)
	shut(t, r.srv)
	if hub.voided != 1 || len(hub.entered) != 0 {
		t.Errorf("voided %d, entered %d", hub.voided, len(hub.entered))
	}
}

// A socket's last event has returned before Closed is called, and neither holds up the session's reading.
func TestClosedAfterLastEvent(t *testing.T) {
	t.Parallel()
	hub := newHub()
	in, out := make(chan struct{}), make(chan struct{})
	hub.onEvent = func(*fakeSocket, socketio.Event) {
		close(in)
		<-out
	}
	r, s := connect(t, hub)
	r.text(`2["slow"]`)
	<-in
	done := make(chan struct{})
	go func() {
		r.finish(engineio.ReasonTransportClose)
		close(done)
	}()
	select {
	case <-s.closed:
		t.Fatal("Closed while an Event ran")
	case <-done:
		t.Fatal("the session's Closed returned while an Event ran")
	default:
	}
	close(out)
	recv(t, s.closed, "Closed")
	<-done
}

// A panic above is the hub's to prevent; where it does not, the process and the connection live.
func TestPanicInTheHub(t *testing.T) {
	t.Parallel()
	hub := newHub()
	first := true
	hub.onEvent = func(*fakeSocket, socketio.Event) {
		if first {
			first = false
			panic("in a handler")
		}
	}
	r, s := connect(t, hub)
	s.link.Call("x", encode(t), func(socketio.Args) { panic("in a reply") })
	r.expect(`21["x"]`)
	r.text(`31[]`)
	r.text(`2["a"]`)
	r.text(`2["b"]`)
	s.expect(t, "b")
}
