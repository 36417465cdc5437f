// Package faults_test holds what is known to break servers of this kind, against a Hub over real sockets.
// Whatever one client sends, the process lives, other clients notice nothing, and memory, goroutines and
// sessions come back to where they were.
package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleychat/chat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds each wait: long enough for a busy machine, and nothing passes by waiting for it.
const patience = 15 * time.Second

// A site is a Hub behind a listening server, with two bystanders in the room that everybody is in.
type site struct {
	hub   *chat.Hub
	addr  string
	logs  *logBuffer
	near  *peer // a client of 3.x or 4.x
	far   *peer // one of 1.x or 2.x
	count int
}

type typed struct {
	N int
	F float64
	S string
}

// handlers are what a host may have.
func handlers() []chat.Option {
	values := func(_ context.Context, _ *chat.Client, e *chat.Event) ([]any, error) { return e.Args.Values(), nil }
	return []chat.Option{
		chat.OnRaw("echo", values),
		chat.OnRaw("bin", values),
		chat.OnRaw("bcast", func(_ context.Context, c *chat.Client, e *chat.Event) ([]any, error) {
			return nil, c.Room("lobby").Emit("bcast", e.Args.Values()...)
		}),
		chat.On("typed", func(context.Context, *chat.Client, typed) error { return nil }),
		chat.On("boom", func(context.Context, *chat.Client, any) error { panic("boom in a handler") }),
		chat.On("nilmap", func(context.Context, *chat.Client, any) error {
			var m map[string]int
			//lint:ignore SA5000 the panic of a host's mistake is what is tried
			m["x"]++
			return nil
		}),
	}
}

func newSite(t testing.TB, opts ...chat.Option) *site {
	t.Helper()
	s := newEmptySite(t, opts...)
	s.near, s.far = dial(t, s, modern, overWS), dial(t, s, legacy, overWS)
	s.exchange(t)
	return s
}

// heartbeat is a short one. Both bystanders answer pings, as 3.x and 4.x clients do.
const heartbeat = 500 * time.Millisecond

func newHastySite(t testing.TB, opts ...chat.Option) *site {
	t.Helper()
	s := newEmptySite(t, append([]chat.Option{
		chat.WithHeartbeat(heartbeat, 3*heartbeat), chat.WithTimeouts(chat.Timeouts{Connect: 4 * heartbeat, Upgrade: 2 * heartbeat}),
	}, opts...)...)
	dial(t, s, legacy, overWS).close() // the first one makes go-socket.io's goroutine, which stays
	wantSoon(t, "it is gone", func() bool { return s.hub.Stats().Sessions == 0 })
	s.near, s.far = dial(t, s, modern, overWS), dial(t, s, modern, overWS)
	s.exchange(t)
	return s
}

// newEmptySite is a site without bystanders.
func newEmptySite(t testing.TB, opts ...chat.Option) *site {
	t.Helper()
	s := &site{logs: &logBuffer{}}
	all := append([]chat.Option{
		chat.WithLogger(slog.New(slog.NewTextHandler(s.logs, nil))), chat.WithRooms("lobby"),
		chat.WithGrace(0), chat.Namespace("/admin"),
	}, handlers()...)
	hub, err := chat.New(append(all, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	s.hub = hub
	srv := httptest.NewServer(hub)
	s.addr = srv.Listener.Addr().String()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		srv.Close()
	})
	return s
}

// exchange has the bystanders write to each other, with acks.
func (s *site) exchange(t testing.TB) {
	t.Helper()
	for _, way := range [][2]*peer{{s.near, s.far}, {s.far, s.near}} {
		s.count++
		text := fmt.Sprintf("message %d of the bystanders", s.count)
		way[0].send(t, text4(fmt.Sprintf(`42%d["chat_message",{"room":"lobby","text":"%s"}]`, s.count, text)))
		way[0].expect(t, fmt.Sprintf(`43%d[{"ok":true`, s.count))
		way[1].expectMatch(t, "the message", func(f frame) bool {
			return strings.HasPrefix(f.data, `42["new_message",`) && strings.Contains(f.data, text)
		})
	}
	s.near.in.clear()
	s.far.in.clear()
}

// usage is what must come back to where it was.
type usage struct {
	goroutines, sessions, clients int
	heap, total                   uint64
}

func (s *site) usage() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	st := s.hub.Stats()
	return usage{runtime.NumGoroutine(), st.Sessions, st.Clients, m.HeapAlloc, m.TotalAlloc}
}

const mega = 1 << 20

// survives runs f and wants that what it has used comes back, that it has allocated no more than alloc bytes,
// the clients' side of this process included (not with the race detector, which has pools forget), and that
// the bystanders notice nothing.
func (s *site) survives(t *testing.T, alloc uint64, f func(t *testing.T)) {
	t.Helper()
	before := s.usage()
	f(t)
	if t.Failed() {
		return
	}
	after := s.usage()
	if used := after.total - before.total; used > alloc && !raced {
		t.Errorf("%d bytes allocated, at most %d expected", used, alloc)
	}
	if s.near != nil {
		s.exchange(t)
	}
	s.settled(t, before)
}

// settled waits until all is as it was.
func (s *site) settled(t *testing.T, before usage) {
	t.Helper()
	var now usage
	ok := eventually(func() bool {
		now = s.usage()
		return now.goroutines <= before.goroutines && now.sessions <= before.sessions && now.clients <= before.clients
	})
	if !ok {
		if now.goroutines > before.goroutines {
			buf := make([]byte, mega)
			t.Logf("%s", buf[:runtime.Stack(buf, true)])
		}
		t.Fatalf("goroutines %d, sessions %d, clients %d; before: %d, %d, %d", now.goroutines, now.sessions, now.clients,
			before.goroutines, before.sessions, before.clients)
	}
	if now.heap < before.heap+8*mega {
		return
	}
	runtime.GC()
	runtime.GC() // what a sync.Pool holds goes with the second
	if now = s.usage(); now.heap > before.heap+8*mega {
		t.Errorf("%d bytes of heap are left", now.heap-before.heap)
	}
}

// eventually waits for a condition.
func eventually(cond func() bool) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return cond()
		}
	}
	return true
}

// wantSoon is eventually, or the end of the test.
func wantSoon(t testing.TB, what string, cond func() bool) {
	t.Helper()
	if !eventually(cond) {
		t.Fatalf("%s: not in %v", what, patience)
	}
}

// logBuffer is a log to look into.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.text.String()
	b.text.Reset()
	return text
}

var discard = slog.New(slog.DiscardHandler)

// unescape gives the texts of a piece of JSON, one after the other.
func unescape(t testing.TB, packet string) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(packet))
	var b strings.Builder
	for {
		token, err := d.Token()
		if err != nil {
			return b.String()
		}
		if s, ok := token.(string); ok {
			b.WriteString(s)
		}
	}
}
