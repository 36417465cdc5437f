package socketio_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/parleychat/chat"
)

const patience = 20 * time.Second

// A page is a client on a real connection, that keeps what a recovery needs.
type page struct {
	*testing.T
	net.Conn
	r           *bufio.Reader
	pid, offset string
	numbers     []int // of the events n
	failed      string
}

func (p *page) Read(b []byte) (int, error) { return p.r.Read(b) }

// dial connects to hub and joins "/" with auth. The connection takes nothing that is not being read.
func (p *page) dial(hub *chat.Hub, auth string) {
	p.Helper()
	l := &oneConn{make(chan net.Conn, 1), make(chan struct{})}
	srv := &http.Server{Handler: hub}
	go func() { _ = srv.Serve(l) }()
	p.Cleanup(func() { close(l.done) })
	client, server := net.Pipe()
	l.conns <- server
	d := ws.Dialer{NetDial: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
	conn, br, _, err := d.Dial(context.Background(), "ws://x/socket.io/?EIO=4&transport=websocket")
	if err != nil {
		p.Fatal(err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	p.Conn, p.r = conn, br
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := wsutil.WriteClientText(p, []byte("40"+auth)); err != nil {
		p.Fatal(err)
	}
	for p.pid = ""; p.pid == ""; {
		p.next()
	}
}

// next takes a packet; false: the connection is over.
func (p *page) next() bool {
	text, err := wsutil.ReadServerText(p)
	if err != nil {
		_ = p.Conn.Close()
		return false
	}
	switch m := string(text); {
	case strings.HasPrefix(m, "40"):
		var o struct{ PID string }
		_ = json.Unmarshal(text[2:], &o)
		p.pid = o.PID
	case strings.HasPrefix(m, `42["n",`):
		var n int
		var args [4]any
		if err := json.Unmarshal(text[2:], &[]any{&args[0], &n, &args[1], &p.offset}); err != nil {
			p.Error(err)
		}
		p.numbers = append(p.numbers, n)
	case strings.HasPrefix(m, `42["error",`):
		p.failed = m
	}
	return true
}

// A page whose session ended by a bound learns why, comes back, and has missed nothing.
func TestRecoveryAfterFarewell(t *testing.T) {
	t.Parallel()
	const outbox = 256 << 10
	text := strings.Repeat("x", 10_000)
	full := make(chan struct{})
	big := chat.OnCall("big", func(context.Context, *chat.Client, any) (string, error) {
		<-full
		return strings.Repeat("x", outbox), nil
	})
	for code, end := range map[string]func(hub *chat.Hub, p *page, emit func(string)){
		"TOO_LARGE": func(_ *chat.Hub, p *page, emit func(string)) {
			emit(text)
			go func() { _ = wsutil.WriteClientText(p.Conn, []byte("4"+strings.Repeat("x", 1_100_000))) }()
		},
		"SLOW_CONSUMER": func(hub *chat.Hub, p *page, emit func(string)) {
			// An answer that is larger than the outbox ends the session while events wait in it.
			_ = wsutil.WriteClientText(p, []byte(`421["big",null]`))
			deepest := func() int { return hub.Stats().OutboxDeepest }
			for deepest() < outbox/2 {
				emit(text)
			}
			close(full)
			for before := 0; before < deepest(); { // until one is not queued any more
				before = deepest()
				emit("x")
				runtime.Gosched()
			}
		},
	} {
		t.Run(code, func(t *testing.T) {
			hub, err := chat.New(big, chat.WithRooms("r"), chat.WithLimits(chat.Limits{Outbox: outbox}), chat.WithLogger(slog.New(slog.DiscardHandler)))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = hub.Shutdown(context.Background()) }()
			emitted := 0
			emit := func(text string) {
				emitted++
				if err := hub.Room("r").Emit("n", emitted, text); err != nil {
					t.Fatal(err)
				}
			}
			p := &page{T: t}
			p.dial(hub, "")
			emit(text)
			for len(p.numbers) == 0 {
				p.next()
			}
			end(hub, p, emit)
			for p.next() {
			}
			if !strings.HasPrefix(p.failed, `42["error",{"code":"`+code+`"`) {
				t.Errorf("told %q", p.failed)
			}
			emit(text)
			pid, seen := p.pid, len(p.numbers)
			p.dial(hub, fmt.Sprintf(`{"pid":%q,"offset":%q}`, pid, p.offset))
			if p.pid != pid {
				t.Fatalf("not recovered, at %d of %d events", seen, emitted)
			}
			for len(p.numbers) < emitted && p.next() {
			}
			for i, n := range p.numbers {
				if n != i+1 {
					t.Fatalf("event %d came as number %d", n, i+1)
				}
			}
			t.Logf("%d of %d events came before the end", seen, emitted)
			_ = p.Conn.Close()
		})
	}
}
