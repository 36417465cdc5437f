package chat_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

func wantRooms(t testing.TB, hub *chat.Hub, c *chattest.Client, rooms ...string) {
	t.Helper()
	got := hub.Client(c.ID()).Rooms()
	slices.Sort(got)
	slices.Sort(rooms)
	if !slices.Equal(got, rooms) {
		t.Fatalf("in %q, want %q", got, rooms)
	}
}

func TestRoomsOfATokenAreJoined(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport chattest.Option) {
		ts := newTokens(map[string]chat.User{"a": {ID: "ann", Rooms: []string{"x", "y", "lobby"}}, "b": {ID: "bob", Rooms: []string{"x"}}, "bad": {ID: "eve", Rooms: []string{"no spaces"}}})
		joined := make(chan string, 9)
		hub := newHub(t, chat.WithAuth(ts.auth), chat.WithRooms("lobby"), chat.OnJoin(func(_ context.Context, c *chat.Client, room string) {
			joined <- c.User().ID + " " + room
		}))
		ann, bob := chattest.Dial(t, hub, withToken("a"), transport), chattest.Dial(t, hub, withToken("b"), transport)
		wantRooms(t, hub, ann, "lobby", "x", "y")
		wantRooms(t, hub, bob, "lobby", "x")
		mustAsk(t, bob, "chat_message", object{"room": "x", "text": "hi"})
		if e := entryOf(t, ann.Expect("new_message")); e.Text != "hi" {
			t.Error(e)
		}
		join(t, bob, "y") // they limit nothing by themselves
		synctest.Wait()
		var all []string
		for range len(joined) {
			all = append(all, <-joined)
		}
		slices.Sort(all)
		if want := []string{"ann lobby", "ann x", "ann y", "bob lobby", "bob x", "bob y"}; !slices.Equal(all, want) {
			t.Errorf("joined %q", all)
		}
		_, err := chattest.TryDial(t, hub, withToken("bad"), transport)
		wantRefused(t, err, chat.Internal) // the fault is the host's, and its log tells
	})
}

func TestUserRoomsOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ts := newTokens(map[string]chat.User{"a": {ID: "ann", Rooms: []string{"x", "closed"}}, "more": {ID: "ann", Rooms: []string{"y"}}})
		hub := newHub(t, chat.WithAuth(ts.auth), chat.WithRooms("lobby"), chat.WithRoomPolicy(chat.RoomPolicy{
			UserRoomsOnly: true,
			Join: func(_ context.Context, _ *chat.Client, room string) error {
				if room == "closed" {
					return chat.Errorf(chat.NotFound, "not today")
				}
				return nil
			},
		}))
		ann := chattest.Dial(t, hub, withToken("a"))
		wantRooms(t, hub, ann, "lobby", "x", "closed")
		wantCode(t, ask(t, ann, "join_room", object{"room": "y"}), chat.Forbidden)
		wantCode(t, ask(t, ann, "history", object{"room": "y"}), chat.NotMember)
		mustAsk(t, ann, "leave_room", object{"room": "closed"})
		wantCode(t, ask(t, ann, "join_room", object{"room": "closed"}), chat.NotFound) // Join is asked beside it
		mustAsk(t, ann, "leave_room", object{"room": "x"})
		join(t, ann, "x")
		mustAsk(t, ann, "leave_room", object{"room": "lobby"})
		join(t, ann, "lobby")

		// What the host joins it to is joined; the page may say so again, and not come back once it has left.
		if err := hub.Client(ann.ID()).Join(t.Context(), "host"); err != nil {
			t.Fatal(err)
		}
		join(t, ann, "host")
		mustAsk(t, ann, "leave_room", object{"room": "host"})
		wantCode(t, ask(t, ann, "join_room", object{"room": "host"}), chat.Forbidden)
	})
}

// The rooms of a token are those of the next one's, once that has taken over.
func TestRefreshChangesRooms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		only bool
		want []string
	}{
		"by themselves": {false, []string{"lobby", "host", "x", "y", "z"}},
		"and no others": {true, []string{"lobby", "host", "y", "z"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ts := newTokens(map[string]chat.User{"1": {ID: "ann", Rooms: []string{"x", "y", "lobby"}}, "2": {ID: "ann", Rooms: []string{"y", "z"}}, "b": {ID: "bob", Rooms: []string{"x", "z"}}})
				hub := newHub(t, chat.WithAuth(ts.auth), chat.WithRooms("lobby"), chat.WithRoomPolicy(chat.RoomPolicy{UserRoomsOnly: c.only}))
				ann, bob := chattest.Dial(t, hub, withToken("1")), chattest.Dial(t, hub, withToken("b"))
				if err := hub.Client(ann.ID()).Join(t.Context(), "host"); err != nil {
					t.Fatal(err)
				}
				if r := refresh(t, ann, "2"); !r.OK {
					t.Fatalf("%+v", r)
				}
				wantRooms(t, hub, ann, c.want...)
				synctest.Wait()
				var at struct {
					Room   string
					UserID string `json:"user_id"`
				}
				for at.UserID != "ann" { // it hears of itself first
					bob.Expect("user_joined").Decode(0, &at)
				}
				if at.Room != "z" {
					t.Errorf("%+v", at)
				}
				if c.only {
					if bob.Expect("user_left").Decode(0, &at); at.UserID != "ann" || at.Room != "x" {
						t.Errorf("%+v", at)
					}
					wantCode(t, ask(t, ann, "join_room", object{"room": "x"}), chat.Forbidden)
				} else {
					bob.None("user_left")
				}
			})
		})
	}
}

func TestRecoveryWithAnotherToken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		now     func() chat.User
		refused chat.Code
		rooms   []string
	}{
		"the same": {now: func() chat.User { return chat.User{ID: "ann", Rooms: []string{"x", "y"}} }, rooms: []string{"lobby", "x", "y", "host"}},
		"one that ends": {now: func() chat.User {
			return chat.User{ID: "ann", Rooms: []string{"x", "y"}, Expires: time.Now().Add(time.Minute)}
		}, rooms: []string{"lobby", "x", "y", "host"}},
		"fewer rooms":         {now: func() chat.User { return chat.User{ID: "ann", Rooms: []string{"y"}} }, rooms: []string{"lobby", "y", "host"}},
		"another room":        {now: func() chat.User { return chat.User{ID: "ann", Rooms: []string{"y", "z"}} }, rooms: []string{"lobby", "y", "z", "host"}},
		"one that has ended":  {now: func() chat.User { return chat.User{ID: "ann", Expires: time.Now()} }, refused: chat.TokenExpired},
		"one that is revoked": {now: func() chat.User { return chat.User{ID: "ann", TokenID: "revoked"} }, refused: chat.Unauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ts := newTokens(map[string]chat.User{"old": {ID: "ann", Rooms: []string{"x", "y"}, Expires: time.Now().Add(time.Minute)}})
				hub := newHub(t, chat.WithAuth(ts.auth), chat.WithRooms("lobby"), chat.WithRoomPolicy(chat.RoomPolicy{UserRoomsOnly: true}))
				if err := hub.RevokeToken(t.Context(), "revoked"); err != nil {
					t.Fatal(err)
				}
				ann := chattest.Dial(t, hub, withToken("old"))
				if err := hub.Client(ann.ID()).Join(t.Context(), "host"); err != nil {
					t.Fatal(err)
				}
				pid, offset := ann.Session()
				id := ann.ID()
				time.Sleep(30 * time.Second)
				ann.Drop()
				time.Sleep(40 * time.Second) // past the old one's end: it has no timer any more
				for _, room := range []string{"x", "y"} {
					if err := hub.Room(room).Emit("to-"+room, 1); err != nil {
						t.Fatal(err)
					}
				}
				ts.put("new", c.now())
				again, err := chattest.TryDial(t, hub, withToken("new"), chattest.Recover(pid, offset))
				if c.refused != "" {
					wantRefused(t, err, c.refused)
					return
				}
				if err != nil || !again.Recovered() || again.ID() != id {
					t.Fatal("not recovered", err)
				}
				wantRooms(t, hub, again, c.rooms...)
				again.Expect("to-y")
				synctest.Wait()
				if slices.Contains(c.rooms, "x") {
					again.Expect("to-x")
				} else {
					again.None("to-x")
				}
				again.None("error")
				if u := c.now(); u.Expires.IsZero() {
					time.Sleep(10 * time.Minute)
					again.None("auth_expiring")
					again.None("error")
				} else {
					time.Sleep(time.Minute)
					again.Expect("auth_expiring")
					wantEndOfToken(t, again)
				}
			})
		})
	}
}

// Whose token has ended recovers nothing with a new one: it was told to stay away.
func TestNoRecoveryAfterTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ts := newTokens(map[string]chat.User{"a": {ID: "ann", Expires: time.Now().Add(time.Minute)}, "b": {ID: "ann"}})
		hub := newHub(t, chat.WithAuth(ts.auth))
		ann := chattest.Dial(t, hub, withToken("a"))
		pid, offset := ann.Session()
		time.Sleep(time.Minute)
		ann.Expect("auth_expiring")
		wantEndOfToken(t, ann)
		if again := chattest.Dial(t, hub, withToken("b"), chattest.Recover(pid, offset)); again.Recovered() || again.ID() == ann.ID() {
			t.Error("recovered")
		}
	})
}

// One connection in two namespaces, each with a user and an end of its own.
func TestTokensOfNamespaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ts := newTokens(map[string]chat.User{"short": {ID: "ann", Expires: time.Now().Add(time.Minute)}, "long": {ID: "root", Expires: time.Now().Add(time.Hour)}})
		var left ends
		hub := newHub(t, chat.WithAuth(ts.auth), left.option(), chat.WithRooms("r"), chat.Namespace("/admin", left.option(), chat.WithRooms("r")))
		page := dialWire(t, serveInMemory(t, hub), "4", nil)
		page.send(t, `40{"token":"short"}`, `40/admin,{"token":"long"}`)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		page.want(t, "40{")
		page.want(t, "40/admin,{")
		page.want(t, `42["auth_expiring"`)
		page.want(t, `42["error",{"code":"TOKEN_EXPIRED"`)
		page.want(t, "41")
		left.want(t, "ann", "token expired")
		page.send(t, `42/admin,7["chat_message","still here"]`)
		synctest.Wait()
		page.want(t, `43/admin,7[{"ok":true`)
		if text, ok := page.take("42/admin,[\"auth"); ok || page.isOver() {
			t.Error(text, page.isOver())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		page.want(t, `42/admin,["auth_expiring"`)
		page.want(t, `42/admin,["error",{"code":"TOKEN_EXPIRED"`)
		page.want(t, "41/admin,")
		left.want(t, "root", "token expired")
		if !page.isOver() { // with no namespace left, Timeouts.Connect has ended it
			t.Error("still connected")
		}
	})
}
