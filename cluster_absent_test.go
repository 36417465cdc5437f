package chat_test

import (
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"github.com/parleychat/chat/clustertest"
)

// Whoever joins a node anew while the others are on their way to it hears of them when they come.
func TestClusterJoinsWhileOthersMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, hubs := cluster(t, 2)
		ann := chattest.Dial(t, hubs[0], as("ann"))
		join(t, ann, "r")
		settle(t, time.Second)
		pid, offset := ann.Session()
		ann.Drop()
		settle(t, time.Second)
		bob := chattest.Dial(t, hubs[1], as("bob"))
		known := map[string]bool{}
		for _, m := range join(t, bob, "r").Members {
			known[m.UserID] = true
		}
		back := chattest.Dial(t, hubs[1], as("ann"), chattest.Recover(pid, offset))
		if !back.Recovered() {
			t.Fatal("not recovered")
		}
		settle(t, 10*time.Second)
		for i := 0; i < 2 && !known["ann"]; i++ { // bob hears of himself, too
			known[bob.Expect("user_joined").Args.Values()[0].(map[string]any)["user_id"].(string)] = true
		}
		if !known["ann"] || !known["bob"] {
			t.Error(known)
		}
		bob.None("user_left")
	})
}

// Who is away when a session goes to a node that had nobody in the room is not marked by any node. The session's page takes them for present, and is told when they do not
// come back.
func TestClusterAbsentAtHandover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, hubs := cluster(t, 2)
		ann, bob := chattest.Dial(t, hubs[0], as("ann")), chattest.Dial(t, hubs[0], as("bob"))
		join(t, ann, "r")
		join(t, bob, "r")
		settle(t, time.Second)
		ann.Drop()
		settle(t, time.Second)
		pid, offset := bob.Session()
		bob.Drop()
		back := chattest.Dial(t, hubs[1], as("bob"), chattest.Recover(pid, offset))
		if !back.Recovered() {
			t.Fatal("not recovered")
		}
		settle(t, 10*time.Second)
		if m := back.Expect("user_left"); fmt.Sprint(m.Args.Values()[0]) != "map[room:r user_id:ann]" {
			t.Error(m.Args.Values())
		}
		back.None("user_left")
		back.None("user_joined")
		if m, err := hubs[1].Room("r").Members(t.Context()); err != nil || len(m) != 1 {
			t.Error(m, err)
		}
	})
}

// newNode is one more Hub of a cluster.
func newNode(t *testing.T, bus *clustertest.Bus, store chat.Store, opts ...chat.Option) (hub *chat.Hub, tag string) {
	t.Helper()
	hub = newHub(t, append(opts, byUser(), chat.WithStore(store), chat.WithCluster(bus.Node()))...)
	settle(t, 2*time.Second)
	tags := bus.Tags()
	return hub, tags[len(tags)-1]
}

func emitThrice(t *testing.T, hub *chat.Hub) {
	t.Helper()
	for i := range 3 {
		if err := hub.Emit("e", i); err != nil {
			t.Fatal(err)
		}
		settle(t, 0)
	}
}

// What a node that is gone has published may reach another one late. That it was published before the session's node began is known all the same, and no reason to refuse
// the session.
func TestClusterLateNoticesAtHandover(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]time.Duration{"kept": time.Second, "not kept any more": 5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				bus, store := clustertest.NewBus(1), shared{chat.NewMemoryStore(0, 0)}
				gone, goneTag := newNode(t, bus, store)
				emitThrice(t, gone)
				bus.Cut(goneTag) // the next one hears nothing of it
				late, lateTag := newNode(t, bus, store)
				bus.Cut(lateTag)
				bus.Heal(goneTag)
				emitThrice(t, gone)
				shutDown(t, gone)
				began, _ := newNode(t, bus, store)
				bob := chattest.Dial(t, began, as("bob"))
				settle(t, time.Second)
				bus.Heal(lateTag)
				settle(t, away)
				pid, offset := bob.Session()
				bob.Drop()
				settle(t, time.Second)
				back := chattest.Dial(t, late, as("bob"), chattest.Recover(pid, offset))
				if !back.Recovered() {
					t.Error("not recovered")
				}
				back.None("e")
			})
		})
	}
}

// What a session has missed of a node that its own knew nothing of is replayed, unless it may be in a part of the stream that the node where it goes has lost, however
// long that node has been there.
func TestClusterLossAtHandover(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"nothing": false, "a part": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				bus, store := clustertest.NewBus(1), shared{chat.NewMemoryStore(0, 0)}
				old, oldTag := newNode(t, bus, store)
				began, _ := newNode(t, bus, store)
				bob := chattest.Dial(t, began, as("bob"))
				settle(t, time.Second)
				bus.Cut(oldTag)
				shutDown(t, began) // the session is kept
				bob.WaitClosed()   // he has read server_draining, up to which it goes
				pid, offset := bob.Session()
				other, _ := newNode(t, bus, store)
				emitThrice(t, other)
				if lost {
					bus.Trim(0)
				}
				bus.Heal(oldTag)
				emitThrice(t, other)
				back := chattest.Dial(t, old, as("bob"), chattest.Recover(pid, offset))
				if back.Recovered() == lost {
					t.Fatal("recovered:", back.Recovered())
				}
				settle(t, time.Second)
				for i := 0; i < 6 && !lost; i++ {
					if e := back.Expect("e"); e.Args.Values()[0] != float64(i%3) {
						t.Error(i, e.Args.Values())
					}
				}
				back.None("e")
			})
		})
	}
}

// A session that a node has given away while it drains is not kept any more: whoever it went to may die, and what it was before would be had twice.
func TestClusterDrainGivesAwayOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, store := clustertest.NewBus(1), shared{chat.NewMemoryStore(0, 0)}
		draining, _ := newNode(t, bus, store, chat.WithDrainPace(1))
		second, secondTag := newNode(t, bus, store)
		third, _ := newNode(t, bus, store)
		closed := make(chan int, 4)
		var clients []*chattest.Client
		for i := range cap(closed) {
			c := chattest.Dial(t, draining, as(fmt.Sprint("u", i)))
			join(t, c, "r")
			clients = append(clients, c)
		}
		settle(t, time.Second)
		for i, c := range clients {
			go func() {
				c.WaitClosed()
				closed <- i
			}()
		}
		ended := make(chan error, 1)
		go func() { ended <- draining.Shutdown(t.Context()) }()
		first := <-closed
		settle(t, time.Second)
		if len(closed) == cap(closed)-1 {
			t.Fatal("it does not drain any more")
		}
		pid, offset := clients[first].Session()
		user := as(fmt.Sprint("u", first))
		there := chattest.Dial(t, second, user, chattest.Recover(pid, offset))
		if !there.Recovered() {
			t.Fatal("not recovered while the node drains")
		}
		bus.Kill(secondTag)
		there.Drop()
		settle(t, time.Second)
		if back := chattest.Dial(t, third, user, chattest.Recover(pid, offset)); back.Recovered() {
			t.Error("recovered from what was kept before it was given away")
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// What a node that is gone had published before the session's node began may have reached a third node late, of which alone the node where the session goes has heard of it.
func TestClusterHearsayAtHandover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, store := clustertest.NewBus(1), shared{chat.NewMemoryStore(0, 0)}
		gone, goneTag := newNode(t, bus, store)
		late, lateTag := newNode(t, bus, store)
		bus.Cut(lateTag)
		emitThrice(t, gone)
		shutDown(t, gone)
		settle(t, 10*time.Second) // nothing of it can be on its way any more
		began, _ := newNode(t, bus, store)
		bob := chattest.Dial(t, began, as("bob"))
		settle(t, 2*time.Second)
		bus.Heal(lateTag)
		settle(t, 2*time.Second)
		ann := chattest.Dial(t, late, as("ann"))
		settle(t, time.Second)
		next, _ := newNode(t, bus, store)
		for _, move := range []struct {
			user string
			c    *chattest.Client
		}{{"ann", ann}, {"bob", bob}} {
			pid, offset := move.c.Session()
			move.c.Drop()
			settle(t, time.Second)
			back := chattest.Dial(t, next, as(move.user), chattest.Recover(pid, offset))
			if !back.Recovered() {
				t.Errorf("%s is not recovered", move.user)
			}
			back.None("e")
		}
		if bus.Tags()[0] == goneTag {
			t.Error("the first node is not gone")
		}
	})
}

// A lease may begin and end while another node is cut off. What was said under it and comes later is over with it, though that node was never told of its end.
func TestClusterLeaseNeverHeardOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, store := clustertest.NewBus(1), shared{chat.NewMemoryStore(0, 0)}
		stays, staysTag := newNode(t, bus, store)
		join(t, chattest.Dial(t, stays, as("dora")), "r")
		settle(t, time.Second)
		bus.Cut(staysTag)
		dies, diesTag := newNode(t, bus, store)
		join(t, chattest.Dial(t, dies, as("ann")), "r")
		settle(t, time.Second)
		bus.Cut(diesTag)
		join(t, chattest.Dial(t, dies, as("bob")), "r") // published when the lease is over
		settle(t, 10*time.Second)
		bus.Heal(staysTag)
		settle(t, time.Second)
		bus.Heal(diesTag)
		settle(t, time.Second)
		if m, err := stays.Room("r").Members(t.Context()); err != nil || len(m) != 3 {
			t.Error(m, err)
		}
		bus.Kill(diesTag)
		settle(t, time.Minute)
		if m, err := stays.Room("r").Members(t.Context()); err != nil || len(m) != 1 {
			t.Error(m, err)
		}
	})
}

// A node that takes the place of one that was shut down takes over its sessions, with what they have missed before it was there.
func TestClusterRecoveryOnANewNode(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]bool{"the past is there": false, "and gone": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				bus, store := clustertest.NewBus(1), shared{chat.NewMemoryStore(0, 0)}
				before, _ := newNode(t, bus, store)
				other, _ := newNode(t, bus, store)
				bob := chattest.Dial(t, before, as("bob"))
				join(t, bob, "r")
				emitThrice(t, other)
				for range 3 {
					bob.Expect("e")
				}
				settle(t, time.Second)
				shutDown(t, before)
				bob.WaitClosed()
				pid, offset := bob.Session()
				emitThrice(t, other)
				if _, err := other.Room("r").Post(t.Context(), chat.Post{Text: "1", UserID: "host"}); err != nil {
					t.Fatal(err)
				}
				if gone {
					bus.Trim(0)
				}
				next, _ := newNode(t, bus, store)
				emitThrice(t, other)
				back := chattest.Dial(t, next, as("bob"), chattest.Recover(pid, offset))
				if back.Recovered() == gone {
					t.Fatal("recovered:", back.Recovered())
				}
				if gone {
					return
				}
				settle(t, time.Second)
				heard := map[string]int{}
				for m := back.Next(); ; m = back.Next() {
					heard[m.Event]++
					if heard["e"] == 6 && heard["new_message"] == 1 {
						break
					}
				}
				back.None("e")
				back.None("new_message")
				pid, offset = back.Session()
				back.Drop()
				settle(t, time.Second)
				emitThrice(t, next)
				again := chattest.Dial(t, next, as("bob"), chattest.Recover(pid, offset))
				if !again.Recovered() {
					t.Fatal("not recovered where it was")
				}
				for range 3 {
					again.Expect("e")
				}
				again.None("e")
			})
		})
	}
}

// What was published before a node was there is nothing that its own clients have missed.
func TestClusterPastIsForOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, store := clustertest.NewBus(1), shared{chat.NewMemoryStore(0, 0)}
		other, _ := newNode(t, bus, store)
		emitThrice(t, other)
		next, _ := newNode(t, bus, store)
		bob := chattest.Dial(t, next, as("bob"))
		join(t, bob, "r")
		pid, offset := bob.Session()
		bob.None("e")
		bob.Drop()
		settle(t, time.Second)
		back := chattest.Dial(t, next, as("bob"), chattest.Recover(pid, offset))
		if !back.Recovered() {
			t.Fatal("not recovered")
		}
		back.None("e")
		pid, offset = back.Session()
		back.Drop()
		settle(t, time.Second)
		moved := chattest.Dial(t, other, as("bob"), chattest.Recover(pid, offset))
		if !moved.Recovered() {
			t.Fatal("not recovered on the other node")
		}
		moved.None("e")
	})
}

// movesBetween are two nodes, and a client of the first that has an offset.
func movesBetween(t *testing.T, store chat.Store) (first, second *chat.Hub, bob *chattest.Client) {
	t.Helper()
	bus := clustertest.NewBus(1)
	first, _ = newNode(t, bus, store)
	second, _ = newNode(t, bus, store)
	bob = chattest.Dial(t, first, as("bob"))
	emitThrice(t, first)
	for range 3 {
		bob.Expect("e")
	}
	return first, second, bob
}

// moreBefore emits n events, numbered from all on, and returns the next number.
func moreBefore(t *testing.T, hub *chat.Hub, all, n int) int {
	t.Helper()
	for range n {
		if err := hub.Emit("e", all); err != nil {
			t.Fatal(err)
		}
		all++
	}
	settle(t, time.Second)
	return all
}

// A session that comes back to a node has an offset of that node's from before. Where the connection dies with what the session was to catch up with, that offset must not
// pass for one that has it: the session is given that once more, there or on another node, as long as it may not have read it.
func TestClusterBackWhereItWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second, bob := movesBetween(t, shared{chat.NewMemoryStore(0, 0)})
		pid, offset := bob.Session()
		missed := 0
		for i, c := range []struct {
			hub    *chat.Hub
			more   int // events on the way there
			after  time.Duration
			refuse bool
		}{
			{hub: second}, {hub: first, more: 1}, {hub: first}, {hub: first, more: 1}, {hub: second}, {hub: second, more: 2}, {hub: first},
			{hub: first, after: 3 * time.Minute, refuse: true},
		} {
			settle(t, c.after)
			bob.Drop()
			settle(t, time.Second)
			missed = moreBefore(t, first, missed, c.more)
			bob = chattest.Dial(t, c.hub, as("bob"), chattest.Recover(pid, offset)) // its offset is that of one who reads nothing of what it is sent
			if bob.Recovered() == c.refuse {
				t.Fatalf("step %d: recovered %v", i, bob.Recovered())
			}
			for n := 0; n < missed && !c.refuse; n++ {
				if m := bob.Expect("e"); string(m.JSON(0)) != strconv.Itoa(n) {
					t.Fatalf("step %d: %v, not %d", i, m, n)
				}
			}
			bob.None("e")
		}
	})
}

// A replay that breaks off goes on where it was read up to, wherever the client comes to.
func TestClusterReplayBreaksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second, bob := movesBetween(t, shared{chat.NewMemoryStore(0, 0)})
		pid, offset := bob.Session()
		next, all := 0, 0
		for i, c := range []struct {
			hub  *chat.Hub
			more int // events on the way there
			read int // of what it is sent; -1: all
		}{
			{second, 3, 1}, {second, 0, 1}, {first, 1, 1}, {first, 0, 0}, {second, 2, 1}, {first, 3, 2}, {second, 0, -1}, {second, 0, 0}, {second, 0, 0}, {first, 1, 0}, {second, 2, 1}, {first, 1, 0}, {first, 0, -1},
		} {
			bob.Drop()
			settle(t, time.Second)
			all = moreBefore(t, first, all, c.more)
			if err := c.hub.Room("nobody").Emit("e", "for others"); err != nil {
				t.Fatal(err)
			}
			settle(t, time.Second)
			bob = chattest.Dial(t, c.hub, as("bob"), chattest.Recover(pid, offset))
			if !bob.Recovered() {
				t.Fatalf("step %d: not recovered from %s", i, offset)
			}
			until := all
			if c.read >= 0 {
				until = next + c.read
			}
			for n := next; n < all; n++ {
				m := bob.Expect("e")
				if string(m.JSON(0)) != strconv.Itoa(n) {
					t.Fatalf("step %d: %s, not %d", i, m.JSON(0), n)
				}
				if n < until {
					next, offset = n+1, m.Offset
				}
			}
			bob.None("e")
		}
		if next != all {
			t.Fatalf("%d of %d read", next, all)
		}
	})
}

// What is kept of a replay for those who may not have read it goes when a user is erased.
func TestClusterEraseReplays(t *testing.T) {
	t.Parallel()
	for _, there := range []bool{true, false} { // while the client is there, or after it was lost
		synctest.Test(t, func(t *testing.T) {
			memory := chat.NewMemoryStore(0, 0)
			first, second, bob := movesBetween(t, struct {
				shared
				chat.Eraser
			}{shared{memory}, memory.(chat.Eraser)})
			join(t, bob, "r")
			pid, offset := bob.Session()
			bob.Drop()
			settle(t, time.Second)
			if _, err := first.Room("r").Post(t.Context(), chat.Post{Text: "secret", UserID: "ann"}); err != nil {
				t.Fatal(err)
			}
			settle(t, time.Second)
			bob = chattest.Dial(t, second, as("bob"), chattest.Recover(pid, offset))
			if !bob.Recovered() || entryOf(t, bob.Expect("new_message")).Text != "secret" {
				t.Fatal("not recovered, or without what was missed")
			}
			if !there {
				bob.Drop()
				settle(t, time.Second)
			}
			if n, err := first.EraseUser(t.Context(), "ann"); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			settle(t, time.Second)
			if there {
				bob.Drop()
				settle(t, time.Second)
			}
			back := chattest.Dial(t, second, as("bob"), chattest.Recover(pid, offset))
			if back.Recovered() {
				t.Errorf("recovered with what was erased: there %v", there)
			}
			back.None("new_message")
		})
	}
}
