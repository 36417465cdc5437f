package chat_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// brokenStore is a memory store with something in the way.
type brokenStore struct {
	chat.Store
	mu     sync.Mutex
	before func() error
	after  time.Duration // how long the answer to Append takes once it is saved
}

func (s *brokenStore) set(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

func (s *brokenStore) hinder() error {
	s.mu.Lock()
	f := s.before
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f()
}

func (s *brokenStore) Append(ctx context.Context, e []chat.Entry) ([]chat.Appended, error) {
	if err := s.hinder(); err != nil {
		return nil, err
	}
	saved, err := s.Store.Append(ctx, e)
	s.mu.Lock()
	after := s.after
	s.mu.Unlock()
	time.Sleep(after)
	return saved, err
}

func (s *brokenStore) Bounds(ctx context.Context, namespace, room string) (uint64, uint64, error) {
	if err := s.hinder(); err != nil {
		return 0, 0, err
	}
	return s.Store.Bounds(ctx, namespace, room)
}

func (s *brokenStore) Page(ctx context.Context, q chat.PageQuery) ([]chat.Entry, bool, error) {
	if err := s.hinder(); err != nil {
		return nil, false, err
	}
	return s.Store.Page(ctx, q)
}

func TestFailingStore(t *testing.T) {
	t.Parallel()
	store := &brokenStore{Store: chat.NewMemoryStore(0, 0)}
	hub := newHub(t, byUser(), chat.WithStore(store), chat.WithRooms("r"))
	ann, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"))
	for name, f := range map[string]func() error{
		"error": func() error { return errors.New("disk full") },
		"panic": func() error { panic("nil map") },
	} {
		store.set(f)
		wantCode(t, ask(t, ann, "chat_message", object{"text": name, "message_id": name}), chat.Unavailable)
		if _, err := hub.Room("r").Post(t.Context(), chat.Post{Text: name}); err == nil {
			t.Error("a post succeeded")
		}
		// What needs no store goes on.
		mustAsk(t, ann, "typing", object{"on": true})
		bob.Expect("typing")
		mustAsk(t, ann, "typing", object{"on": false})
		bob.Expect("typing")
		if name == "error" {
			wantCode(t, ask(t, ann, "history", object{}), chat.Unavailable)
			wantCode(t, ask(t, ann, "join_room", object{"room": "new"}), chat.Unavailable)
			if rooms := hub.Client(ann.ID()).Rooms(); len(rooms) != 1 {
				t.Error(rooms)
			}
		}
	}
	bob.None("new_message")
	store.set(nil)
	if a := mustAsk(t, ann, "chat_message", object{"text": "works", "message_id": "error"}); a.Message.Seq != 1 {
		t.Errorf("%+v", a.Message)
	}
}

func TestSlowStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &brokenStore{Store: chat.NewMemoryStore(0, 0)}
		hub := newHub(t, byUser(), chat.WithStore(store), chat.WithRooms("r"))
		ann, bob := chattest.Dial(t, hub, as("ann"), chattest.Timeout(time.Minute)), chattest.Dial(t, hub, as("bob"))
		store.after = 20 * time.Second // and heeds no deadline
		began := time.Now()
		wantCode(t, ask(t, ann, "chat_message", object{"text": "late", "message_id": "k"}), chat.Unavailable)
		if d := time.Since(began); d != 5*time.Second {
			t.Error("the deadline came after", d)
		}
		bob.None("new_message")
		time.Sleep(20 * time.Second)
		synctest.Wait()
		store.mu.Lock()
		store.after = 0
		store.mu.Unlock()
		// It was saved after all: everybody hears of it, the sender too, whose ack said nothing.
		if e := entryOf(t, bob.Expect("new_message")); e.Text != "late" || e.Seq != 1 {
			t.Errorf("%+v", e)
		}
		entryOf(t, ann.Expect("new_message"))
		again := mustAsk(t, ann, "chat_message", object{"text": "late", "message_id": "k"})
		if again.Message.Seq != 1 {
			t.Errorf("%+v", again.Message)
		}
		synctest.Wait()
		bob.None("new_message")
	})
}

// Messages that come while the store is busy share its next transaction, and keep their order.
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &brokenStore{Store: chat.NewMemoryStore(0, 0)}
		hub := newHub(t, chat.WithStore(store), chat.WithRooms("r"), chat.WithPresence(0))
		calls := 0
		store.set(func() error { calls++; time.Sleep(10 * time.Millisecond); return nil })
		const senders = 50
		clients := make([]*chattest.Client, senders)
		for i := range clients {
			clients[i] = chattest.Dial(t, hub)
		}
		for _, c := range clients {
			c.Emit("chat_message", "x")
		}
		for _, c := range clients {
			for seq := range uint64(senders) {
				if e := entryOf(t, c.Expect("new_message")); e.Seq != seq+1 {
					t.Fatalf("%d after %d", e.Seq, seq)
				}
			}
		}
		if calls > 5 {
			t.Errorf("%d transactions for %d messages", calls, senders)
		}
	})
}
