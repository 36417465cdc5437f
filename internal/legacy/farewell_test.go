package legacy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

func tells(r engineio.Reason) socketio.Encoded {
	enc, _ := socketio.Encode(map[string]string{"message": string(r)})
	return enc
}

const (
	tooLarge = `["error",{"message":"payload too large"}]`
	tooSlow  = `["error",{"message":"slow consumer"}]`
)

// Too large by one frame, by one and its attachments; each namespace is told.
func TestFarewellOverWebSocket(t *testing.T) {
	t.Parallel()
	hub := newHub("/admin")
	w := newWire(t, hub)
	for _, sum := range []bool{false, true} {
		c := w.dial("")
		c.read()
		c.expect("40")
		s := recv(t, hub.entered, "Enter")
		c.send(`40/admin,`)
		c.expect("40/admin,")
		recv(t, hub.entered, "Enter")
		if sum {
			c.send(`452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
			c.sendBinary(strings.Repeat("x", 1<<19))
			c.sendBinary(strings.Repeat("x", 1<<19))
		} else {
			c.send("4" + strings.Repeat("x", 1<<20))
		}
		c.expect("42" + tooLarge)
		c.expect("42/admin," + tooLarge)
		if reason := recv(t, s.closed, "Closed"); reason != engineio.ReasonTooLarge {
			t.Errorf("closed with %q", reason)
		}
	}
}

// The bound of calls ends a session under the connection's own lock.
func TestFarewellOverManyCalls(t *testing.T) {
	t.Parallel()
	hub := newHub()
	w := newWire(t, hub)
	p := w.poll()
	p.expect("40")
	s := recv(t, hub.entered, "Enter")
	if n := w.engine.Pending(); n != 0 {
		t.Errorf("%d pending", n)
	}
	for range maxCalls + 1 {
		s.link.Call("ask", socketio.Encoded{}, func(socketio.Args) {})
	}
	m := p.next()
	for strings.HasSuffix(m, `["ask"]`) { // a GET that was under way
		m = p.next()
	}
	if m != "42"+tooSlow {
		t.Fatalf("read %q", m)
	}
	p.expect("1")
	if reason := recv(t, s.closed, "Closed"); reason != engineio.ReasonSlowConsumer {
		t.Errorf("closed with %q", reason)
	}
}

// An event knows the POST that it came by, though that is answered before the event was handled.
func TestRequestID(t *testing.T) {
	t.Parallel()
	hub := newHub()
	w := newWire(t, hub)
	p := w.poll()
	p.expect("40")
	s := recv(t, hub.entered, "Enter")
	for _, id := range []string{"abc", "", "def"} {
		r, _ := http.NewRequest("POST", p.url(), strings.NewReader(`7:42["x"]7:42["y"]`))
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
		if id != "" {
			r.Header.Set("X-Request-Id", id)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		for _, name := range []string{"x", "y"} {
			if e := s.expect(t, name); e.RequestID != id {
				t.Errorf("%s has the id %q, want %q", name, e.RequestID, id)
			}
		}
	}
}

// What was queued before a Disconnect arrives before it by polling too, and it before the close.
func TestDisconnectFlushesPolling(t *testing.T) {
	t.Parallel()
	hub := newHub()
	w := newWire(t, hub)
	p := w.poll()
	p.expect("40")
	s := recv(t, hub.entered, "Enter")
	s.link.Session().Send(socketio.EventPacket("/", "error", socketio.Encoded{JSON: []byte("1")}, nil, ""))
	s.link.Disconnect(true)
	p.expect(`42["error",1]`)
	p.expect("41")
	p.expect("1")
	if reason := recv(t, s.closed, "Closed"); reason != socketio.ReasonServerDisconnect {
		t.Errorf("closed with %q", reason)
	}
}

// A session whose auth does not answer is pending until its end.
func TestPendingUntilJoined(t *testing.T) {
	t.Parallel()
	hub := newHub()
	asked := make(chan struct{}, 1)
	hub.authorize = func(ctx context.Context, _ *socketio.ConnectRequest) *socketio.ConnectError {
		asked <- struct{}{}
		<-ctx.Done()
		return &socketio.ConnectError{Message: "too late"}
	}
	w := newWire(t, hub)
	c := w.dial("")
	recv(t, asked, "Authorize")
	if n := w.engine.Pending(); n != 1 {
		t.Errorf("%d pending", n)
	}
	_ = c.conn.Close()
	waitFor(t, func() bool { return w.engine.Pending() == 0 })
}
