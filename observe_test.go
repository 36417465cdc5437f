package chat_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// witness is an Observer of everything. In each call it asks the Hub for what needs the Hub's locks, so that a call under one of them deadlocks.
type witness struct {
	mu   sync.Mutex
	hub  *chat.Hub
	seen []string
}

type witnessKey struct{}

func (w *witness) note(ctx context.Context, format string, args ...any) {
	w.mu.Lock()
	w.seen = append(w.seen, fmt.Sprintf(format, args...)+trail(ctx))
	hub := w.hub
	w.mu.Unlock()
	hub.Stats()
	for _, h := range []*chat.Hub{hub, hub.Of("/other")} {
		_, _ = h.Rooms(context.Background())
		_, _ = h.Room("r").Members(context.Background())
		_, _ = h.Room("r").Clients(context.Background())
		_ = h.To(chat.Users("nobody")).Emit("x") // to nobody: what it delivers is observed, too, and not noted
	}
}

// trail is what observers before have put into a context.
func trail(ctx context.Context) string {
	text, _ := ctx.Value(witnessKey{}).(string)
	if text != "" {
		text = " <" + text
	}
	return text
}

func (w *witness) mark(ctx context.Context, what string) context.Context {
	return context.WithValue(ctx, witnessKey{}, strings.TrimPrefix(strings.TrimPrefix(trail(ctx)+" "+what, " <"), " "))
}

// take gives what was seen.
func (w *witness) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

func (w *witness) want(t testing.TB, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := w.take(); !slices.Equal(got, want) {
		t.Errorf("observed\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func (w *witness) ObserveHub(h *chat.Hub) { w.hub = h }

func (w *witness) ObserveConnect(ctx context.Context, h *chat.Handshake) (context.Context, func(*chat.Client, *chat.Error)) {
	w.note(ctx, "connect %s %s", h.Namespace, h.Transport)
	ctx = w.mark(ctx, "connect")
	return ctx, func(c *chat.Client, refused *chat.Error) {
		switch {
		case c != nil:
			w.note(ctx, "connected %s", c.User().ID)
		case refused != nil:
			w.note(ctx, "refused %s", refused.Code)
		default:
			w.note(ctx, "went away")
		}
	}
}

func (w *witness) ObserveDisconnect(ctx context.Context, c *chat.Client, reason string) {
	w.note(ctx, "left %s: %s", c.User().ID, reason)
}

func (w *witness) ObserveEvent(ctx context.Context, c *chat.Client, e *chat.Event) (context.Context, func(error)) {
	w.note(ctx, "event %s of %s, ack %v", e.Name, c.User().ID, e.NeedsAck)
	ctx = w.mark(ctx, "event")
	return ctx, func(err error) { w.note(ctx, "handled %s: %v", e.Name, err) }
}

func (w *witness) ObserveStore(ctx context.Context, call chat.StoreCall) (context.Context, func(error)) {
	trails := ""
	for _, ctx := range call.For {
		trails += trail(ctx)
	}
	w.note(ctx, "store %s %d%s", call.Op, call.Entries, trails)
	ctx = w.mark(ctx, "store")
	return ctx, func(err error) { w.note(ctx, "stored: %v", err) }
}

func (w *witness) ObserveDeliver(ctx context.Context, d chat.Delivery) {
	if d.Event == "x" {
		return
	}
	text := ""
	if d.Entry != nil {
		text = fmt.Sprintf(" seq %d", d.Entry.Seq)
	}
	if d.Begin.IsZero() || time.Since(d.Begin) > time.Second || d.Bytes == 0 {
		text += fmt.Sprintf(" %+v", d)
	}
	w.note(ctx, "deliver %s %s in %q to %d%s", d.Namespace, d.Event, d.Room, d.Clients, text)
}

func (w *witness) ObserveLimit(ctx context.Context, hit chat.LimitHit) {
	w.note(ctx, "limit %s %s of %s %s", hit.Limit, hit.Step, hit.Per, hit.UserID)
}

func (w *witness) ObserveError(ctx context.Context, c *chat.Client, code chat.Code, event string) {
	w.note(ctx, "error %s for %q, client %v", code, event, c != nil)
}

// Each piece is called when it says, in order, with the context of what it observes, and under no lock.
func TestObserver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &witness{}
		handled := make(chan string, 9)
		hub := newHub(t, byUser(), chat.WithObserver(w), chat.WithRooms("r"), chat.WithStore(newHookedStore()), chat.WithPresence(0), chat.Namespace("/other"),
			chat.WithLimits(chat.Limits{RoomsPerClient: 1, ClientsPerUser: 2, PendingPerAddress: 5}),
			chat.OnConnect(func(ctx context.Context, _ *chat.Client) { handled <- "OnConnect" + trail(ctx) }),
			chat.OnDisconnect(func(ctx context.Context, _ *chat.Client, _ string) { handled <- "OnDisconnect" + trail(ctx) }),
			chat.On("host", func(ctx context.Context, c *chat.Client, room string) error {
				handled <- "host" + trail(ctx)
				return c.Room(room).WithContext(ctx).Emit("told", 1)
			}),
			chat.On("fails", func(context.Context, *chat.Client, any) error { return chat.Errorf("TEAPOT", "no coffee") }))
		if w.hub != hub && w.hub.Stats().Clients != hub.Stats().Clients {
			t.Error("another Hub")
		}
		wantHandled := func(want string) {
			t.Helper()
			if got := <-handled; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		ann := chattest.Dial(t, hub, as("ann"))
		wantHandled("OnConnect <connect")
		synctest.Wait()
		seen := w.take()
		slices.Sort(seen) // the room's log is looked at meanwhile
		if want := []string{"connect / websocket", "connected ann <connect", "store bounds 0", "stored: <nil> <store"}; !slices.Equal(seen, want) {
			t.Errorf("%q", seen)
		}

		mustAsk(t, ann, "chat_message", "hi")
		w.want(t, "event chat_message of ann, ack true <connect", "store append 1 <connect event", "stored: <nil> <store",
			`deliver / new_message in "r" to 0 seq 1 <connect event`, "handled chat_message: <nil> <connect event")

		ann.Emit("host", "r")
		wantHandled("host <connect event")
		w.want(t, "event host of ann, ack false <connect", `deliver / told in "r" to 1 <connect event`, "handled host: <nil> <connect event")

		ask(t, ann, "fails")
		w.want(t, "event fails of ann, ack true <connect", `error TEAPOT for "fails", client true <connect event`, "handled fails: chat: TEAPOT: no coffee <connect event")
		ann.Emit("fails")
		w.want(t, "event fails of ann, ack false <connect", `error TEAPOT for "fails", client true <connect event`, "handled fails: chat: TEAPOT: no coffee <connect event")

		ask(t, ann, "join_room", object{"room": "second"})
		synctest.Wait()
		if seen = w.take(); !slices.Contains(seen, "limit RoomsPerClient refused of client ann <connect event") || !slices.Contains(seen, `error RATE_LIMITED for "join_room", client true <connect event`) {
			t.Errorf("%q", seen)
		}

		if _, err := hub.Room("r").Post(w.mark(t.Context(), "post"), chat.Post{Text: "from the host"}); err != nil {
			t.Fatal(err)
		}
		w.want(t, "store append 1 <post", "stored: <nil> <store", `deliver / new_message in "r" to 1 seq 2 <post`)
		if err := hub.To(chat.Users("ann")).WithContext(w.mark(t.Context(), "emit")).Emit("private", 1); err != nil {
			t.Fatal(err)
		}
		w.want(t, `deliver / private in "" to 1 <emit`)
		mustAsk(t, ann, "history", object{"room": "r"})
		w.want(t, "event history of ann, ack true <connect", "store page 0 <connect event", "stored: <nil> <connect event store", "store bounds 0 <connect event",
			"stored: <nil> <connect event store", "handled history: <nil> <connect event")

		other := chattest.Dial(t, hub, as("ann"), chattest.Namespace("/other"), chattest.Polling())
		w.want(t, "connect /other polling", "connected ann <connect")
		second := chattest.Dial(t, hub, as("ann"))
		wantHandled("OnConnect <connect")
		w.want(t, "connect / websocket", "connected ann <connect")
		if _, err := chattest.TryDial(t, hub, as("ann")); err == nil {
			t.Error("a third client of a user")
		}
		w.want(t, "connect / websocket", "limit ClientsPerUser refused of user ann <connect", `error RATE_LIMITED for "connect", client false <connect`, "refused RATE_LIMITED <connect")
		if _, err := chattest.TryDial(t, hub); err == nil {
			t.Error("nobody")
		}
		w.want(t, "connect / websocket", `error UNAUTHORIZED for "connect", client false <connect`, "refused UNAUTHORIZED <connect")

		// How clients leave.
		other.Close()
		w.want(t, "left ann: client namespace disconnect <connect")
		second.Drop()
		wantHandled("OnDisconnect <connect")
		w.want(t, "left ann: transport close <connect")
		if err := hub.Revoke(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		wantHandled("OnDisconnect <connect")
		w.want(t, `error UNAUTHORIZED for "", client true <connect`, "left ann: revoked <connect")
	})
}

// The calls for which no client asks.
func TestObserveUpkeep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &witness{}
		hub := newHub(t, chat.WithObserver(w), chat.WithRetention(time.Hour, func(string) chat.Retention { return chat.Retention{Count: 1} }))
		for range 2 {
			if _, err := hub.Room("r").Post(t.Context(), chat.Post{Text: "from the host", UserID: "ann"}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		w.take()
		time.Sleep(time.Minute)
		w.want(t, "store rooms 0", "stored: <nil> <store", "store trim 0", "stored: <nil> <store", "store rooms 0", "stored: <nil> <store")
		failed := errors.New("enough")
		if err := hub.ExportUser(w.mark(t.Context(), "export"), "ann", func(chat.Entry) error { return failed }); !errors.Is(err, failed) {
			t.Error(err)
		}
		w.want(t, "store exportuser 0 <export", "stored: enough <export store")
		if n, err := hub.EraseUser(w.mark(t.Context(), "erase"), "ann"); n != 1 || err != nil {
			t.Error(n, err)
		}
		w.want(t, "store eraseuser 0 <erase", "stored: <nil> <erase store")
	})
}

// Observers are called one after the other, each with the context of the one before; what has nothing to observe is refused.
func TestObserversInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, two := &witness{}, &witness{}
		hub := newHub(t, chat.WithObserver(one, two), chat.WithRooms("r"))
		c := chattest.Dial(t, hub)
		one.take()
		two.take()
		c.Emit("nobody_knows")
		user := hub.Client(c.ID()).User().ID
		one.want(t, "event nobody_knows of "+user+", ack false <connect connect", `error UNKNOWN_EVENT for "nobody_knows", client true <connect connect event event`,
			"handled nobody_knows: chat: UNKNOWN_EVENT: nobody handles this event <connect connect event")
		two.want(t, "event nobody_knows of "+user+", ack false <connect connect event", `error UNKNOWN_EVENT for "nobody_knows", client true <connect connect event event`,
			"handled nobody_knows: chat: UNKNOWN_EVENT: nobody handles this event <connect connect event event")
	})
	for _, o := range []chat.Observer{nil, 1, "x", struct{}{}, &struct{ chat.Hub }{}} {
		if _, err := chat.New(chat.WithObserver(o)); err == nil || !strings.Contains(err.Error(), "observes nothing") {
			t.Errorf("%T: %v", o, err)
		}
	}
}

// partial has only some pieces, and returns as little as it may.
type partial struct{}

func (*partial) ObserveConnect(context.Context, *chat.Handshake) (context.Context, func(*chat.Client, *chat.Error)) {
	return nil, nil
}
func (*partial) ObserveEvent(context.Context, *chat.Client, *chat.Event) (context.Context, func(error)) {
	return nil, nil
}
func (*partial) ObserveStore(context.Context, chat.StoreCall) (context.Context, func(error)) {
	return nil, nil
}

func TestObserverThatReturnsNothing(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithObserver(&partial{}), chat.WithRooms("r"), chat.WithStore(newHookedStore()))
	a := mustAsk(t, chattest.Dial(t, hub), "chat_message", "hi")
	if a.Message.Seq != 1 {
		t.Error(a)
	}
}

// Who goes away while auth thinks is decided, too.
func TestObserverOfWhoWentAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &witness{}
		ts := newTokens(map[string]chat.User{"a": {ID: "ann"}})
		ts.delay(func(context.Context) { time.Sleep(time.Minute) })
		hub := newHub(t, chat.WithAuth(ts.auth), chat.WithObserver(w))
		page := dialWire(t, serveInMemory(t, hub), "4", nil)
		page.send(t, `40{"token":"a"}`)
		synctest.Wait()
		_ = page.conn.Close()
		late := dialWire(t, serveInMemory(t, hub), "4", nil) // and who takes longer than Timeouts.Connect
		late.send(t, `40{"token":"a"}`)
		time.Sleep(11 * time.Second)
		if synctest.Wait(); !late.isOver() {
			t.Error("still there")
		}
		time.Sleep(time.Minute)
		w.want(t, "connect / websocket", "connect / websocket", "went away <connect", "went away <connect")
		if s := hub.Stats(); s.Clients+s.Sessions+s.Pending != 0 {
			t.Errorf("%+v", s)
		}
	})
}
