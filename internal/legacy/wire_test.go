package legacy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// A wire is a Server behind a real engine on loopback.
type wire struct {
	*testing.T
	hub    *fakeHub
	srv    *Server
	engine *engineio.Server
	http   *httptest.Server
}

func newWire(t *testing.T, hub *fakeHub) *wire {
	w := &wire{T: t, hub: hub, srv: newServer(t, hub)}
	w.engine = engineio.NewServer(engineio.Config{
		PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, UpgradeTimeout: patience, WriteTimeout: patience,
		MaxPayload: 1 << 20, Outbox: 1 << 20, Legacy: true, LegacyUpgrades: true,
		Accept: func(s *engineio.Session, r *http.Request) (engineio.Handler, error) {
			return w.srv.Accept(s, &socketio.Handshake{Request: r, Transport: s.Transport()})
		},
	})
	w.http = httptest.NewServer(w.engine)
	t.Cleanup(w.close)
	return w
}

func (w *wire) close() {
	for _, s := range w.engine.Sessions() {
		s.Abort(engineio.ReasonShutdown)
	}
	shut(w.T, w.srv)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !w.engine.Wait(ctx.Done()) {
		w.Error("the engine has sessions left")
	}
	w.http.CloseClientConnections()
	w.http.Close()
	http.DefaultClient.CloseIdleConnections()
}

// A wsClient is a client of Engine.IO 3 over WebSocket.
type wsClient struct {
	*testing.T
	conn net.Conn
}

func (w *wire) dial(query string) *wsClient {
	w.Helper()
	conn, early, _, err := ws.Dial(context.Background(), "ws"+strings.TrimPrefix(w.http.URL, "http")+"/?EIO=3&transport=websocket"+query)
	if err != nil {
		w.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	w.Cleanup(func() { conn.Close() })
	if early != nil {
		conn = &earlyConn{conn, early}
	}
	return &wsClient{w.T, conn}
}

// An earlyConn has frames that came with the handshake's answer.
type earlyConn struct {
	net.Conn
	r io.Reader
}

func (c *earlyConn) Read(b []byte) (int, error) { return c.r.Read(b) }

func (c *wsClient) send(text string) {
	c.Helper()
	if err := wsutil.WriteClientText(c.conn, []byte(text)); err != nil {
		c.Fatal(err)
	}
}

func (c *wsClient) sendBinary(b string) {
	c.Helper()
	if err := wsutil.WriteClientBinary(c.conn, append([]byte{4}, b...)); err != nil {
		c.Fatal(err)
	}
}

func (c *wsClient) read() string {
	c.Helper()
	data, err := wsutil.ReadServerText(c.conn)
	if err != nil {
		c.Fatal(err)
	}
	return string(data)
}

func (c *wsClient) expect(want string) {
	c.Helper()
	if got := c.read(); got != want {
		c.Fatalf("%q, not %q", got, want)
	}
}

func (c *wsClient) expectBinary(want string) {
	c.Helper()
	got, err := wsutil.ReadServerBinary(c.conn)
	if err != nil || string(got) != "\x04"+want {
		c.Fatalf("%q %v, not %q", got, err, want)
	}
}

// echo answers an event by its own arguments: with an ack, or as an event.
func echo(s *fakeSocket, e socketio.Event) {
	var texts []string
	for _, v := range e.Args.Values {
		texts = append(texts, string(v))
	}
	enc := socketio.Encoded{JSON: []byte(strings.Join(texts, ",")), Attachments: e.Args.Attachments}
	p := socketio.EventPacket(s.namespace, e.Name, enc, nil, "")
	if e.HasAck {
		p = socketio.AckPacket(s.namespace, e.ID, enc)
	}
	s.link.Session().Send(p)
}

func TestOverWebSocket(t *testing.T) {
	t.Parallel()
	hub := newHub("/admin")
	hub.onEvent = echo
	w := newWire(t, hub)
	c := w.dial("")
	if open := c.read(); !strings.HasPrefix(open, `0{"sid":"`) {
		t.Fatalf("open packet %q", open)
	}
	c.expect("40")
	c.send("2probing") // a ping
	c.expect("3probing")
	c.send(`42["ü,]",{"ö":"😀"}]`)
	c.expect(`42["ü,]",{"ö":"😀"}]`)
	c.send(`452-7["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	c.sendBinary("one")
	c.sendBinary("")
	c.expect(`462-7[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	c.expectBinary("one")
	c.expectBinary("")
	c.send(`40/admin?token=x,`)
	c.expect("40/admin,")
	c.send(`42/admin,1["x"]`)
	c.expect("43/admin,1[]")

	root := recv(t, hub.entered, "Enter")
	answered := make(chan string, 1)
	root.link.Call("ask", encode(t, []byte("q")), func(a socketio.Args) { answered <- joinValues(a) + string(a.Attachments[0]) })
	c.expect(`451-1["ask",{"_placeholder":true,"num":0}]`)
	c.expectBinary("q")
	c.send(`461-1[{"_placeholder":true,"num":0}]`)
	c.sendBinary("a")
	if got := recv(t, answered, "reply"); got != `{"_placeholder":true,"num":0}a` {
		t.Errorf("answered %s", got)
	}
	root.link.Disconnect(true)
	c.expect("41")
	if reason := recv(t, root.closed, "Closed"); reason != socketio.ReasonServerDisconnect {
		t.Errorf("closed with %q", reason)
	}
}

func TestRefusedOverWebSocket(t *testing.T) {
	t.Parallel()
	hub := newHub()
	hub.authorize = refuseAll
	c := newWire(t, hub).dial("")
	c.read()
	c.expect(`44"no"`)
	c.expect("41")
	if _, err := wsutil.ReadServerText(c.conn); err == nil {
		t.Error("the session goes on")
	}
}

// A poller is a client of Engine.IO 3 over long polling in text framing, as of socket.io-client without
// XMLHttpRequest 2.
type poller struct {
	*wire
	sid   string
	queue []string
}

func (w *wire) poll() *poller {
	w.Helper()
	p := &poller{wire: w}
	open := p.next()
	_, rest, _ := strings.Cut(open, `"sid":"`)
	p.sid, _, _ = strings.Cut(rest, `"`)
	if p.sid == "" {
		w.Fatalf("open packet %q", open)
	}
	return p
}

func (p *poller) url() string {
	u := p.http.URL + "/?EIO=3&transport=polling&b64=1"
	if p.sid != "" {
		u += "&sid=" + p.sid
	}
	return u
}

func (p *poller) next() string {
	p.Helper()
	for len(p.queue) == 0 {
		resp, err := http.Get(p.url())
		if err != nil {
			p.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			p.Fatalf("%d %s", resp.StatusCode, body)
		}
		p.queue = p.split(string(body))
	}
	m := p.queue[0]
	p.queue = p.queue[1:]
	return m
}

// split reads a payload whose lengths count UTF-16 units.
func (p *poller) split(body string) (packets []string) {
	units := utf16.Encode([]rune(body))
	for len(units) > 0 {
		digits, _, ok := strings.Cut(string(utf16.Decode(units[:min(8, len(units))])), ":")
		n, err := strconv.Atoi(digits)
		if start := len(digits) + 1; ok && err == nil && n <= len(units)-start {
			packets = append(packets, string(utf16.Decode(units[start:start+n])))
			units = units[start+n:]
			continue
		}
		p.Fatalf("payload %q", body)
	}
	return packets
}

func (p *poller) expect(want string) {
	p.Helper()
	if got := p.next(); got != want {
		p.Fatalf("%q, not %q", got, want)
	}
}

func (p *poller) post(packets ...string) {
	p.Helper()
	var body strings.Builder
	for _, m := range packets {
		fmt.Fprintf(&body, "%d:%s", len(utf16.Encode([]rune(m))), m)
	}
	resp, err := http.Post(p.url(), "text/plain;charset=UTF-8", strings.NewReader(body.String()))
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
		p.Fatalf("%d %s", resp.StatusCode, answer)
	}
}

// utf8Encode is what socket.io-client 1.x does once more to text over polling: each byte of its UTF-8 as a
// character.
func utf8Encode(s string) string {
	var out []rune
	for _, b := range []byte(s) {
		out = append(out, rune(b))
	}
	return string(out)
}

func TestOverPolling(t *testing.T) {
	t.Parallel()
	hub := newHub()
	hub.onEvent = func(s *fakeSocket, e socketio.Event) {
		s.link.Session().Send(socketio.AckPacket("/", e.ID, socketio.Encoded{}))
	}
	w := newWire(t, hub)
	p := w.poll()
	p.expect("40")
	s := recv(t, hub.entered, "Enter")
	p.post(`420["a,b]","plain"]`, `421["ünï","😀"]`)
	p.expect("430[]")
	p.expect("431[]")
	s.expect(t, "a,b]", `"plain"`)
	s.expect(t, "ünï", `"😀"`)
	p.post(utf8Encode(`422["ünï","😀"]`)) // as 1.7.4 has it
	p.expect("432[]")
	s.expect(t, "ünï", `"😀"`)
	p.post(`451-0["bin",{"_placeholder":true,"num":0}]`, "b4AQID")
	p.expect("430[]")
	if e := recv(t, s.events, "bin"); string(e.Args.Attachments[0]) != "\x01\x02\x03" {
		t.Errorf("attachments %q", e.Args.Attachments)
	}
	p.post("41", "1")
	if reason := recv(t, s.closed, "Closed"); reason != socketio.ReasonClientDisconnect {
		t.Errorf("closed with %q", reason)
	}
}

// with is w in a subtest.
func (w *wire) with(t *testing.T) *wire {
	copied := *w
	copied.T = t
	return &copied
}

// among runs other while a client that does nothing wrong goes on undisturbed; then that client alone is left.
func (w *wire) among(n int, other func(w *wire, i int)) {
	stays := w.dial("")
	stays.read()
	stays.expect("40")
	echoes := func(name string, n int) {
		for i := range n {
			stays.send(fmt.Sprintf(`42["%s",%d]`, name, i))
			stays.expect(fmt.Sprintf(`42["%s",%d]`, name, i))
		}
	}
	w.Run("among", func(t *testing.T) {
		for i := range n {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				other(w.with(t), i)
			})
		}
		t.Run("stays", func(t *testing.T) {
			t.Parallel()
			stays.T = t
			echoes("during", 50)
		})
	})
	waitFor(w.T, func() bool { return w.engine.Len() == 1 })
	stays.T = w.T
	echoes("after", 1)
}

// Clients that upgrade and leave harm nobody: go-socket.io gets nothing of it but the end. Its own upgrade
// froze a server for 35 s.
func TestUpgradeAndLeave(t *testing.T) {
	t.Parallel()
	hub := newHub()
	hub.onEvent = echo
	newWire(t, hub).among(20, func(w *wire, i int) {
		p := w.poll()
		p.expect("40")
		c := w.dial("&sid=" + p.sid)
		c.send("2probe")
		c.expect("3probe")
		if i%2 == 0 { // leaves in the middle of it
			c.conn.Close()
			p.post("1")
			return
		}
		c.send("5")
		c.send(`42["x",1]`)
		c.expect(`42["x",1]`)
		c.conn.Close()
	})
}

// Frames that stock go-socket.io dies of, and all else that breaks the grammar: that session ends, and nobody
// else's.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	hub := newHub()
	hub.onEvent = echo
	newWire(t, hub).among(len(broken), func(w *wire, i int) {
		c := w.dial("")
		defer c.conn.Close()
		c.read()
		c.expect("40")
		c.send("4" + broken[i])
		_ = wsutil.WriteClientBinary(c.conn, []byte("\x04attachment")) // it may be gone
		_ = wsutil.WriteClientText(c.conn, []byte(`42["end"]`))
		for {
			text, err := wsutil.ReadServerText(c.conn)
			if err != nil {
				return
			}
			if strings.Contains(string(text), "end") {
				t.Errorf("%q: the session goes on", broken[i])
				return
			}
		}
	})
}
