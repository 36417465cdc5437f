package socketio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A backend echoes: message comes back as message-back, message-with-ack is acked, and auth tells what auth was.
type backend struct {
	authorize func(ctx context.Context, r *socketio.ConnectRequest) *socketio.ConnectError
	enter     func(l socketio.Link) // after Accepted
	event     func(c *client, e socketio.Event)
	nobody    bool // Enter takes nobody in
	farewell  func(engineio.Reason) socketio.Encoded

	voided  atomic.Int32
	mu      sync.Mutex
	dropped []string
	clients []*client
	next    int
}

type ticket struct {
	b *backend
	r *socketio.ConnectRequest
}

func (t *ticket) Void() { t.b.voided.Add(1) }

type client struct {
	b      *backend
	link   socketio.Link
	ns     string
	mu     sync.Mutex
	closed []engineio.Reason
	unsent []uint64
	events []socketio.Event
	inside atomic.Bool
}

func (b *backend) Known(ns string) bool { return ns == "/" || strings.HasPrefix(ns, "/custom") }

func (b *backend) Authorize(ctx context.Context, r *socketio.ConnectRequest) (socketio.Ticket, *socketio.ConnectError) {
	if b.authorize != nil {
		if err := b.authorize(ctx, r); err != nil {
			return nil, err
		}
	}
	return &ticket{b, r}, nil
}

func (b *backend) Enter(t socketio.Ticket, l socketio.Link) socketio.Socket {
	r := t.(*ticket).r
	b.mu.Lock()
	b.next++
	sid := fmt.Sprintf("sid%d", b.next)
	c := &client{b: b, link: l, ns: r.Namespace}
	b.clients = append(b.clients, c)
	b.mu.Unlock()
	l.Accepted(sid, "")
	auth := r.Auth
	if auth == nil {
		auth = json.RawMessage("{}")
	}
	c.emit("auth", auth)
	if b.enter != nil {
		b.enter(l)
	}
	if b.nobody {
		l.Disconnect(false)
		return nil
	}
	return c
}

func (b *backend) Dropped(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropped = append(b.dropped, what)
}

func (b *backend) last() *client {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clients[len(b.clients)-1]
}

func (c *client) emit(name string, args ...any) {
	enc, err := socketio.Encode(args...)
	if err != nil {
		panic(err)
	}
	c.link.Session().Send(socketio.EventPacket(c.ns, name, enc, nil, ""))
}

func (c *client) Event(e socketio.Event) {
	c.inside.Store(true)
	defer c.inside.Store(false)
	c.mu.Lock()
	c.events = append(c.events, e)
	c.mu.Unlock()
	if c.b.event != nil {
		c.b.event(c, e)
	}
	var args []any
	for i := range e.Args.Values {
		v, err := e.Args.Any(i)
		if err != nil {
			panic(err)
		}
		args = append(args, v)
	}
	switch {
	case e.Name == "message":
		c.emit("message-back", args...)
	case e.Name == "message-with-ack" && e.HasAck:
		enc, _ := socketio.Encode(args...)
		c.link.Session().Send(socketio.AckPacket(c.ns, e.ID, enc))
	}
}

func (c *client) Closed(reason engineio.Reason, unsent []uint64) {
	if c.inside.Load() {
		reason = "closed within Event"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.unsent = append(c.closed, reason), unsent
}

func (c *client) reasons() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.closed)
}

// world is a server with one raw client, in a bubble.
type world struct {
	*testing.T
	*raw
	b   *backend
	srv *engineio.Server
}

func inBubble(t *testing.T, b *backend, f func(*world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, b: b}
		cfg := &socketio.Config{
			Backend: b, ConnectTimeout: 10 * time.Second, KeepHandshake: true, Farewell: b.farewell,
			Limits: socketio.Limits{Depth: 64, Attachments: 10, Payload: 1000},
		}
		w.srv = engineio.NewServer(engineio.Config{
			PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, UpgradeTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
			MaxPayload: 1_000_000, Outbox: 1 << 20,
			Accept: func(s *engineio.Session, r *http.Request) (engineio.Handler, error) {
				return socketio.Accept(s, &socketio.Handshake{Request: r, Transport: "websocket"}, cfg), nil
			},
		})
		w.raw = dialRaw(t, w.srv)
		f(w)
		w.raw.Close()
		w.srv.Wait(nil)
	})
}

// expect wants these messages, in order and no others.
func (w *world) expect(want ...string) {
	w.Helper()
	synctest.Wait()
	if got := w.taken(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		w.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (w *world) wantDropped(want ...string) {
	w.Helper()
	synctest.Wait()
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	if fmt.Sprint(w.b.dropped) != fmt.Sprint(want) {
		w.Errorf("dropped %q, want %q", w.b.dropped, want)
	}
}

// join connects to "/".
func (w *world) join() *client {
	w.Helper()
	w.send("40")
	w.expect(`40{"sid":"sid1"}`, `42["auth",{}]`)
	return w.b.last()
}

func TestConnect(t *testing.T) {
	for packet, want := range map[string][]string{
		`40`:                        {`40{"sid":"sid1"}`, `42["auth",{}]`},
		`40{"token":"123"}`:         {`40{"sid":"sid1"}`, `42["auth",{"token":"123"}]`},
		`40/custom`:                 {`40/custom,{"sid":"sid1"}`, `42/custom,["auth",{}]`},
		`40/custom?a=b,{"x":[1,2]}`: {`40/custom,{"sid":"sid1"}`, `42/custom,["auth",{"x":[1,2]}]`},
		`40/random`:                 {`44/random,{"message":"Invalid namespace"}`},
		`40/a"b,`:                   {`44/a"b,{"message":"Invalid namespace"}`},
		`40{"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`: {
			`44{"message":"the auth object is nested too deep","data":{"code":"INVALID_PAYLOAD","message":"the auth object is nested too deep"}}`},
		`40/` + strings.Repeat("x", 999_000): nil,
		`40null`:                             {"closed"}, `40[]`: {"closed"}, `40{"a":}`: {"closed"}, `40{} `: {`40{"sid":"sid1"}`, `42["auth",{}]`}, `4abc`: {"closed"}, `4`: {"closed"},
		`42["message",1]`: nil, `41`: nil, `430[]`: nil,
	} {
		t.Run(packet[:min(20, len(packet))], func(t *testing.T) {
			inBubble(t, &backend{}, func(w *world) {
				w.send(packet)
				w.expect(want...)
			})
		})
	}
}

func TestRecoveryIsTakenOutOfAuth(t *testing.T) {
	t.Parallel()
	for auth, want := range map[string]string{
		``:                          `- -  nil`,
		`{}`:                        `- -  {}`,
		`{"pid":"p","offset":"o"}`:  `p o  {}`,
		`{"\u0070id":"p","x":1}`:    `p -  {"x":1}`,
		`{"a":{"pid":"p"},"pid":7}`: `- -  {"a":{"pid":"p"}}`,
		` {`:                        ``,
		`{ "x" : "pid" , "offset" : "a\"b" , "y" : [ ] }`: `- a"b  {"x" : "pid","y" : [ ]}`,
	} {
		t.Run(auth, func(t *testing.T) {
			var got string
			b := &backend{authorize: func(_ context.Context, r *socketio.ConnectRequest) *socketio.ConnectError {
				or := func(s string) string {
					if s == "" {
						return "-"
					}
					return s
				}
				got = or(r.PID) + " " + or(r.Offset) + "  " + string(r.Auth)
				if r.Auth == nil {
					got += "nil"
				}
				if r.Handshake.Request.URL.Query().Get("EIO") != "4" || r.Protocol != 5 {
					got = "no handshake"
				}
				return nil
			}}
			inBubble(t, b, func(w *world) {
				w.send("40" + auth)
				synctest.Wait()
				if got != want {
					w.Errorf("%s, want %s", got, want)
				}
			})
		})
	}
}

func TestRefuse(t *testing.T) {
	refusal := &socketio.ConnectError{Message: "go <away>", Data: map[string]string{"code": "UNAUTHORIZED"}}
	b := &backend{authorize: func(_ context.Context, r *socketio.ConnectRequest) *socketio.ConnectError {
		if string(r.Auth) == `{"ok":true}` {
			return nil
		}
		return refusal
	}}
	inBubble(t, b, func(w *world) {
		w.send("40")
		w.expect(`44{"message":"go <away>","data":{"code":"UNAUTHORIZED"}}`)
		w.send(`40{"ok":true}`)
		w.expect(`40{"sid":"sid1"}`, `42["auth",{"ok":true}]`)
	})
}

func TestEvents(t *testing.T) {
	inBubble(t, &backend{}, func(w *world) {
		w.join()
		w.send(`42["message",1,"2",{"3":[true]}]`)
		w.expect(`42["message-back",1,"2",{"3":[true]}]`)
		w.send(`42456["message-with-ack",1,"2",{"3":[false]}]`)
		w.expect(`43456[1,"2",{"3":[false]}]`)
		w.send(`452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
		w.sendBinary([]byte{1, 2, 3})
		w.sendBinary([]byte{4, 5, 6})
		w.expect(`452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "b010203", "b040506")
		w.send(`452-789["message-with-ack",{"_placeholder":true,"num":1},{"num":0,"_placeholder":true}]`)
		w.sendBinary([]byte{1})
		w.sendBinary(nil)
		w.expect(`462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "b", "b01")
		w.send(`42["message",{"_placeholder":true,"num":7}]`)
		w.expect(`42["message-back",{"_placeholder":true,"num":7}]`)
		w.send(`450-["message",{"_placeholder":true,"num":7}]`)
		w.expect(`42["message-back",{"_placeholder":true,"num":7}]`)
		w.wantDropped()
	})
}

func TestDropped(t *testing.T) {
	inBubble(t, &backend{}, func(w *world) {
		w.join()
		const notJoined = "packet to a namespace not joined"
		for _, p := range []struct{ text, what string }{
			{`42/custom,["message"]`, notJoined}, {`43/custom,0[]`, notJoined}, {`41/custom`, notJoined}, {`42/nowhere,["message"]`, notJoined},
			{`40`, "CONNECT to a namespace joined already"}, {`430[]`, "unknown ack id"},
			{`4399999999999999999999999[]`, "ack id too big"}, {`4218446744073709551616["message"]`, "ack id too big"},
			{`42["disconnect"]`, "reserved event name"}, {`42["newListener",1]`, "reserved event name"}, {`42["\u0063onnect"]`, "reserved event name"},
			{`430[` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `]`, "ack nested too deep"},
			{`40/` + strings.Repeat("n", 2000), "namespace too long"},
		} {
			w.send(p.text)
			w.expect()
			w.wantDropped(p.what)
			w.b.dropped = nil
		}
		// With attachments, which must be waited for all the same.
		w.send(`451-/custom,["message",{"_placeholder":true,"num":0}]`)
		w.sendBinary([]byte{1})
		w.send(`42["message","alive"]`)
		w.expect(`42["message-back","alive"]`)
		w.wantDropped(notJoined)
	})
}

func TestTooDeep(t *testing.T) {
	var got []socketio.Event
	b := &backend{event: func(_ *client, e socketio.Event) { got = append(got, e) }}
	inBubble(t, b, func(w *world) {
		w.join()
		w.send(`421["deep",` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `]`)
		w.expect()
		if len(got) != 1 || !got[0].TooDeep || got[0].Name != "deep" || !got[0].HasAck || got[0].ID != 1 || got[0].Args.Values != nil || got[0].Size < 200_000 {
			w.Errorf("%d events", len(got))
		}
	})
}

func TestBadPacketsClose(t *testing.T) {
	for _, frames := range [][]string{
		{`42`}, {`42{}`}, {`42[]`}, {`42[1]`}, {`42[null]`}, {`42[{}]`}, {`42["a"`}, {`42["a",]`}, {`42null`}, {`42abc["a"]`},
		{`431`}, {`43[]`}, {`431{}`}, {`44{"message":"x"}`}, {`41{}`}, {`47`}, {"4\x00"},
		{`451999999999999-["x"]`}, {`4518446744073709551615-["x"]`}, {`4550000000-["x"]`}, {`45["x"]`},
		{`451-["bin",{"_placeholder":true,"num":5}]`}, {`451-["bin"]`}, {`451-["bin",{"_placeholder":true,"num":-1}]`}, {`451-["bin",{"_placeholder":true,"num":0.5}]`},
		{`451-["bin",{"_placeholder":true,"num":0}]`, `42["message"]`},
		{`451-["bin",{"_placeholder":true,"num":0}]`, `41`},
		{`452-["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "b01", `42["message"]`},
		{"b01"},
	} {
		t.Run(strings.Join(frames, " "), func(t *testing.T) {
			inBubble(t, &backend{}, func(w *world) {
				c := w.join()
				for _, f := range frames {
					if f[0] == 'b' {
						w.sendBinary([]byte{1})
					} else {
						w.send(f)
					}
				}
				w.expect("closed")
				if got := c.reasons(); got != "[parse error]" {
					w.Error(got)
				}
			})
		})
	}
}

func TestPayloadLimitCountsAttachments(t *testing.T) {
	inBubble(t, &backend{}, func(w *world) {
		c := w.join()
		w.send(`452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
		w.sendBinary(make([]byte, 500))
		w.sendBinary(make([]byte, 500))
		w.expect("closed")
		if got := c.reasons(); got != "[payload too large]" {
			w.Error(got)
		}
	})
}

func TestNamespacesOfOneSession(t *testing.T) {
	inBubble(t, &backend{}, func(w *world) {
		main := w.join()
		w.send("40/custom,")
		w.expect(`40/custom,{"sid":"sid2"}`, `42/custom,["auth",{}]`)
		first := w.b.last()
		w.send(`42/custom,["message"]`, `41/custom,`, `42/custom,["message"]`, `42["message",1]`)
		w.expect(`42/custom,["message-back"]`, `42["message-back",1]`)
		w.wantDropped("packet to a namespace not joined")
		if got := first.reasons(); got != "[client namespace disconnect]" {
			w.Error(got)
		}
		w.send(`40/custom`, `41`)
		w.expect(`40/custom,{"sid":"sid3"}`, `42/custom,["auth",{}]`)
		second := w.b.last()
		w.send(`40`)
		w.expect(`40{"sid":"sid4"}`, `42["auth",{}]`)
		first.link.Disconnect(false) // long gone
		main.link.Disconnect(false)
		w.send(`42/custom,["message"]`, `42["message"]`)
		w.expect(`42/custom,["message-back"]`, `42["message-back"]`)
		again := w.b.last()
		w.Close()
		synctest.Wait()
		for i, c := range []*client{first, main, second, again} {
			want := "[client namespace disconnect]"
			if i > 1 {
				want = "[transport close]"
			}
			if got := c.reasons(); got != want {
				w.Errorf("%d: %s", i, got)
			}
		}
	})
}

func TestCall(t *testing.T) {
	inBubble(t, &backend{}, func(w *world) {
		c := w.join()
		var got []string
		reply := func(a socketio.Args) {
			got = append(got, fmt.Sprintf("%s %x", a.Values, a.Attachments))
		}
		enc, _ := socketio.Encode("q")
		c.link.Call("ask", enc, reply)
		cancel := c.link.Call("ask", socketio.Encoded{}, reply)
		c.link.Call("ask", socketio.Encoded{}, reply)
		w.expect(`420["ask","q"]`, `421["ask"]`, `422["ask"]`)
		cancel()
		w.send(`432["two"]`, `431[]`, `432["again"]`, `461-0[{"_placeholder":true,"num":0}]`)
		w.sendBinary([]byte{7})
		w.wantDropped("unknown ack id", "unknown ack id")
		if want := `["two"] [] [{"_placeholder":true,"num":0}] [07]`; strings.Join(got, " ") != want {
			w.Errorf("%q", got)
		}
		c.link.Disconnect(false)
		c.link.Call("ask", enc, reply)()
		w.expect("41")
	})
}

func TestDisconnect(t *testing.T) {
	for _, closeTransport := range []bool{false, true} {
		inBubbleNamed(t, fmt.Sprint(closeTransport), &backend{}, func(w *world) {
			c := w.join()
			c.emit("last")
			c.link.Disconnect(closeTransport)
			c.link.Disconnect(closeTransport)
			want := []string{`42["last"]`, `41`}
			if closeTransport {
				want = append(want, "closed")
			}
			w.expect(want...)
			if got := c.reasons(); got != "[server namespace disconnect]" {
				w.Error(got)
			}
		})
	}
}

func inBubbleNamed(t *testing.T, name string, b *backend, f func(*world)) {
	t.Run(name, func(t *testing.T) { inBubble(t, b, f) })
}
