package chat_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// sharedStore is a store that outlives a Hub, and a Keeper.
type sharedStore struct {
	chat.Store
	mu   sync.Mutex
	kept map[string]chat.Kept
}

func newSharedStore() *sharedStore {
	return &sharedStore{Store: chat.NewMemoryStore(0, 0), kept: map[string]chat.Kept{}}
}

func (s *sharedStore) Keep(_ context.Context, values []chat.Kept) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range values {
		s.kept[v.Key] = v
	}
	return nil
}

func (s *sharedStore) Take(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.kept[key]
	delete(s.kept, key)
	if !ok || time.Now().After(v.Until) {
		return nil, nil
	}
	return v.Value, nil
}

// site is an address behind which Hubs take turns.
type site struct{ now atomic.Pointer[chat.Hub] }

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.now.Load().ServeHTTP(w, r) }

func shutDown(t *testing.T, hub *chat.Hub) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := hub.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestRecoveryOnAnotherNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newSharedStore()
		opts := []chat.Option{byUser(), chat.WithRooms("lobby"), chat.WithStore(store)}
		at := &site{}
		first := newHub(t, opts...)
		at.now.Store(first)
		ann, bob, eve := chattest.Dial(t, at, as("ann")), chattest.Dial(t, at, as("bob")), chattest.Dial(t, at, as("eve"))
		join(t, ann, "r")
		join(t, bob, "r")
		join(t, eve, "r")
		id := bob.ID()
		for i := range 3 {
			mustAsk(t, ann, "chat_message", object{"room": "r", "text": fmt.Sprint("before ", i)})
			bob.Expect("new_message")
		}
		mustAsk(t, bob, "chat_message", object{"room": "r", "text": "own"})

		second := newHub(t, opts...)
		at.now.Store(second)
		shutDown(t, first)
		bob.WaitClosed()
		for i := range 10 {
			if _, err := second.Room("r").Post(t.Context(), chat.Post{Text: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
		ann.Reconnect()
		bob.Reconnect()
		if !bob.Recovered() || bob.ID() != id || !ann.Recovered() {
			t.Fatal("not recovered")
		}
		for i := range 10 {
			if e := entryOf(t, bob.Expect("new_message")); e.Text != fmt.Sprint(i) {
				t.Fatalf("%d: %+v", i, e)
			}
		}
		mustAsk(t, ann, "chat_message", object{"room": "r", "text": "after"})
		if e := entryOf(t, bob.Expect("new_message")); e.Text != "after" || e.Seq != 15 {
			t.Fatalf("%+v", e)
		}
		// A drop there is an ordinary one.
		bob.Drop()
		synctest.Wait()
		mustAsk(t, ann, "chat_message", object{"room": "r", "text": "missed"})
		bob.Reconnect()
		if e := entryOf(t, bob.Expect("new_message")); !bob.Recovered() || e.Text != "missed" {
			t.Fatalf("recovered %v, %+v", bob.Recovered(), e)
		}
		// Nobody's return is news; eve, who does not come back, leaves when she was waited for.
		synctest.Wait()
		for _, event := range []string{"new_message", "user_left"} {
			bob.None(event)
		}
		time.Sleep(time.Minute)
		left := map[string]bool{}
		for range 2 { // rooms
			var who struct {
				Room   string `json:"room"`
				UserID string `json:"user_id"`
			}
			bob.Expect("user_left").Args.Decode(0, &who)
			left[who.Room+" "+who.UserID] = true
		}
		if want := map[string]bool{"r eve": true, "lobby eve": true}; !maps.Equal(left, want) {
			t.Fatalf("left: %v", left)
		}
		bob.None("user_left")
	})
}

// While both nodes serve, what the old one writes is not known to the new one. Whoever comes over has seen it.
func TestRecoveryAheadOfTheOtherNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newSharedStore()
		opts := []chat.Option{byUser(), chat.WithStore(store)}
		at := &site{}
		first, second := newHub(t, opts...), newHub(t, opts...)
		at.now.Store(first)
		ann, bob := chattest.Dial(t, at, as("ann")), chattest.Dial(t, at, as("bob"))
		at.now.Store(second)
		eve := chattest.Dial(t, at, as("eve"))
		for _, c := range []*chattest.Client{ann, bob, eve} {
			join(t, c, "r")
		}
		for i := range 3 {
			mustAsk(t, ann, "chat_message", object{"room": "r", "text": fmt.Sprint(i)})
			bob.Expect("new_message")
		}
		shutDown(t, first)
		bob.WaitClosed()
		bob.Reconnect()
		if !bob.Recovered() {
			t.Fatal("not recovered")
		}
		for i := range 3 {
			if e := entryOf(t, eve.Expect("new_message")); e.Text != fmt.Sprint(i) {
				t.Fatalf("%d: %+v", i, e)
			}
		}
		mustAsk(t, eve, "chat_message", object{"room": "r", "text": "after"})
		if e := entryOf(t, bob.Expect("new_message")); e.Text != "after" || e.Seq != 4 {
			t.Fatalf("%+v", e)
		}
	})
}

// A drain takes longer than the grace: whoever goes last does not hear that those before have left, for it would never hear that they are back.
func TestNobodyLeavesByADrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, byUser(), chat.WithRooms("r"), chat.WithStore(newSharedStore()), chat.WithDrainPace(1))
		var all []*chattest.Client
		for i := range 20 {
			all = append(all, chattest.Dial(t, hub, as(fmt.Sprint("u", i))))
		}
		shutDown(t, hub)
		for _, c := range all {
			c.None("user_left")
		}
	})
}

func TestNoRecoveryOnAnotherNode(t *testing.T) {
	t.Parallel()
	type set struct{}
	for name, c := range map[string]struct {
		opts   []chat.Option
		before func(t *testing.T, hub *chat.Hub, bob *chattest.Client)
		after  func(t *testing.T, store *sharedStore)
	}{
		"what the host has set": {before: func(_ *testing.T, hub *chat.Hub, bob *chattest.Client) { hub.Client(bob.ID()).Set(set{}, 1) }},
		"too late":              {after: func(*testing.T, *sharedStore) { time.Sleep(3 * time.Minute) }},
		"taken by somebody else": {after: func(_ *testing.T, s *sharedStore) {
			s.mu.Lock()
			defer s.mu.Unlock()
			clear(s.kept)
		}},
		"a damaged value": {after: func(_ *testing.T, s *sharedStore) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for k, v := range s.kept {
				v.Value = v.Value[:len(v.Value)/2]
				s.kept[k] = v
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newSharedStore()
				opts := append([]chat.Option{byUser(), chat.WithRooms("r"), chat.WithStore(store)}, c.opts...)
				at := &site{}
				first := newHub(t, opts...)
				at.now.Store(first)
				bob := chattest.Dial(t, at, as("bob"))
				mustAsk(t, bob, "chat_message", "own")
				id := bob.ID()
				if c.before != nil {
					c.before(t, first, bob)
				}
				at.now.Store(newHub(t, opts...))
				shutDown(t, first)
				bob.WaitClosed()
				if c.after != nil {
					c.after(t, store)
				}
				bob.Reconnect()
				if bob.Recovered() || bob.ID() == id {
					t.Fatal("recovered")
				}
				if a := mustAsk(t, bob, "history", object{"room": "r"}); len(a.Entries) != 1 {
					t.Fatalf("%v", a)
				}
			})
		})
	}
}

// Which rooms a session has on another process is what it would have on the same one.
func TestRevivalWithAnotherToken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		now         []string // rooms of the token
		want, other []string // with UserRoomsOnly, and without
	}{
		"the same":     {[]string{"x", "y"}, []string{"lobby", "x", "y", "host"}, []string{"lobby", "x", "y", "host"}},
		"fewer rooms":  {[]string{"y"}, []string{"lobby", "y", "host"}, []string{"lobby", "x", "y", "host"}},
		"another room": {[]string{"y", "z"}, []string{"lobby", "y", "z", "host"}, []string{"lobby", "x", "y", "z", "host"}},
	} {
		for only, want := range map[bool][]string{true: c.want, false: c.other} {
			t.Run(fmt.Sprint(name, " ", only), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					ts := newTokens(map[string]chat.User{"old": {ID: "ann", Rooms: []string{"x", "y"}}, "new": {ID: "ann", Rooms: c.now}})
					opts := []chat.Option{chat.WithAuth(ts.auth), chat.WithRooms("lobby"), chat.WithStore(newSharedStore()), chat.WithRoomPolicy(chat.RoomPolicy{UserRoomsOnly: only})}
					first := newHub(t, opts...)
					ann := chattest.Dial(t, first, withToken("old"))
					if err := first.Client(ann.ID()).Join(t.Context(), "host"); err != nil {
						t.Fatal(err)
					}
					synctest.Wait() // the rooms' logs are known
					shutDown(t, first)
					ann.WaitClosed()
					second := newHub(t, opts...)
					again := chattest.Dial(t, second, withToken("new"), chattest.Recover(ann.Session()))
					if !again.Recovered() || again.ID() != ann.ID() {
						t.Fatal("not recovered")
					}
					wantRooms(t, second, again, want...)
				})
			})
		}
	}
}

// Whoever is refused does not lose the session by it.
func TestRevivalAfterARefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := []chat.Option{byUser(), chat.WithRooms("lobby"), chat.WithStore(newSharedStore()), chat.WithLimits(chat.Limits{ClientsPerUser: 1})}
		first := newHub(t, opts...)
		ann := chattest.Dial(t, first, as("ann"))
		synctest.Wait()
		shutDown(t, first)
		ann.WaitClosed()
		second := newHub(t, opts...)
		other := chattest.Dial(t, second, as("ann"))
		_, err := chattest.TryDial(t, second, as("ann"), chattest.Recover(ann.Session()))
		wantRefused(t, err, chat.RateLimited)
		other.Close()
		synctest.Wait()
		if again := chattest.Dial(t, second, as("ann"), chattest.Recover(ann.Session())); !again.Recovered() || again.ID() != ann.ID() {
			t.Error("not recovered")
		}
	})
}

// slowPresence is a Keeper that answers for presence when it is let.
type slowPresence struct {
	*sharedStore
	let  chan struct{}
	fail atomic.Bool
}

func (s *slowPresence) Take(ctx context.Context, key string) ([]byte, error) {
	if strings.HasPrefix(key, "presence:") {
		<-s.let
		if s.fail.Swap(false) {
			return nil, errors.New("disk full")
		}
	}
	return s.sharedStore.Take(ctx, key)
}

// Those who come back while it is being looked up who was in their room are not news to each other.
func TestPresenceIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, fail := range []bool{false, true} {
		t.Run(fmt.Sprintf("the first fails: %t", fail), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &slowPresence{sharedStore: newSharedStore(), let: make(chan struct{}, 9)}
				opts := []chat.Option{byUser(), chat.WithRooms("r"), chat.WithStore(store)}
				at := &site{}
				first := newHub(t, opts...)
				at.now.Store(first)
				var all []*chattest.Client
				for _, user := range []string{"ann", "bob", "eve"} {
					all = append(all, chattest.Dial(t, at, as(user)))
				}
				for i, c := range all {
					for range len(all) - i {
						c.Expect("user_joined")
					}
				}
				at.now.Store(newHub(t, opts...))
				shutDown(t, first)
				store.fail.Store(fail)
				var back sync.WaitGroup
				for _, c := range all {
					back.Go(c.Reconnect)
					synctest.Wait()
				}
				store.let <- struct{}{}
				store.let <- struct{}{}
				back.Wait()
				for _, c := range all {
					if !c.Recovered() {
						t.Error("not recovered")
					}
					if fail && c == all[0] { // it came into a room of which nothing was known
						continue
					}
					c.None("user_joined")
				}
			})
		})
	}
}
