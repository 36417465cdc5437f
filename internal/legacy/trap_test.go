package legacy

import (
	"io"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/googollee/go-socket.io/engineio/frame"
	iopacket "github.com/googollee/go-socket.io/engineio/packet"
	"github.com/googollee/go-socket.io/parser"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// What go-socket.io v1.7.0 dies or hangs of, one test for each; the numbers are its file and line. Others of
// its traps are cases of the guard's tables (guard_test.go) and of the tests of connections (conn_test.go).

// parser/decoder.go:136 makes room for as many attachments as the header announces.
func TestAnnouncedAttachmentsCostNothing(t *testing.T) {
	for _, in := range []string{`21999999999999-["x"]`, `51999999999999-["x"]`, `518446744073709551615-["x"]`, `550000000-["x"]`} {
		r, _ := connect(t, newHub())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := r.h.Text([]byte(in)); err == nil {
			t.Errorf("%s passed", in)
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%s: %d bytes", in, grown)
		}
	}
}

// decoder.go:304 cuts the event's name at the first comma or bracket; server.go:286 keeps the last name.
func TestNamesOfEvents(t *testing.T) {
	t.Parallel()
	r, s := connect(t, newHub())
	for _, name := range []string{`a,b`, `a]`, `["`, ``, `e`, strings.Repeat(`,`, 5000), `é, ]😀`, "\u2028"} {
		e := encode(t, name)
		r.text(`2[` + string(e.JSON) + `,1]`)
		s.expect(t, name, `1`)
	}
	if err := r.h.Text([]byte(`2"two"]`)); err == nil {
		t.Error("an event without a name passed")
	}
}

// decoder.go:341 and :365, encoder.go:167: a type by the name Buffer is taken for the parser's, and slices
// are walked byte by byte.
func TestTypesForReflection(t *testing.T) {
	t.Parallel()
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Struct:
			if typ.Name() == "Buffer" {
				if typ != reflect.TypeFor[parser.Buffer]() {
					t.Errorf("%v is not the parser's Buffer", typ)
				}
				return
			}
			for i := range typ.NumField() {
				f := typ.Field(i)
				if f.Type == reflect.TypeFor[[]*parser.Buffer]() && !f.IsExported() {
					t.Errorf("%v.%s: Interface of it panics", typ, f.Name)
				}
				walk(f.Type)
			}
		case reflect.Slice, reflect.Array, reflect.Pointer:
			if typ.Elem().Kind() == reflect.Uint8 {
				t.Errorf("%v is walked byte by byte", typ)
			}
			walk(typ.Elem())
		case reflect.Map, reflect.Interface:
			t.Errorf("%v: buffers within are not addressable, or left as they are", typ)
		}
	}
	for _, typ := range append(append(eventTypes, ackTypes...), reflect.TypeFor[value]()) {
		walk(typ)
	}
}

// engineio/server.go:155, session.go:248: a request with a sid, or for a transport of go-socket.io's own, is
// none of its business: it has no such transport, and no way in but enterIO's.
func TestRequestsNeverReachGoSocketIO(t *testing.T) {
	t.Parallel()
	r, _ := connect(t, newHub())
	for _, q := range []string{
		"EIO=3&transport=polling", "EIO=3&transport=websocket", "EIO=3&transport=websocket&sid=legacy", "EIO=3&transport=polling&sid=legacy",
		"transport=" + entranceName, "transport=" + entranceName + "&sid=1", "",
	} {
		w := httptest.NewRecorder()
		r.srv.io.ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/?"+q, nil))
		if w.Code < 400 {
			t.Errorf("%q is answered %d", q, w.Code)
		}
	}
	if n := r.srv.io.Count(); n != 1 {
		t.Errorf("go-socket.io has %d sessions", n)
	}
	if _, err := (entrance{}).Dial(nil, nil); err == nil {
		t.Error("it can dial")
	}
}

// server.go:219: a session whose connection fails is never removed. Ours do not fail: a refused client does
// not get there.
func TestNoSessionIsLeft(t *testing.T) {
	t.Parallel()
	hub := newHub()
	srv := newServer(t, hub)
	for range 20 {
		r := open(t, srv, hub)
		r.expect("0")
		s := r.socket()
		r.text(`2["x"]`)
		r.finish(engineio.ReasonTransportClose)
		recv(t, s.closed, "Closed")
	}
	shut(t, srv)
	waitFor(t, func() bool { return srv.io.Count() == 0 && srv.io.RoomLen("/", "legacy") == 0 })
	if rooms := srv.io.Rooms("/"); len(rooms) != 0 {
		t.Errorf("rooms are left: %q", rooms)
	}
}

func TestRefusedNeverReachesGoSocketIO(t *testing.T) {
	t.Parallel()
	hub := newHub()
	hub.authorize = refuseAll
	r := start(t, hub)
	r.expect(`4"no"`)
	r.expect("1")
	recv(t, r.out.closed, "Close")
	if n := r.srv.io.Count(); n != 0 {
		t.Errorf("go-socket.io has %d sessions", n)
	}
}

// server.go:219 and :229: an Emit in OnConnect of "/" waits for a writer that is not there.
func TestCallFromEnter(t *testing.T) {
	t.Parallel()
	hub := newHub("/admin")
	answered := make(chan string, 2)
	hub.enter = func(link socketio.Link) bool {
		link.Call("welcome", socketio.Encoded{JSON: []byte(`1`)}, func(a socketio.Args) { answered <- joinValues(a) })
		return true
	}
	r, _ := connect(t, hub)
	r.expect(`21["welcome",1]`)
	r.text(`31["hi"]`)
	recv(t, answered, "reply")
	r.text(`0/admin`)
	r.expect(`0/admin,`)
	r.expect(`2/admin,2["welcome",1]`)
	r.text(`3/admin,2["hi"]`)
	recv(t, answered, "reply")
}

// OnConnect, OnDisconnect and OnError are not recovered.
func TestPanicInEnterAndClosed(t *testing.T) {
	t.Parallel()
	hub := newHub()
	var panics atomic.Int32
	hub.enter = func(socketio.Link) bool {
		panics.Add(1)
		panic("in Enter")
	}
	r := start(t, hub)
	r.expect("0")
	r.text(`2["to nobody"]`)
	r.text(`1`)
	if panics.Load() != 1 {
		t.Error("Enter was not called")
	}
}

// connection.go:61: OnDisconnect runs within the Once of Close, under the namespaces' lock.
func TestDisconnectFromClosed(t *testing.T) {
	t.Parallel()
	hub := newHub()
	done := make(chan struct{})
	hub.onClosed = func(s *fakeSocket) {
		s.link.Disconnect(true)
		s.link.Call("x", socketio.Encoded{}, func(socketio.Args) {})
		close(done)
	}
	r := start(t, hub)
	r.expect("0")
	r.socket()
	r.text("1")
	recv(t, done, "Closed")
	recv(t, r.out.closed, "Close")
}

// namespace_conn.go:71, connection.go:120: a nil argument is a nil dereference.
func TestCallWithNil(t *testing.T) {
	t.Parallel()
	r, s := connect(t, newHub())
	for i, args := range [][]any{{nil}, {1, nil}, {nil, nil, "x"}, {(*int)(nil)}, {[]byte(nil), []byte{1}}} {
		s.link.Call("x", encode(t, args...), func(socketio.Args) {})
		p := recv(t, r.out.sent, "call")
		if !strings.Contains(string(p.Text()), "null") {
			t.Errorf("%d: %s", i, p.Text())
		}
	}
}

// server.go:273: what cannot be encoded leaves a header without JSON; it must neither leave nor hold up what
// is behind it.
func TestEncodingFails(t *testing.T) {
	t.Parallel()
	r, s := connect(t, newHub())
	c := s.link.(*member).c
	for _, args := range [][]any{{value{text: "{"}}, {value{text: "]", Attachments: []*parser.Buffer{{Data: []byte("x")}}}}} {
		k := &call{m: c.root, event: "x", args: args, sent: make(chan struct{})}
		c.mu.Lock()
		c.calls.pushLocked(c, job{call: k})
		c.mu.Unlock()
		recv(t, k.sent, "the end of the call")
	}
	s.link.Call("y", encode(t, []byte("z")), func(socketio.Args) {})
	p := recv(t, r.out.sent, "call")
	if !strings.HasSuffix(string(p.Text()), `["y",{"_placeholder":true,"num":0}]`) || len(p.Attachments()) != 1 {
		t.Errorf("%s and %d attachments", p.Text(), len(p.Attachments()))
	}
}

// server.go:219 and :273: an error of NextWriter leaks or is not noticed. Ours gives none; that
// reading ends with the session, the check for goroutines left over tells.
func TestWriterNeverFails(t *testing.T) {
	t.Parallel()
	r, _ := connect(t, newHub())
	p := &pipe{c: r.h.(*conn)}
	r.finish(engineio.ReasonTransportClose)
	for _, ft := range []frame.Type{frame.String, frame.Binary} {
		w, err := p.NextWriter(ft, iopacket.PONG)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "x"); err != nil || w.Close() != nil {
			t.Error("a write failed")
		}
	}
}
