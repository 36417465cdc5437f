package metrics_test

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws/wsutil"
)

// stopReading joins by a WebSocket and reads nothing after that.
func stopReading(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: "+addr+
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	for line := ""; line != "\r\n"; {
		if line, err = br.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	rw := struct {
		io.Reader
		io.Writer
	}{br, c}
	for _, first := range []byte{'0', '4'} { // of Engine.IO, then of the namespace
		p, err := wsutil.ReadServerText(rw)
		if err != nil || p[0] != first {
			t.Fatalf("%q %v", p, err)
		}
		if first == '0' {
			if err := wsutil.WriteClientText(rw, []byte("40")); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// waitFor waits for what another goroutine does.
func waitFor(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}
