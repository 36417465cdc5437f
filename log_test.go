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

// onlyStore is a store without anything optional.
type onlyStore struct{ chat.Store }

func keepAll(string) chat.Retention { return chat.Retention{} }

// hookedStore is a store in whose calls a test stands.
type hookedStore struct {
	chat.Store
	mu     sync.Mutex
	append func(ctx context.Context, e []chat.Entry) ([]chat.Appended, error) // nil: the store's
	page   func() error
	pages  int
	grown  chan func(namespace, room string) // Watch's, when it is called
}

func newHookedStore() *hookedStore {
	return &hookedStore{Store: chat.NewMemoryStore(0, 0), grown: make(chan func(string, string), 1)}
}

func (s *hookedStore) onAppend(f func(context.Context, []chat.Entry) ([]chat.Appended, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.append = f
}

func (s *hookedStore) onPage(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = f
}

func (s *hookedStore) Append(ctx context.Context, e []chat.Entry) ([]chat.Appended, error) {
	s.mu.Lock()
	f := s.append
	s.mu.Unlock()
	if f == nil {
		f = s.Store.Append
	}
	return f(ctx, e)
}

func (s *hookedStore) Page(ctx context.Context, q chat.PageQuery) ([]chat.Entry, bool, error) {
	s.mu.Lock()
	s.pages++
	f := s.page
	s.mu.Unlock()
	if f != nil {
		if err := f(); err != nil {
			return nil, false, err
		}
	}
	return s.Store.Page(ctx, q)
}

func (s *hookedStore) Watch(ctx context.Context, grown func(namespace, room string)) error {
	s.grown <- grown
	<-ctx.Done()
	return ctx.Err()
}

// elsewhere appends as another program would.
func (s *hookedStore) elsewhere(t *testing.T, room string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		e := chat.Entry{Kind: chat.KindMessage, Namespace: "/", Room: room, ID: "id-" + text, UserID: "zoe", Text: text}
		if _, err := s.Store.Append(t.Context(), []chat.Entry{e}); err != nil {
			t.Fatal(err)
		}
	}
}

// live expects a room's entries from seq on, by their texts and in their order.
func live(t *testing.T, c *chattest.Client, seq uint64, texts ...string) {
	t.Helper()
	for i, text := range texts {
		if e := entryOf(t, c.Expect("new_message")); e.Text != text || e.Seq != seq+uint64(i) {
			t.Fatalf("got %q as %d, want %q as %d", e.Text, e.Seq, text, seq+uint64(i))
		}
	}
}

// What the store has saved although it said that it had failed reaches everybody without anybody's asking.
func TestUnknownEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		hub := newHub(t, byUser(), chat.WithStore(store), chat.WithRooms("r"), chat.WithPresence(0))
		ann, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"))
		mustAsk(t, ann, "chat_message", "1")
		live(t, bob, 1, "1")
		store.onAppend(func(ctx context.Context, e []chat.Entry) ([]chat.Appended, error) {
			_, _ = store.Store.Append(ctx, e)
			return nil, errors.New("the connection broke after the commit")
		})
		wantCode(t, ask(t, ann, "chat_message", object{"text": "2", "message_id": "k"}), chat.Unavailable)
		live(t, bob, 2, "2")
		live(t, ann, 2, "2")
		store.onAppend(nil)
		if a := mustAsk(t, ann, "chat_message", object{"text": "2", "message_id": "k"}); a.Message.Seq != 2 {
			t.Errorf("%+v", a.Message)
		}
		mustAsk(t, bob, "chat_message", "3")
		live(t, ann, 3, "3")
		time.Sleep(time.Minute)
		ann.None("new_message")
		bob.None("new_message")
	})
}

// A transaction that the server commits after the deadline, when nobody writes any more, is found too.
func TestSavedAfterTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		hub := newHub(t, byUser(), chat.WithStore(store), chat.WithRooms("r"), chat.WithPresence(0))
		ann, bob := chattest.Dial(t, hub, as("ann"), chattest.Timeout(time.Minute)), chattest.Dial(t, hub, as("bob"))
		saved := make(chan struct{})
		store.onAppend(func(ctx context.Context, e []chat.Entry) ([]chat.Appended, error) {
			go func() {
				time.Sleep(15 * time.Second)
				_, _ = store.Store.Append(context.Background(), e)
				close(saved)
			}()
			<-ctx.Done()
			return nil, ctx.Err()
		})
		wantCode(t, ask(t, ann, "chat_message", "late"), chat.Unavailable)
		bob.None("new_message")
		<-saved
		time.Sleep(10 * time.Second)
		live(t, bob, 1, "late")
	})
}

func TestHolesAreFilled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		hub := newHub(t, byUser(), chat.WithStore(store), chat.WithPresence(0))
		ann, bob := chattest.Dial(t, hub, as("ann"), chattest.Timeout(time.Minute)), chattest.Dial(t, hub, as("bob"), chattest.Timeout(time.Minute))
		store.elsewhere(t, "r", "1", "2")
		for _, c := range []*chattest.Client{ann, bob} {
			if a := join(t, c, "r"); a.Seq != 2 {
				t.Fatalf("%+v", a)
			}
		}
		store.elsewhere(t, "r", "3", "4")
		if a := mustAsk(t, ann, "chat_message", object{"text": "5", "room": "r"}); a.Message.Seq != 5 {
			t.Errorf("%+v", a.Message)
		}
		live(t, bob, 3, "3", "4", "5")
		live(t, ann, 3, "3", "4")
		ann.None("new_message")

		// A hole that the store does not fill in time is told, and not passed over.
		store.onPage(func() error { return errors.New("no reads today") })
		store.elsewhere(t, "r", "6")
		a := ask(t, ann, "chat_message", object{"text": "7", "room": "r"})
		wantCode(t, a, chat.Unavailable) // although it is saved: its place in the order could not be kept
		var told struct {
			Code, Event, Room string
			After             uint64
		}
		bob.Expect("error").Args.Decode(0, &told)
		if told.Code != "UNAVAILABLE" || told.Event != "new_message" || told.Room != "r" || told.After != 5 {
			t.Errorf("%+v", told)
		}
		live(t, bob, 7, "7")
		store.onPage(nil)
		if a := mustAsk(t, bob, "history", object{"room": "r", "after": told.After}); len(a.Entries) != 2 {
			t.Errorf("%+v", a)
		}
		mustAsk(t, ann, "chat_message", object{"text": "8", "room": "r"})
		live(t, bob, 8, "8")
	})
}

// A hole larger than outboxes bear is told.
func TestLargeHole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		hub := newHub(t, byUser(), chat.WithStore(store), chat.WithRooms("r"), chat.WithPresence(0))
		ann := chattest.Dial(t, hub, as("ann"))
		mustAsk(t, ann, "chat_message", "1")
		texts := make([]string, 5000)
		for i := range texts {
			texts[i] = fmt.Sprint(i + 2)
		}
		store.elsewhere(t, "r", texts...)
		if a := mustAsk(t, ann, "chat_message", "x"); a.Message.Seq != 5002 {
			t.Errorf("%+v", a.Message)
		}
		live(t, ann, 2, texts[:1000]...)
		var told struct{ After uint64 }
		ann.Expect("error").Args.Decode(0, &told)
		if told.After != 1001 {
			t.Errorf("%+v", told)
		}
		ann.None("new_message")
	})
}

func TestWatcher(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		hub := newHub(t, byUser(), chat.WithStore(store), chat.WithRooms("r"), chat.WithPresence(0))
		ann := chattest.Dial(t, hub, as("ann"))
		grown := <-store.grown
		synctest.Wait()
		for i, call := range [][2]string{{"/", "r"}, {"/", ""}, {"", ""}} {
			store.elsewhere(t, "r", fmt.Sprint(i))
			ann.None("new_message")
			grown(call[0], call[1])
			live(t, ann, uint64(i)+1, fmt.Sprint(i))
		}
		pages := store.pages
		grown("/", "nobody is here")
		grown("/other", "")
		synctest.Wait()
		if store.pages != pages {
			t.Error("it read what nobody asked for")
		}
		ann.Drop()
		store.elsewhere(t, "r", "away")
		grown("/", "r")
		ann.Reconnect()
		if !ann.Recovered() {
			t.Error("not recovered")
		}
		live(t, ann, 4, "away")
	})
}

// One transaction takes the messages of all rooms; one that hangs holds up its own rooms only.
func TestGroupCommitAcrossRooms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		hub := newHub(t, byUser(), chat.WithStore(store))
		const rooms = 40
		clients := make([]*chattest.Client, rooms)
		for i := range clients {
			clients[i] = chattest.Dial(t, hub, as(fmt.Sprint("user", i)), chattest.Timeout(time.Minute))
			join(t, clients[i], fmt.Sprint("room", i))
		}
		calls := 0
		store.onAppend(func(ctx context.Context, e []chat.Entry) ([]chat.Appended, error) {
			calls++
			time.Sleep(10 * time.Millisecond)
			return store.Store.Append(ctx, e)
		})
		sendAll := func() {
			var all sync.WaitGroup
			for _, c := range clients {
				all.Go(func() { mustAsk(t, c, "chat_message", "x") })
			}
			all.Wait()
		}
		sendAll()
		if calls > 3 {
			t.Errorf("%d transactions for %d messages at once", calls, rooms)
		}

		store.onAppend(func(ctx context.Context, e []chat.Entry) ([]chat.Appended, error) {
			if slices.ContainsFunc(e, func(e chat.Entry) bool { return e.Room == "room0" }) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return store.Store.Append(ctx, e)
		})
		clients[0].Emit("chat_message", "hangs")
		synctest.Wait()
		began := time.Now()
		mustAsk(t, clients[1], "chat_message", "does not")
		if d := time.Since(began); d > time.Second {
			t.Errorf("another room waited for %v", d)
		}
		clients[0].Expect("error")
	})
}

// What waits longer than its sender does is not saved behind the sender's back.
func TestGivenUpBeforeItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		hub := newHub(t, byUser(), chat.WithStore(store), chat.WithRooms("r"), chat.WithPresence(0))
		ann := chattest.Dial(t, hub, as("ann"), chattest.Timeout(time.Minute))
		store.onAppend(func(ctx context.Context, e []chat.Entry) ([]chat.Appended, error) {
			time.Sleep(4 * time.Second)
			return store.Store.Append(ctx, e)
		})
		ann.Emit("chat_message", "first")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := hub.Room("r").Post(ctx, chat.Post{Text: "second"}); err == nil {
			t.Error("no error")
		}
		live(t, ann, 1, "first")
		time.Sleep(time.Minute)
		if _, last, _ := store.Bounds(t.Context(), "/", "r"); last != 1 {
			t.Errorf("%d entries", last)
		}
	})
}

func TestRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := chat.NewMemoryStore(0, 0)
		hub := newHub(t, chat.WithStore(store), chat.WithRetention(0, func(room string) chat.Retention {
			switch room {
			case "few":
				return chat.Retention{Count: 3}
			case "young":
				return chat.Retention{Age: 90 * time.Minute}
			}
			return chat.Retention{}
		}), chat.Namespace("/all"))
		posts := func() {
			for _, h := range []*chat.Hub{hub, hub.Of("/all")} {
				for _, room := range []string{"few", "young", "all"} {
					for i := range 5 {
						if _, err := h.Room(room).Post(t.Context(), chat.Post{Text: "x", UserID: "u", MessageID: fmt.Sprint(room, time.Now().Unix(), i)}); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		}
		kept := func(namespace, room string) uint64 {
			first, last, err := store.Bounds(t.Context(), namespace, room)
			if err != nil {
				t.Fatal(err)
			}
			return last - first + 1
		}
		posts()
		time.Sleep(70 * time.Minute)
		posts()
		time.Sleep(time.Hour)
		for name, want := range map[string]uint64{"few": 3, "young": 5, "all": 10} {
			if n := kept("/", name); n != want {
				t.Errorf("%s: %d entries, want %d", name, n, want)
			}
			if n := kept("/all", name); n != 10 {
				t.Errorf("/all %s: %d entries", name, n)
			}
		}
	})
}

func TestEraseUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, byUser(), chat.WithRooms("r"), chat.WithPresence(0))
		ann, bob, cid := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob")), chattest.Dial(t, hub, as("cid"))
		bob.Drop()
		cid.Drop()
		synctest.Wait()
		mustAsk(t, ann, "chat_message", "secret")
		if _, err := hub.Room("r").Post(t.Context(), chat.Post{Text: "public", UserID: "dan"}); err != nil {
			t.Fatal(err)
		}
		var exported []string
		collect := func(e chat.Entry) error { exported = append(exported, e.Text); return nil }
		if err := hub.ExportUser(t.Context(), "ann", collect); err != nil || !slices.Equal(exported, []string{"secret"}) {
			t.Error(exported, err)
		}
		for _, user := range []string{"ann", "cid", ""} {
			if n, err := hub.EraseUser(t.Context(), user); err != nil || n == 1 != (user == "ann") {
				t.Errorf("%q: %d, %v", user, n, err)
			}
		}
		bob.Reconnect()
		if !bob.Recovered() {
			t.Fatal("not recovered")
		}
		if e := entryOf(t, bob.Expect("new_message")); e.Text != "" || e.UserID != "" || !e.Deleted || e.Seq != 1 {
			t.Errorf("%+v", e)
		}
		live(t, bob, 2, "public")
		cid.Reconnect()
		if cid.Recovered() {
			t.Error("the session of an erased user was recovered")
		}
		if a := mustAsk(t, bob, "history", object{}); !a.Entries[0].Deleted || a.Entries[0].Text != "" {
			t.Errorf("%+v", a.Entries)
		}
		bare := newHub(t, chat.WithStore(onlyStore{chat.NewMemoryStore(0, 0)}))
		if _, err := bare.EraseUser(t.Context(), "ann"); !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
		if err := bare.ExportUser(t.Context(), "ann", collect); !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
	})
}

// What one client sends at once shares a transaction, in its order; what it sends then is handled after that.
func TestOneClientsMessagesShareATransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		hub := newHub(t, byUser(), chat.WithStore(store), chat.WithRooms("r"), chat.WithPresence(0))
		ann, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"))
		calls := 0
		store.onAppend(func(ctx context.Context, e []chat.Entry) ([]chat.Appended, error) {
			calls++
			time.Sleep(10 * time.Millisecond)
			return store.Store.Append(ctx, e)
		})
		texts := make([]string, 200)
		for i := range texts {
			texts[i] = fmt.Sprint(i)
			ann.Emit("chat_message", object{"text": texts[i], "message_id": texts[i]})
			if i%50 == 49 {
				ann.Emit("chat_message", "") // an error among them has its own answer
			}
		}
		if a := mustAsk(t, ann, "history", object{"limit": 200}); len(a.Entries) != 200 {
			t.Errorf("%d entries", len(a.Entries))
		}
		live(t, bob, 1, texts...)
		live(t, ann, 1, texts...)
		for range 4 {
			ann.Expect("error")
		}
		if calls > 20 {
			t.Errorf("%d transactions", calls)
		}
		store.onAppend(func(context.Context, []chat.Entry) ([]chat.Appended, error) { return nil, errors.New("down") })
		for range 3 {
			ann.Emit("chat_message", "x")
		}
		for range 3 {
			ann.Expect("error")
		}
	})
}

// What a store might not be able to save never comes into a batch with others' messages.
func TestPostBounds(t *testing.T) {
	t.Parallel()
	hub := newHub(t)
	long := strings.Repeat("x", 2000)
	for _, p := range []chat.Post{{Text: "x", MessageID: long}, {Text: "x", ReplyTo: long}, {Text: "x", UserID: long}, {}} {
		var e *chat.Error
		if _, err := hub.Room("r").Post(t.Context(), p); !errors.As(err, &e) || e.Code != chat.InvalidPayload {
			t.Error(err)
		}
	}
}

// A Post without an error has its entry, also where the store answers at the deadline to the nanosecond.
func TestPostAtTheDeadline(t *testing.T) {
	t.Parallel()
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			store := newHookedStore()
			store.onAppend(func(_ context.Context, e []chat.Entry) ([]chat.Appended, error) {
				time.Sleep(5 * time.Second)
				return store.Store.Append(context.Background(), e)
			})
			hub := newHub(t, chat.WithStore(store))
			if e, err := hub.Room("r").Post(t.Context(), chat.Post{Text: "x"}); err == nil && e.Seq == 0 {
				t.Errorf("no error, and %+v", e)
			}
		})
	}
}

// Whoever comes into a room while its first message is being saved comes in when that is done.
func TestJoinDuringTheFirstMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		hub := newHub(t, byUser(), chat.WithStore(store))
		ann := chattest.Dial(t, hub, as("ann"))
		store.onAppend(func(ctx context.Context, e []chat.Entry) ([]chat.Appended, error) {
			time.Sleep(time.Second)
			return store.Store.Append(ctx, e)
		})
		posted := make(chan error, 1)
		go func() {
			_, err := hub.Room("r").Post(t.Context(), chat.Post{UserID: "bob", Text: "1"})
			posted <- err
		}()
		time.Sleep(time.Millisecond)
		begin := time.Now()
		if a := join(t, ann, "r"); a.Seq != 1 || time.Since(begin) > time.Second {
			t.Errorf("joined at %d after %v", a.Seq, time.Since(begin))
		}
		if err := <-posted; err != nil {
			t.Error(err)
		}
		ann.None("new_message")
	})
}
