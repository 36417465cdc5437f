package chat_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/parleychat/chat"
)

// rawConn is a WebSocket client of Engine.IO 4 that sends what it is told to.
type rawConn struct {
	net.Conn
	r *bufio.Reader
}

func dialRaw(t testing.TB, addr string) *rawConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, br, _, err := ws.Dial(ctx, "ws://"+addr+"/socket.io/?EIO=4&transport=websocket")
	if err != nil {
		t.Fatal(err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &rawConn{Conn: conn, r: br}
	c.expect(t, "0{")
	return c
}

func (c *rawConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func (c *rawConn) send(t testing.TB, text string) {
	t.Helper()
	if err := wsutil.WriteClientText(c, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// expect reads texts until one begins with prefix; pings are answered.
func (c *rawConn) expect(t testing.TB, prefix string) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		text, err := wsutil.ReadServerText(c)
		if err != nil {
			t.Fatalf("waiting for %q: %v", prefix, err)
		}
		if strings.HasPrefix(string(text), prefix) {
			return string(text)
		}
		if string(text) == "2" {
			c.send(t, "3")
		}
	}
}

// An event answered with ErrNoAck gets neither an ack nor an error: the next thing that the client hears is
// about its next event.
func TestErrNoAck(t *testing.T) {
	t.Parallel()
	hub := newHub(t,
		chat.On("silent", func(context.Context, *chat.Client, any) error { return fmt.Errorf("not now: %w", chat.ErrNoAck) }),
		chat.On("loud", func(context.Context, *chat.Client, any) error { return nil }),
	)
	srv := httptest.NewServer(hub)
	t.Cleanup(srv.Close)
	c := dialRaw(t, srv.Listener.Addr().String())
	c.send(t, "40")
	c.expect(t, "40")
	for _, packet := range []string{`421["silent"]`, `42["silent"]`, `422["loud"]`} {
		c.send(t, packet)
	}
	if got := c.expect(t, "4"); got != `432[{"ok":true}]` {
		t.Fatalf("got %s", got)
	}
}
