package chat_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

type presence struct {
	Room   string
	UserID string `json:"user_id"`
	Name   string
	On     bool
}

func wantPresence(t testing.TB, c *chattest.Client, event, user string) {
	t.Helper()
	var p presence
	if c.Expect(event).Decode(0, &p); p.UserID != user || p.Room != "r" {
		t.Fatalf("%s %+v, want %s", event, p, user)
	}
}

func TestPresenceIsOfUsers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, byUser())
		ann := chattest.Dial(t, hub, as("ann"))
		join(t, ann, "r")
		wantPresence(t, ann, "user_joined", "ann") // the joiner too
		bob, tab := chattest.Dial(t, hub, as("bob")), chattest.Dial(t, hub, as("bob"))
		join(t, bob, "r")
		wantPresence(t, ann, "user_joined", "bob")
		join(t, tab, "r")
		mustAsk(t, tab, "leave_room", object{"room": "r"})
		synctest.Wait()
		ann.None("user_joined")
		ann.None("user_left")
		mustAsk(t, bob, "leave_room", object{"room": "r"})
		wantPresence(t, ann, "user_left", "bob") // at once: no grace for who says so
		if m, err := hub.Room("r").Members(t.Context()); err != nil || len(m) != 1 {
			t.Fatal(m, err)
		}
	})
}

func TestGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, byUser(), chat.WithRooms("r"))
		ann := chattest.Dial(t, hub, as("ann"))
		wantPresence(t, ann, "user_joined", "ann")
		bob := chattest.Dial(t, hub, as("bob"))
		wantPresence(t, ann, "user_joined", "bob")
		bob.Drop()
		time.Sleep(4 * time.Second)
		again := chattest.Dial(t, hub, as("bob")) // a reload
		time.Sleep(time.Minute)
		synctest.Wait()
		ann.None("user_left")
		ann.None("user_joined")

		again.Drop()
		time.Sleep(4900 * time.Millisecond)
		synctest.Wait()
		ann.None("user_left")
		time.Sleep(200 * time.Millisecond)
		wantPresence(t, ann, "user_left", "bob")

		third := chattest.Dial(t, hub, as("bob"))
		wantPresence(t, ann, "user_joined", "bob")
		third.Close() // socket.disconnect(): meant, so no grace
		third.WaitClosed()
		synctest.Wait()
		wantPresence(t, ann, "user_left", "bob")
	})
}

func TestTyping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, byUser(), chat.WithRooms("r"))
		ann, tab, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"))
		typing := func(on bool) {
			t.Helper()
			var p presence
			if bob.Expect("typing").Decode(0, &p); p.UserID != "ann" || p.On != on || p.Room != "r" {
				t.Fatalf("%+v", p)
			}
		}
		mustAsk(t, ann, "typing", object{"on": true})
		typing(true)
		time.Sleep(5 * time.Second)
		mustAsk(t, ann, "typing", object{"on": true}) // goes on, which is no news
		time.Sleep(5 * time.Second)
		synctest.Wait()
		bob.None("typing")
		time.Sleep(2 * time.Second)
		typing(false)
		mustAsk(t, ann, "typing", object{"on": true})
		typing(true)
		mustAsk(t, ann, "typing", object{"on": false})
		typing(false)
		mustAsk(t, ann, "typing", object{"on": true})
		typing(true)
		ann.Drop()
		synctest.Wait()
		typing(false)
		tab.None("typing")
	})
}

func TestEmptyRoomsCostNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, byUser(), chat.WithGrace(0))
		c := chattest.Dial(t, hub, as("ann"))
		for _, room := range []string{"a", "b", "c"} {
			join(t, c, room)
		}
		if n := hub.Stats().Rooms; n != 3 {
			t.Fatal(n)
		}
		mustAsk(t, c, "leave_room", object{"room": "a"})
		if names, err := hub.Rooms(t.Context()); err != nil || len(names) != 2 {
			t.Fatal(names, err)
		}
		c.Drop()
		synctest.Wait()
		if s := hub.Stats(); s.Rooms != 0 || s.Clients != 0 || s.Sessions != 0 {
			t.Fatalf("%+v", s)
		}
	})
}

func TestPresenceOfLargeRooms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, byUser(), chat.WithPresence(2))
		ann, bob, cid := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob")), chattest.Dial(t, hub, as("cid"))
		for _, c := range []*chattest.Client{ann, bob, cid} {
			join(t, c, "r")
		}
		wantPresence(t, ann, "user_joined", "ann")
		wantPresence(t, ann, "user_joined", "bob")
		synctest.Wait()
		ann.None("user_joined")
		mustAsk(t, cid, "leave_room", object{"room": "r"})
		wantPresence(t, ann, "user_left", "cid")
	})
}

// In a large room the news wait a moment; nothing is lost by it, and what comes after them stays after them.
func TestPresenceInACrowd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, chat.WithRooms("r"))
		const many = 100
		clients := make([]*chattest.Client, many)
		for i := range clients {
			clients[i] = chattest.Dial(t, hub)
			if i == 80 {
				if err := hub.Room("r").Emit("mark", 1); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(100 * time.Millisecond)
		for i, c := range clients {
			for j := i; j < many; j++ {
				var p presence
				if c.Expect("user_joined").Decode(0, &p); p.UserID != "anon:"+clients[j].ID() {
					t.Fatalf("client %d: %s is not the %dth", i, p.UserID, j)
				}
				if j == 80 {
					if m := c.Next(); m.Event != "mark" {
						t.Fatalf("client %d: %s before the mark", i, m.Event)
					}
				}
			}
			c.None("user_joined")
		}
	})
}
