package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"github.com/parleychat/chat/metrics"
)

type object = map[string]any

// newHub is a Hub with m, shut down when the test ends.
func newHub(t *testing.T, m *metrics.Metrics, opts ...chat.Option) *chat.Hub {
	t.Helper()
	hub, err := chat.New(append(opts, chat.WithObserver(m), chat.WithLogger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return hub
}

func byToken(_ context.Context, h *chat.Handshake) (chat.User, error) {
	var a struct{ Token string }
	if err := h.Decode(&a); err != nil {
		return chat.User{}, err
	}
	switch a.Token {
	case "":
		return chat.User{}, chat.Errorf(chat.Unauthorized, "who are you?")
	case "banned":
		return chat.User{}, chat.Errorf("BANNED", "go away")
	case "odd":
		return chat.User{}, errors.New("the session database is away")
	}
	return chat.User{ID: a.Token}, nil
}

func as(token string) chattest.Option { return chattest.Auth(object{"token": token}) }

func TestHubConnects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		hub := newHub(t, m, chat.WithAuth(byToken), chat.Namespace("/admin"))
		ann := chattest.Dial(t, hub, as("ann"))
		chattest.Dial(t, hub, as("bob"), chattest.Polling(), chattest.Namespace("/admin"))
		for _, token := range []string{"", "banned", "odd"} {
			if _, err := chattest.TryDial(t, hub, as(token)); err == nil {
				t.Fatalf("%q was let in", token)
			}
		}
		const connects = "socketio_connections_total"
		want(t, m, 1, connects, "namespace=/", "transport=websocket", "protocol=5", "result=accepted")
		want(t, m, 1, connects, "namespace=/admin", "transport=polling", "protocol=5", "result=accepted")
		want(t, m, 1, connects, "namespace=/", "result=UNAUTHORIZED")
		want(t, m, 1, connects, "namespace=/", "result=other")
		want(t, m, 1, connects, "namespace=/", "result=INTERNAL")
		want(t, m, 5, connects)
		want(t, m, 1, "socketio_errors_total", "code=UNAUTHORIZED")
		want(t, m, 2, "socketio_clients_connected")

		ann.Close()
		synctest.Wait()
		want(t, m, 1, "socketio_clients_connected")
		want(t, m, 1, "socketio_disconnects_total")
		want(t, m, 1, "socketio_disconnects_total", "reason=client namespace disconnect")
	})
}

func TestHubMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		hub := newHub(t, m, chat.WithRooms("r"), chat.WithPresence(0))
		ann, bob := chattest.Dial(t, hub), chattest.Dial(t, hub)
		for range 3 {
			ann.Call("chat_message", "hello")
			bob.Expect("new_message")
		}
		ann.Call("chat_message", object{"room": "elsewhere", "text": "hello"})
		ann.Emit("no such event")
		ann.Expect("error")
		ann.Call("history", object{"room": "r"})
		synctest.Wait()
		for _, metric := range []string{"socketio_messages_received_total", "socketio_ack_duration_seconds"} {
			want(t, m, 4, metric, "event=chat_message")
			want(t, m, 1, metric, "event=history")
			want(t, m, 1, metric, "event=other")
			want(t, m, 6, metric)
		}
		want(t, m, 1, "socketio_errors_total", "code=NOT_MEMBER")
		want(t, m, 1, "socketio_errors_total", "code=UNKNOWN_EVENT")
		want(t, m, 2, "socketio_errors_total")
		want(t, m, 3, "socketio_store_duration_seconds", "op=append", "result=ok")
		want(t, m, 3, "socketio_store_batch_entries")
		want(t, m, 1, "socketio_store_duration_seconds", "op=page")
		want(t, m, 1, "socketio_rooms")
		want(t, m, 2, "socketio_sessions")
		want(t, m, 0, "socketio_sessions_pending")
		if n := value(t, m, "socketio_deliveries_total"); n < 3 {
			t.Errorf("%v deliveries of three messages", n)
		}
		for _, metric := range []string{"socketio_received_bytes_total", "socketio_sent_bytes_total"} {
			if n := value(t, m, metric); n < 100 {
				t.Errorf("%s: %v", metric, n)
			}
		}
	})
}

func TestHubRecoveries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		hub := newHub(t, m, chat.WithRooms("r"))
		ann := chattest.Dial(t, hub)
		ann.Reconnect()
		if !ann.Recovered() {
			t.Fatal("not recovered")
		}
		ann.Drop()
		time.Sleep(time.Hour)
		ann.Reconnect()
		chattest.Dial(t, hub)
		want(t, m, 1, "socketio_recoveries_total", "result=recovered")
		want(t, m, 1, "socketio_recoveries_total", "result=lost")
	})
}

// failing is a store that is slow or fails when it is told to.
type failing struct {
	chat.Store
	hang, fail atomic.Bool
}

func (s *failing) Append(ctx context.Context, entries []chat.Entry) ([]chat.Appended, error) {
	if s.hang.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.fail.Load() {
		return nil, errors.New("disk full")
	}
	return s.Store.Append(ctx, entries)
}

func TestHubStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s := metrics.New(), &failing{Store: chat.NewMemoryStore(0, 0)}
		hub := newHub(t, m, chat.WithRooms("r"), chat.WithStore(s), chat.WithTimeouts(chat.Timeouts{Store: time.Second}))
		ann := chattest.Dial(t, hub)
		ann.Call("chat_message", "saved")
		s.fail.Store(true)
		ann.Call("chat_message", "not saved")
		s.fail.Store(false)
		s.hang.Store(true)
		ann.Call("chat_message", "nobody knows")
		s.hang.Store(false)
		synctest.Wait()
		for _, result := range []string{"ok", "error", "timeout"} {
			want(t, m, 1, "socketio_store_duration_seconds", "op=append", "result="+result)
		}
		want(t, m, 2, "socketio_errors_total", "code=UNAVAILABLE")
		want(t, m, 3, "socketio_ack_duration_seconds", "event=chat_message")
		hist := gather(t, m)["socketio_ack_duration_seconds"].GetMetric()
		for _, h := range hist {
			if hasLabels(h, []string{"event=chat_message"}) && h.GetHistogram().GetSampleSum() < 1 {
				t.Errorf("the answers took %v s in all, and one took a second", h.GetHistogram().GetSampleSum())
			}
		}
	})
}

func TestHubEvictsSlowConsumer(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	left := make(chan struct{})
	hub := newHub(t, m, chat.WithRooms("r"), chat.WithLimits(chat.Limits{Outbox: 64 << 10}), chat.WithPresence(0),
		chat.OnDisconnect(func(_ context.Context, _ *chat.Client, why string) {
			if why == "slow consumer" {
				close(left)
			}
		}))
	srv := httptest.NewServer(hub)
	defer srv.Close()
	conn := stopReading(t, srv.Listener.Addr().String())
	defer conn.Close()
	text, deepest := strings.Repeat("x", 8000), 0.0
	deadline := time.After(30 * time.Second)
	for out := false; !out; {
		if err := hub.Room("r").Emit("n", text); err != nil {
			t.Fatal(err)
		}
		deepest = max(deepest, value(t, m, "socketio_outbox_deepest_bytes"))
		select {
		case <-left:
			out = true
		case <-deadline:
			t.Fatal("nobody was evicted")
		default:
		}
	}
	if deepest < 8000 {
		t.Errorf("the deepest outbox had %v bytes", deepest)
	}
	waitFor(t, func() bool { return value(t, m, "socketio_evictions_total", "reason=slow consumer") == 1 })
	waitFor(t, func() bool { return value(t, m, "socketio_errors_total", "code=SLOW_CONSUMER") == 1 })
	waitFor(t, func() bool { return value(t, m, "socketio_outbox_bytes") == 0 })
	want(t, m, 1, "socketio_disconnects_total", "reason=slow consumer")
	want(t, m, 1, "socketio_evictions_total")
}

// What a hostile page makes up, names of events and namespaces, it makes no series of.
func TestHostileClientMakesNoSeries(t *testing.T) {
	t.Parallel()
	m := metrics.New(metrics.Events("cursor"))
	hub := newHub(t, m, chat.WithPresence(0))
	mallory := chattest.Dial(t, hub, chattest.Timeout(20*time.Second))
	mallory.Call("first")
	before := lines(t, m)
	const names = 10_000
	for i := range names {
		mallory.Emit(fmt.Sprintf("event-%d", i), i)
	}
	mallory.Call("last")
	for i := range 200 {
		if _, err := chattest.TryDial(t, hub, chattest.Namespace(fmt.Sprintf("/space-%d", i))); err == nil {
			t.Fatal("a namespace that nobody declared")
		}
	}
	mallory.Call("chat_message", object{"room": "none", "text": "x"}) // NOT_MEMBER: a known code
	waitFor(t, func() bool { return value(t, m, "socketio_ack_duration_seconds") == names+3 })
	want(t, m, names+2, "socketio_messages_received_total", "event=other")
	want(t, m, names+2, "socketio_errors_total", "code=UNKNOWN_EVENT")
	if after := lines(t, m); after != before {
		t.Errorf("%d lines became %d", before, after)
	}
}

func TestSeveralHubs(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	for range 2 {
		chattest.Dial(t, newHub(t, m, chat.WithRooms("r")))
	}
	want(t, m, 2, "socketio_clients_connected")
	want(t, m, 2, "socketio_connections_total")
}

func TestHandler(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	chattest.Dial(t, newHub(t, m))
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body := w.Body.String()
	for _, line := range []string{
		`socketio_connections_total{namespace="/",protocol="5",result="accepted",transport="websocket"} 1`, "socketio_clients_connected 1", "go_goroutines ", "process_cpu_seconds_total ",
	} {
		if !strings.Contains(body, "\n"+line) {
			t.Errorf("no %s", line)
		}
	}
}
