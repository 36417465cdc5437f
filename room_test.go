package chat_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

func TestSelectors(t *testing.T) {
	t.Parallel()
	hub := newHub(t, byUser())
	ann1, ann2, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"))
	join(t, ann1, "x")
	join(t, bob, "x")
	join(t, bob, "y")
	all := []*chattest.Client{ann1, ann2, bob}
	for i, tt := range []struct {
		emit func(string) error
		want []*chattest.Client
	}{
		{func(e string) error { return hub.Emit(e) }, all},
		{func(e string) error { return hub.Room("x").Emit(e) }, []*chattest.Client{ann1, bob}},
		{func(e string) error { return hub.Room("x").Except(chat.Users("bob")).Emit(e) }, []*chattest.Client{ann1}},
		{func(e string) error { return hub.To(chat.Users("ann")).Emit(e) }, []*chattest.Client{ann1, ann2}},
		{func(e string) error { return hub.To(chat.Users("ann")).Except(chat.Rooms("x")).Emit(e) }, []*chattest.Client{ann2}},
		{func(e string) error { return hub.To(chat.Rooms("x", "y")).Emit(e) }, []*chattest.Client{ann1, bob}},
		{func(e string) error { return hub.To(chat.Rooms("y"), chat.Clients(ann2.ID())).Emit(e) }, []*chattest.Client{ann2, bob}},
		{func(e string) error { return hub.To().Except(chat.Clients(ann1.ID())).Emit(e) }, []*chattest.Client{ann2, bob}},
		{func(e string) error { return hub.To(chat.Rooms()).Emit(e) }, nil},
		{func(e string) error { return hub.Room("nowhere").Emit(e) }, nil},
		{func(e string) error { return hub.Client(bob.ID()).Emit(e) }, []*chattest.Client{bob}},
	} {
		event := fmt.Sprint("e", i)
		if err := tt.emit(event); err != nil {
			t.Fatal(err)
		}
		if err := hub.Emit("sync"); err != nil {
			t.Fatal(err)
		}
		for j, c := range all {
			c.Expect("sync")
			if slices.Contains(tt.want, c) {
				c.Expect(event)
			}
			if c.None(event); t.Failed() {
				t.Fatalf("case %d client %d", i, j)
			}
		}
	}
	if infos, err := hub.To(chat.Users("bob")).Clients(t.Context()); err != nil || len(infos) != 1 ||
		!slices.Equal(infos[0].Rooms, []string{"x", "y"}) || infos[0].ID != bob.ID() || infos[0].Transport != "websocket" || infos[0].Protocol != 5 {
		t.Fatal(err, infos)
	}
	if m, err := hub.Room("x").Members(t.Context()); err != nil || !slices.Equal(m, []chat.Member{{UserID: "ann"}, {UserID: "bob"}}) {
		t.Fatal(err, m)
	}
}

func TestMessageGate(t *testing.T) {
	t.Parallel()
	hub := newHub(t, byUser(), chat.WithRooms("r"),
		chat.OnMessage(func(_ context.Context, _ *chat.Client, m *chat.Entry) error {
			if m.Text == "bad" {
				return chat.Errorf(chat.Rejected, "mind your words")
			}
			m.Text = strings.ToUpper(m.Text)
			m.UserID, m.Room = "mallory", "elsewhere" // not a hook's to change
			return nil
		}),
		chat.OnMessage(func(_ context.Context, _ *chat.Client, m *chat.Entry) error {
			if m.Text == "PANIC" {
				panic("boom")
			}
			return nil
		}))
	c := chattest.Dial(t, hub, as("ann"))
	if a := ask(t, c, "chat_message", "bad"); a.Error.Code != chat.Rejected || a.Error.Message != "mind your words" {
		t.Fatalf("%+v", a)
	}
	wantCode(t, ask(t, c, "chat_message", "panic"), chat.Internal)
	if a := mustAsk(t, c, "chat_message", "good"); a.Message.Text != "GOOD" || a.Message.UserID != "ann" || a.Message.Room != "r" || a.Message.Seq != 1 {
		t.Fatalf("%+v", a.Message)
	}
}

func TestRoomPolicy(t *testing.T) {
	t.Parallel()
	hub := newHub(t, byUser(), chat.WithRoomPolicy(chat.RoomPolicy{
		Join: func(_ context.Context, c *chat.Client, room string) error {
			if room == "vip" && c.User().ID != "ann" {
				return chat.Errorf(chat.Forbidden, "members only")
			}
			return nil
		},
		Write: func(_ context.Context, c *chat.Client, room string) error {
			if room == "news" && c.User().ID != "ann" {
				return chat.Errorf(chat.Forbidden, "read only")
			}
			return nil
		},
	}))
	ann, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"))
	join(t, ann, "vip")
	wantCode(t, ask(t, bob, "join_room", object{"room": "vip"}), chat.Forbidden)
	join(t, ann, "news")
	join(t, bob, "news")
	wantCode(t, ask(t, bob, "chat_message", object{"text": "x", "room": "news"}), chat.Forbidden)
	mustAsk(t, ann, "chat_message", object{"text": "x", "room": "news"})
	bob.Expect("new_message")
	mustAsk(t, bob, "leave_room", object{"room": "news"})
	wantCode(t, ask(t, bob, "chat_message", object{"text": "x", "room": "news"}), chat.NotMember)
}

func TestJoinTellsSeqAndMembers(t *testing.T) {
	t.Parallel()
	hub := newHub(t, byUser())
	ctx := t.Context()
	for range 3 {
		if _, err := hub.Room("r").Post(ctx, chat.Post{Text: "early", UserID: "host"}); err != nil {
			t.Fatal(err)
		}
	}
	ann := chattest.Dial(t, hub, as("ann"))
	if a := join(t, ann, "r"); a.Seq != 3 || a.Count != 1 || !slices.Equal(a.Members, []chat.Member{{UserID: "ann"}}) {
		t.Fatalf("%+v", a)
	}
	ann.Expect("user_joined")
	bob := chattest.Dial(t, hub, as("bob"))
	if a := join(t, bob, "r"); a.Seq != 3 || a.Count != 2 {
		t.Fatalf("%+v", a)
	}
	e, err := hub.Room("r").Post(ctx, chat.Post{Text: "late", Meta: object{"a": 1}})
	if err != nil || e.Seq != 4 {
		t.Fatal(e, err)
	}
	if got := entryOf(t, ann.Expect("new_message")); got.Seq != 4 || got.SID != "" || string(got.Meta) != `{"a":1}` {
		t.Fatalf("%+v", got)
	}
	if _, err := hub.Room("bad name").Post(ctx, chat.Post{Text: "x"}); err == nil {
		t.Fatal("a bad name was taken")
	}
	if _, err := hub.Room("r").Post(ctx, chat.Post{}); err == nil {
		t.Fatal("an empty text was taken")
	}
	first, _ := hub.Room("r").Post(ctx, chat.Post{Text: "once", UserID: "host", MessageID: "k"})
	again, err := hub.Room("r").Post(ctx, chat.Post{Text: "once", UserID: "host", MessageID: "k"})
	if err != nil || first.ID != again.ID {
		t.Fatal(first, again, err)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithStore(chat.NewMemoryStore(100, 0)), chat.WithRooms("r"))
	for i := range 120 {
		if _, err := hub.Room("r").Post(t.Context(), chat.Post{Text: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	c := chattest.Dial(t, hub)
	seqs := func(a answer) (first, last uint64, n int) {
		if n = len(a.Entries); n > 0 {
			first, last = a.Entries[0].Seq, a.Entries[n-1].Seq
		}
		return
	}
	for _, tt := range []struct {
		q           object
		first, last uint64
		more        bool
	}{
		{object{"room": "r"}, 71, 120, true},
		{object{"limit": 10}, 111, 120, true},
		{object{"before": 71, "limit": 200}, 21, 70, false},
		{object{"after": 110}, 111, 120, false},
		{object{"after": 0, "limit": 20}, 21, 40, true},
		{object{"after": 120}, 0, 0, false},
		{object{"after": 500}, 0, 0, false},
		{object{"before": 1}, 0, 0, false},
		{object{"before": 500, "limit": 1000}, 21, 120, false},
	} {
		a := mustAsk(t, c, "history", tt.q)
		if first, last, n := seqs(a); first != tt.first || last != tt.last || a.More != tt.more || a.First != 21 || (n > 0 && uint64(n) != last-first+1) {
			t.Errorf("%v: %d to %d, %d entries, more %v, first %d", tt.q, first, last, n, a.More, a.First)
		}
	}
}
