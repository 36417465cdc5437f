package chat_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

func TestRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		hub := newHub(t, byUser(), chat.WithRooms("lobby"), chat.OnConnect(func(_ context.Context, c *chat.Client) {
			if c.Recovered() != (c.Get(key{}) != nil) {
				t.Errorf("recovered %v, value %v", c.Recovered(), c.Get(key{}))
			}
			c.Set(key{}, c.ID())
		}))
		ann, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"))
		join(t, ann, "r")
		join(t, bob, "r")
		bob.Expect("user_joined")
		id := bob.ID()
		mustAsk(t, ann, "chat_message", object{"room": "r", "text": "seen"})
		bob.Expect("new_message")

		bob.Drop()
		synctest.Wait()
		for i := range 10 {
			mustAsk(t, ann, "chat_message", object{"room": "r", "text": fmt.Sprint(i)})
		}
		mustAsk(t, ann, "typing", object{"room": "r", "on": true})
		for _, emit := range []func(string, ...any) error{hub.Emit, hub.Room("lobby").Emit, hub.To(chat.Users("bob")).Emit, hub.To(chat.Clients(id)).Emit} {
			if err := emit("host", 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := hub.To(chat.Users("ann")).Emit("private", 1); err != nil {
			t.Fatal(err)
		}
		if err := hub.To().Except(chat.Clients(id)).Emit("private", 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Second)
		bob.Reconnect()
		if !bob.Recovered() || bob.ID() != id {
			t.Fatal("not recovered")
		}
		for i := range 10 {
			if e := entryOf(t, bob.Expect("new_message")); e.Text != fmt.Sprint(i) {
				t.Fatalf("%d: %+v", i, e)
			}
		}
		for range 4 {
			bob.Expect("host")
		}
		synctest.Wait()
		for _, event := range []string{"new_message", "typing", "private", "host"} {
			bob.None(event)
		}
		// In its rooms, and known there.
		mustAsk(t, bob, "chat_message", object{"room": "r", "text": "back"})
		if e := entryOf(t, ann.Expect("new_message")); e.UserID != "bob" || e.SID != id {
			t.Fatalf("%+v", e)
		}
	})
}

// What is kept for a client that may come back is not the client, with its connection and its request: attackers who come and go would leave them by the thousand.
func TestRecoveryKeepsNoClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var client weak.Pointer[chat.Client]
		hub := newHub(t, byUser(), chat.WithRooms("r"), chat.WithRates(chat.Rate{PerSecond: 1, Burst: 1}),
			chat.OnConnect(func(_ context.Context, c *chat.Client) {
				if !c.Recovered() {
					client = weak.Make(c)
				}
			}))
		bob := chattest.Dial(t, hub, as("bob"))
		synctest.Wait()
		if client.Value() == nil {
			t.Fatal("no client")
		}
		bob.Drop()
		for range 100 { // what pools hold goes with the second collection, and goroutines end
			synctest.Wait()
			runtime.GC()
			if client.Value() == nil {
				break
			}
			time.Sleep(time.Second)
		}
		if client.Value() != nil {
			t.Error("the client is still held")
		}
		if bob.Reconnect(); !bob.Recovered() {
			t.Error("not recovered")
		}
	})
}

func TestRecoveryOfWhoWasNotMissedYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, byUser(), chat.WithRooms("r"))
		bob := chattest.Dial(t, hub, as("bob"))
		pid, offset := bob.Session()
		if pid == "" {
			t.Fatal("no pid")
		}
		// The first connection is still alive, as far as the hub knows.
		other := chattest.Dial(t, hub, as("bob"), chattest.Recover(pid, offset))
		if !other.Recovered() || other.ID() != bob.ID() {
			t.Fatal("not recovered")
		}
		bob.WaitClosed()
		if n := hub.Stats().Clients; n != 1 {
			t.Fatal(n)
		}
		// Who knows the pid but is somebody else gets nothing of it.
		mallory := chattest.Dial(t, hub, as("mallory"), chattest.Recover(pid, offset))
		if mallory.Recovered() || mallory.ID() == bob.ID() {
			t.Fatal("another user's session was taken over")
		}
		if err := hub.Client(other.ID()).Emit("still there"); err != nil {
			t.Fatal(err)
		}
		other.Expect("still there")
	})
}

func TestNoRecovery(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		opts []chat.Option
		away func(t *testing.T, hub *chat.Hub, c *chattest.Client)
	}{
		"past the window": {nil, func(_ *testing.T, _ *chat.Hub, c *chattest.Client) { c.Drop(); time.Sleep(121 * time.Second) }},
		"after disconnect": {nil, func(_ *testing.T, hub *chat.Hub, c *chattest.Client) {
			hub.Client(c.ID()).Disconnect()
			c.WaitClosed()
		}},
		"more than the bytes kept": {[]chat.Option{chat.WithRecovery(time.Minute, 10_000)}, func(t *testing.T, hub *chat.Hub, c *chattest.Client) {
			c.Drop()
			synctest.Wait()
			for range 10 {
				if err := hub.Emit("big", strings.Repeat("x", 2000)); err != nil {
					t.Fatal(err)
				}
			}
		}},
		"more than an outbox": {[]chat.Option{chat.WithLimits(chat.Limits{Outbox: 10_000})}, func(t *testing.T, hub *chat.Hub, c *chattest.Client) {
			c.Drop()
			synctest.Wait()
			for range 10 {
				if err := hub.Emit("big", strings.Repeat("x", 2000)); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				hub := newHub(t, append(tt.opts, byUser(), chat.WithRooms("r"))...)
				c := chattest.Dial(t, hub, as("ann"))
				id := c.ID()
				join(t, c, "left-behind")
				tt.away(t, hub, c)
				if c.Reconnect(); c.Recovered() || c.ID() == id {
					t.Fatal("recovered")
				}
				if rooms := hub.Client(c.ID()).Rooms(); len(rooms) != 1 || rooms[0] != "r" {
					t.Fatal(rooms)
				}
				synctest.Wait()
				c.None("big")
			})
		})
	}
}

func TestRecoveryForgetsRoomsThatPolicyTookBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		banned := false
		hub := newHub(t, byUser(), chat.WithRoomPolicy(chat.RoomPolicy{Join: func(_ context.Context, _ *chat.Client, room string) error {
			if room == "vip" && banned {
				return chat.Errorf(chat.Forbidden, "no more")
			}
			return nil
		}}))
		c := chattest.Dial(t, hub, as("ann"))
		join(t, c, "vip")
		join(t, c, "r")
		c.Drop()
		synctest.Wait()
		banned = true
		for _, room := range []string{"vip", "r"} {
			if err := hub.Room(room).Emit("to-"+room, 1); err != nil {
				t.Fatal(err)
			}
		}
		c.Reconnect()
		if !c.Recovered() {
			t.Fatal("not recovered")
		}
		c.Expect("to-r")
		synctest.Wait()
		c.None("to-vip")
		if rooms := hub.Client(c.ID()).Rooms(); len(rooms) != 1 || rooms[0] != "r" {
			t.Fatal(rooms)
		}
	})
}

// The policy is asked about the client that comes back: who it is now, and what the host has Set before.
func TestRecoveryAsksPolicyAboutUserOfNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var ids []string
		hub := newHub(t, byUser(), chat.WithRoomPolicy(chat.RoomPolicy{Join: func(_ context.Context, c *chat.Client, room string) error {
			if ids = append(ids, c.ID()); room == "vip" && c.User().Name != "vip" || c.Get(key{}) != "value" {
				return chat.Errorf(chat.Forbidden, "not you")
			}
			return nil
		}}), chat.OnConnect(func(_ context.Context, c *chat.Client) { c.Set(key{}, "value") }))
		auth := map[string]string{"user": "ann", "name": "vip"}
		c := chattest.Dial(t, hub, chattest.Auth(auth))
		join(t, c, "vip")
		join(t, c, "r")
		c.Drop()
		synctest.Wait()
		auth["name"] = "nobody"
		if c.Reconnect(); !c.Recovered() {
			t.Fatal("not recovered")
		}
		if rooms := hub.Client(c.ID()).Rooms(); !slices.Equal(rooms, []string{"r"}) {
			t.Error(rooms)
		}
		if slices.ContainsFunc(ids, func(id string) bool { return id != c.ID() }) {
			t.Error(ids, c.ID())
		}
	})
}

func TestRecoveryAfterRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, chat.WithRooms("r"))
		c := chattest.Dial(t, hub)
		user := hub.Client(c.ID()).User().ID
		for i := range 5 {
			c.Drop()
			synctest.Wait()
			if err := hub.Room("r").Emit("tick", i); err != nil {
				t.Fatal(err)
			}
			if c.Reconnect(); !c.Recovered() {
				t.Fatal("not recovered", i)
			}
		}
		for i := range 5 {
			var n int
			if c.Expect("tick").Decode(0, &n); n != i {
				t.Fatal(n, i)
			}
		}
		if u := hub.Client(c.ID()).User().ID; u != user { // an anonymous one too
			t.Fatal(u, user)
		}
	})
}

func TestNoOffsetWithoutRecovery(t *testing.T) {
	t.Parallel()
	hub := newHub(t, chat.WithRecovery(0, 0))
	c := chattest.Dial(t, hub)
	if pid, _ := c.Session(); pid != "" {
		t.Fatal(pid)
	}
	if err := hub.Emit("x", 1, "last"); err != nil {
		t.Fatal(err)
	}
	if m := c.Expect("x"); m.Len() != 2 || m.Offset != "" {
		t.Fatalf("%+v", m)
	}
}

// A page that nobody has told anything for longer than the window, while others were told much, has missed nothing by a break of seconds.
func TestQuietPageRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, byUser(), chat.WithPresence(0))
		ann, bob := chattest.Dial(t, hub, as("ann")), chattest.Dial(t, hub, as("bob"))
		join(t, ann, "loud")
		join(t, bob, "quiet")
		loud := func() {
			for range 60 {
				mustAsk(t, ann, "chat_message", object{"room": "loud", "text": "x"})
				time.Sleep(10 * time.Second)
			}
		}
		loud()
		if err := hub.Room("quiet").Emit("host", 1); err != nil {
			t.Fatal(err)
		}
		bob.Expect("host")
		loud()
		pid, offset := bob.Session()
		// Once nothing was on its way to it; once an event was that did not come.
		for _, lost := range []bool{false, true} {
			if lost {
				if err := hub.Room("quiet").Emit("host", 2); err != nil {
					t.Fatal(err)
				}
			}
			bob.Drop()
			synctest.Wait()
			if err := hub.Room("quiet").Emit("host", 3); err != nil && !lost {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
			again := chattest.Dial(t, hub, as("bob"), chattest.Recover(pid, offset))
			if !again.Recovered() {
				t.Fatal("not recovered; an event was on its way:", lost)
			}
			var n int
			want := []int{3}
			if lost {
				want = []int{2, 3}
			}
			for _, want := range want {
				if again.Expect("host").Args.Decode(0, &n); n != want {
					t.Errorf("replayed %d, want %d", n, want)
				}
			}
			again.None("host")
			bob = again
			pid, offset = again.Session()
			loud()
		}
	})
}

// What a quiet page has heard last is let go only after an event that it did not hear; others keep the Hub talking meanwhile, or not.
func TestQuietPageRecoversAfterASweep(t *testing.T) {
	t.Parallel()
	for _, others := range []bool{false, true} {
		t.Run(fmt.Sprint(others), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				hub := newHub(t, byUser(), chat.WithRooms("r"), chat.WithPresence(0))
				bob := chattest.Dial(t, hub, as("bob"))
				emit := func(room string, n int) {
					if err := hub.Room(room).Emit("host", n); err != nil {
						t.Fatal(err)
					}
				}
				wait := func(seconds int) {
					for range seconds {
						time.Sleep(time.Second)
						if others {
							emit("elsewhere", 0)
						}
					}
				}
				emit("r", 1)
				bob.Expect("host")
				emit("elsewhere", 0)
				pid, offset := bob.Session()
				wait(110)
				emit("r", 2) // on its way when the connection dies
				wait(20)
				emit("r", 3)
				bob.Drop()
				wait(80)
				emit("r", 4)
				bob = chattest.Dial(t, hub, as("bob"), chattest.Recover(pid, offset))
				if !bob.Recovered() {
					t.Fatal("not recovered")
				}
				for want := 2; want <= 4; want++ {
					var n int
					if bob.Expect("host").Args.Decode(0, &n); n != want {
						t.Errorf("replayed %d, want %d", n, want)
					}
				}
				bob.None("host")
			})
		})
	}
}

// A recovery of which the page heard nothing, or the beginning, is followed by another one.
func TestRecoveryOfARecoveryThatWasCut(t *testing.T) {
	t.Parallel()
	for heard := range 4 {
		t.Run(fmt.Sprint(heard), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				hub := newHub(t, byUser(), chat.WithRooms("r"), chat.WithPresence(0))
				emit := func(room string, n int) {
					if err := hub.Room(room).Emit("host", n); err != nil {
						t.Fatal(err)
					}
				}
				bob := chattest.Dial(t, hub, as("bob"))
				pid, offset := bob.Session()
				bob.Drop()
				synctest.Wait()
				emit("elsewhere", 0)
				for n := range 3 {
					time.Sleep(35 * time.Second)
					emit("r", n)
					emit("elsewhere", 0)
				}
				bob = chattest.Dial(t, hub, as("bob"), chattest.Recover(pid, offset))
				for range heard {
					offset = bob.Expect("host").Offset
				}
				bob.Drop()
				// Until what was heard has just been let go, and what was not is kept yet.
				time.Sleep([]time.Duration{48, 76, 106, 110}[heard] * time.Second)
				bob = chattest.Dial(t, hub, as("bob"), chattest.Recover(pid, offset))
				if !bob.Recovered() {
					t.Fatal("not recovered")
				}
				for want := heard; want < 3; want++ {
					var n int
					if bob.Expect("host").Args.Decode(0, &n); n != want {
						t.Errorf("replayed %d, want %d", n, want)
					}
				}
				bob.None("host")
			})
		})
	}
}

// Who comes back to a room that had been still for long hears what was written elsewhere meanwhile.
func TestRecoveryToAStillRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		hub := newHub(t, byUser(), chat.WithStore(store), chat.WithRooms("r"), chat.WithPresence(0))
		bob := chattest.Dial(t, hub, as("bob"))
		post := func(text string) {
			if _, err := hub.Room("r").Post(t.Context(), chat.Post{UserID: "ann", Text: text}); err != nil {
				t.Fatal(err)
			}
		}
		post("1")
		live(t, bob, 1, "1")
		time.Sleep(200 * time.Second)
		bob.Drop()
		synctest.Wait()
		store.elsewhere(t, "r", "2")
		time.Sleep(110 * time.Second)
		if bob.Reconnect(); !bob.Recovered() {
			t.Fatal("not recovered")
		}
		post("3")
		live(t, bob, 2, "2", "3")
	})
}

// Who has left a room that everybody is in on connect is not put back by a recovery.
func TestRecoveryOfWhoLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, byUser(), chat.WithRooms("lobby", "other"))
		ann := chattest.Dial(t, hub, as("ann"))
		mustAsk(t, ann, "leave_room", object{"room": "lobby"})
		ann.Drop()
		ann.Reconnect()
		if rooms := hub.Client(ann.ID()).Rooms(); !ann.Recovered() || len(rooms) != 1 || rooms[0] != "other" {
			t.Error(ann.Recovered(), rooms)
		}
	})
}
