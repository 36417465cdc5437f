package chat_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"github.com/parleychat/chat/clustertest"
)

// shared is a store that several Hubs have.
type shared struct{ chat.Store }

func (shared) Shared() bool { return true }

// cluster makes Hubs of one cluster.
func cluster(t testing.TB, many int, opts ...chat.Option) (*clustertest.Bus, []*chat.Hub) {
	t.Helper()
	bus := clustertest.NewBus(4)
	store := shared{chat.NewMemoryStore(0, 0)}
	hubs := make([]*chat.Hub, many)
	for i := range hubs {
		hubs[i] = newHub(t, append([]chat.Option{byUser(), chat.WithStore(store), chat.WithCluster(bus.Node())}, opts...)...)
	}
	settle(t, 0)
	return bus, hubs
}

// settle lets what is under way come to an end, after a while.
func settle(t testing.TB, after time.Duration) {
	t.Helper()
	time.Sleep(after + 10*time.Millisecond)
	synctest.Wait()
}

func say(t testing.TB, c *chattest.Client, text string) chat.Entry {
	t.Helper()
	return mustAsk(t, c, "chat_message", object{"room": "r", "text": text}).Message
}

func TestClusterNeedsASharedStore(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]chat.Option{
		"the default":     {chat.WithCluster(clustertest.NewBus(1).Node())},
		"nil":             {chat.WithCluster(nil)},
		"address alone":   {chat.WithNodeAddress("http://127.0.0.1:1", make([]byte, 32))},
		"a short key":     {chat.WithStore(shared{chat.NewMemoryStore(0, 0)}), chat.WithCluster(clustertest.NewBus(1).Node()), chat.WithNodeAddress("http://127.0.0.1:1", make([]byte, 31))},
		"no such address": {chat.WithStore(shared{chat.NewMemoryStore(0, 0)}), chat.WithCluster(clustertest.NewBus(1).Node()), chat.WithNodeAddress("127.0.0.1:1", make([]byte, 32))},
	} {
		if hub, err := chat.New(opts...); err == nil {
			t.Errorf("%s: no error", name)
			_ = hub.Shutdown(context.Background())
		}
	}
}

func TestClusterMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, hubs := cluster(t, 3)
		clients := make([]*chattest.Client, 6)
		for i := range clients {
			clients[i] = chattest.Dial(t, hubs[i%3], as(fmt.Sprint("u", i)))
			join(t, clients[i], "r")
		}
		settle(t, 0)
		const many = 50
		for i, c := range clients {
			go func() {
				for k := range many {
					c.Emit("chat_message", object{"room": "r", "text": fmt.Sprint(k), "message_id": fmt.Sprint(i, "-", k)})
				}
			}()
		}
		for _, c := range clients {
			next := map[string]int{}
			for seq := range uint64(many * len(clients)) {
				e := entryOf(t, c.Expect("new_message"))
				if e.Seq != seq+1 || e.Text != fmt.Sprint(next[e.UserID]) {
					t.Fatalf("%+v, and not %d", e, seq+1)
				}
				next[e.UserID]++
			}
			c.None("error")
		}
		if _, err := hubs[1].Room("r").Post(t.Context(), chat.Post{Text: "host's", MessageID: "h", UserID: "host"}); err != nil {
			t.Fatal(err)
		}
		again, err := hubs[2].Room("r").Post(t.Context(), chat.Post{Text: "again", MessageID: "h", UserID: "host"})
		if err != nil || again.Text != "host's" || again.Seq != many*6+1 {
			t.Error(again, err)
		}
		settle(t, time.Second)
		for _, c := range clients {
			if e := entryOf(t, c.Expect("new_message")); e.Text != "host's" {
				t.Error(e)
			}
			c.None("new_message")
		}
		for _, hub := range hubs {
			if s := hub.Stats(); s.ClusterLost+s.ClusterDropped+s.ClusterUnread+s.Holes != 0 || s.Nodes != 3 || s.ClusterAway != 0 {
				t.Errorf("%+v", s)
			}
		}
	})
}

func TestClusterEmits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, hubs := cluster(t, 2, chat.Namespace("/other"))
		ann, bob, cat := chattest.Dial(t, hubs[0], as("ann")), chattest.Dial(t, hubs[1], as("bob")), chattest.Dial(t, hubs[1], as("cat"))
		other := chattest.Dial(t, hubs[1], as("bob"), chattest.Namespace("/other"))
		all := map[string]*chattest.Client{"ann": ann, "bob": bob, "cat": cat, "other": other}
		join(t, ann, "r")
		join(t, bob, "r")
		settle(t, 0)
		hub := hubs[0]
		for name, c := range map[string]struct {
			emit func(string, ...any) error
			to   string
		}{
			"all":         {hub.Emit, "ann bob cat"},
			"room":        {hub.Room("r").Emit, "ann bob"},
			"user":        {hub.To(chat.Users("bob", "nobody")).Emit, "bob"},
			"client":      {hub.To(chat.Clients(cat.ID())).Emit, "cat"},
			"here":        {hub.To(chat.Clients(ann.ID())).Emit, "ann"},
			"both":        {hub.To(chat.Rooms("r"), chat.Users("cat", "bob")).Emit, "ann bob cat"},
			"but a room":  {hub.To().Except(chat.Rooms("r")).Emit, "cat"},
			"but a user":  {hub.Room("r").Except(chat.Users("bob")).Emit, "ann"},
			"but clients": {hub.To().Except(chat.Clients(ann.ID(), cat.ID())).Emit, "bob"},
			"nobody":      {hub.To(chat.Users()).Emit, ""},
			"elsewhere":   {hub.Of("/other").Emit, "other"},
		} {
			if err := c.emit("e", name, []byte{1, 2}, object{"b": []byte("x")}); err != nil {
				t.Fatal(err)
			}
			settle(t, 0)
			for who, client := range all {
				if strings.Contains(c.to, who) {
					m := client.Expect("e")
					var b []byte
					if m.Args.Decode(1, &b); m.Args.Values()[0] != name || string(b) != "\x01\x02" {
						t.Errorf("%s: %s has %v", name, who, m.Args.Values())
					}
				}
				client.None("e")
			}
		}
	})
}

func TestClusterPresence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, hubs := cluster(t, 3)
		ann := chattest.Dial(t, hubs[0], as("ann"))
		join(t, ann, "r")
		ann.Expect("user_joined")
		bob := chattest.Dial(t, hubs[1], as("bob"))
		if a := join(t, bob, "r"); len(a.Members) != 2 || a.Count != 2 {
			t.Errorf("%+v", a)
		}
		if m := ann.Expect("user_joined"); fmt.Sprint(m.Args.Values()[0]) != "map[room:r user_id:bob]" {
			t.Error(m.Args.Values())
		}
		bob.Expect("user_joined")
		second := chattest.Dial(t, hubs[2], as("bob"))
		join(t, second, "r")
		settle(t, time.Second)
		bob.Close()
		settle(t, 10*time.Second)
		ann.None("user_joined")
		ann.None("user_left")
		second.None("user_joined")
		for _, hub := range hubs {
			if m, err := hub.Room("r").Members(t.Context()); err != nil || len(m) != 2 {
				t.Error(m, err)
			}
			if rooms, err := hub.Rooms(t.Context()); err != nil || fmt.Sprint(rooms) != "[r]" {
				t.Error(rooms, err)
			}
		}

		second.Drop() // to come back elsewhere within the grace
		settle(t, time.Second)
		third := chattest.Dial(t, hubs[0], as("bob"))
		join(t, third, "r")
		settle(t, 10*time.Second)
		ann.None("user_joined")
		ann.None("user_left")

		third.Close()
		settle(t, 0)
		ann.Expect("user_left")
		cat, dan := chattest.Dial(t, hubs[1], as("cat")), chattest.Dial(t, hubs[2], as("dan"))
		join(t, cat, "r")
		join(t, dan, "r")
		settle(t, 0)
		ann.Expect("user_joined")
		ann.Expect("user_joined")
		cat.Expect("user_joined")
		cat.Expect("user_joined")
		bus.Kill(bus.Tags()[2])
		settle(t, 5*time.Second+4*time.Second) // the lease; the grace is not over
		ann.None("user_left")
		settle(t, 2*time.Second)
		for _, c := range []*chattest.Client{ann, cat} {
			if m := c.Expect("user_left"); fmt.Sprint(m.Args.Values()[0]) != "map[room:r user_id:dan]" {
				t.Error(m.Args.Values())
			}
			c.None("user_left")
		}
	})
}

// A node that was cut off from the cluster for longer than its lease is a new one when it is back, and nobody has left.
func TestClusterNodeCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, hubs := cluster(t, 2, chat.WithClusterPatience(2*time.Second, false))
		ann, bob := chattest.Dial(t, hubs[0], as("ann")), chattest.Dial(t, hubs[1], as("bob"), chattest.Timeout(10*time.Second))
		for _, c := range []*chattest.Client{ann, bob} {
			join(t, c, "r")
		}
		settle(t, 0)
		ann.Expect("user_joined")
		ann.Expect("user_joined")
		bob.Expect("user_joined")
		say(t, ann, "before")
		bob.Expect("new_message")

		bus.Cut(bus.Tags()[1])
		a := ask(t, bob, "chat_message", object{"room": "r", "text": "cut off", "message_id": "1"})
		if a.OK || a.Error.Code != chat.Unavailable {
			t.Errorf("%+v", a)
		}
		if status := readiness(hubs[1]); status != http.StatusServiceUnavailable || readiness(hubs[0]) != http.StatusOK {
			t.Error(status)
		}
		say(t, ann, "meanwhile")
		if err := hubs[0].Room("r").Emit("e", 1); err != nil {
			t.Fatal(err)
		}
		if err := hubs[1].Room("r").Emit("e", 2); err != nil {
			t.Fatal(err)
		}
		settle(t, 20*time.Second)
		ann.Expect("user_left")
		bus.Heal(bus.Tags()[1])
		settle(t, time.Second)
		ann.Expect("user_joined")
		bob.None("user_left")
		for _, c := range []*chattest.Client{ann, bob} {
			c.Expect("e")
			c.Expect("e")
			c.None("e")
		}
		again := mustAsk(t, bob, "chat_message", object{"room": "r", "text": "once more", "message_id": "1"}).Message
		if again.Text != "cut off" {
			t.Errorf("%+v", again)
		}
		settle(t, time.Second)
		for c, texts := range map[*chattest.Client][]string{ann: {"cut off"}, bob: {"cut off", "meanwhile"}} { // bob was told of a failure: his page learns by the log that it was none
			for _, text := range texts {
				if e := entryOf(t, c.Expect("new_message")); e.Text != text {
					t.Errorf("%q and not %q", e.Text, text)
				}
			}
			c.None("new_message")
		}
		if status := readiness(hubs[1]); status != http.StatusOK {
			t.Error(status)
		}
		if m, err := hubs[0].Room("r").Members(t.Context()); err != nil || len(m) != 2 {
			t.Error(m, err)
		}
	})
}

func readiness(hub *chat.Hub) int {
	w := httptest.NewRecorder()
	hub.Ready().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code
}

// What the streams lose of the log comes from the store; what else they lose is counted.
func TestClusterLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, hubs := cluster(t, 2)
		ann, bob := chattest.Dial(t, hubs[0], as("ann")), chattest.Dial(t, hubs[1], as("bob"))
		join(t, ann, "r")
		join(t, bob, "r")
		settle(t, time.Second)
		for stream := range 4 {
			bus.Lose(stream, 1)
		}
		say(t, ann, "lost")
		settle(t, 5*time.Second) // the counters say so
		if e := entryOf(t, bob.Expect("new_message")); e.Text != "lost" {
			t.Error(e)
		}
		for stream := range 4 {
			bus.Lose(stream, 2)
		}
		say(t, ann, "lost too")
		if err := hubs[0].Room("r").Emit("e"); err != nil {
			t.Fatal(err)
		}
		say(t, ann, "not lost")
		settle(t, time.Second)
		for _, want := range []string{"lost too", "not lost"} {
			if e := entryOf(t, bob.Expect("new_message")); e.Text != want {
				t.Error(e)
			}
		}
		bob.None("e")
		if s := hubs[1].Stats(); s.ClusterLost < 2 || s.Holes != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A client that comes back to another node gets what it missed: entries, and emits of both nodes, each once.
func TestClusterRecovery(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(c *chattest.Client, hub *chat.Hub){
		"after a drop":     func(c *chattest.Client, _ *chat.Hub) { c.Drop() },
		"before its end":   func(*chattest.Client, *chat.Hub) {},
		"after a Shutdown": func(c *chattest.Client, hub *chat.Hub) { _ = hub.Shutdown(context.Background()); c.WaitClosed() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, hubs := cluster(t, 3)
				ann, bob := chattest.Dial(t, hubs[1], as("ann")), chattest.Dial(t, hubs[0], as("bob"))
				id := bob.ID()
				join(t, bob, "r")
				join(t, ann, "r")
				emit := func(i int) {
					for k, hub := range hubs {
						if err := hub.Room("r").Emit("e", fmt.Sprint(k, "-", i)); err != nil && !errors.Is(err, chat.ErrClosed) {
							t.Fatal(err)
						}
					}
				}
				for i := range 3 {
					say(t, ann, fmt.Sprint(i))
					emit(i)
				}
				settle(t, 0)
				for i := range 3 {
					if e := entryOf(t, bob.Expect("new_message")); e.Text != fmt.Sprint(i) {
						t.Fatal(e)
					}
				}
				for range 9 {
					bob.Expect("e")
				}
				away(bob, hubs[0])
				settle(t, time.Second)
				pid, offset := bob.Session()
				missed := 2
				if name == "before its end" {
					missed = 0
				} else {
					for i := range missed {
						say(t, ann, fmt.Sprint("missed ", i))
						emit(10 + i)
					}
				}
				back := chattest.Dial(t, hubs[2], as("bob"), chattest.Recover(pid, offset))
				if !back.Recovered() || back.ID() != id {
					t.Fatal("not recovered", back.ID(), id)
				}
				say(t, ann, "after")
				emit(99)
				settle(t, 10*time.Second)
				for i := range missed {
					if e := entryOf(t, back.Expect("new_message")); e.Text != fmt.Sprint("missed ", i) {
						t.Fatal(e)
					}
				}
				if e := entryOf(t, back.Expect("new_message")); e.Text != "after" {
					t.Fatal(e)
				}
				nodes := 3
				if name == "after a Shutdown" {
					nodes = 2
				}
				got := map[any]int{}
				for range nodes * (missed + 1) {
					got[back.Expect("e").Args.Values()[0]]++
				}
				for what, times := range got {
					if times != 1 {
						t.Error(what, times)
					}
				}
				back.None("e")
				back.None("new_message")
				ann.None("user_left")

				again := func(hub *chat.Hub) {
					pid, offset := back.Session()
					back.Drop()
					settle(t, time.Second)
					back = chattest.Dial(t, hub, as("bob"), chattest.Recover(pid, offset))
					if !back.Recovered() {
						t.Error("not recovered again")
					}
					settle(t, time.Second)
					back.None("e")
					back.None("new_message")
				}
				again(hubs[1])
				again(hubs[1])
				again(hubs[2])
			})
		})
	}
}

func TestClusterActs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, hubs := cluster(t, 2)
		ann, bob := chattest.Dial(t, hubs[0], as("ann")), chattest.Dial(t, hubs[1], as("bob"))
		ctx := t.Context()
		if err := hubs[0].To(chat.Users("bob", "ann")).Join(ctx, "r"); err != nil {
			t.Fatal(err)
		}
		settle(t, 0)
		infos, err := hubs[0].Room("r").Clients(ctx)
		if err != nil || len(infos) != 2 {
			t.Error(infos, err)
		}
		bob.Answer("q", func(a chattest.Args) []any { return []any{"bob's " + a.Values()[0].(string), []byte{7}} })
		ann.Answer("q", func(chattest.Args) []any { return []any{"ann's"} })
		replies, err := chat.CallAll[chat.Args](ctx, hubs[0].Room("r").Target(), "q", "answer")
		if err != nil || len(replies) != 2 {
			t.Fatal(replies, err)
		}
		for _, r := range replies {
			if v := r.Value.Values(); r.Err != nil || r.Client == bob.ID() && fmt.Sprint(v) != "[bob's answer [7]]" || r.Client == ann.ID() && fmt.Sprint(v) != "[ann's]" {
				t.Error(r.Client, v, r.Err)
			}
		}

		tag := bus.Tags()[1]
		bus.Cut(tag)
		short, cancel := context.WithTimeout(ctx, time.Second)
		replies, err = chat.CallAll[chat.Args](short, hubs[0].Room("r").Target(), "q", "answer")
		cancel()
		var silent *chat.NodesError
		if !errors.As(err, &silent) || fmt.Sprint(silent.Nodes) != "["+tag+"]" || len(replies) != 1 {
			t.Error(replies, err)
		}
		if _, err := hubs[0].Room("r").Clients(ctx); !errors.As(err, &silent) {
			t.Error(err)
		}
		bus.Heal(tag)
		settle(t, time.Second)

		if err := hubs[1].To(chat.Users("ann")).Leave(ctx, "r"); err != nil {
			t.Fatal(err)
		}
		settle(t, 0)
		if m, err := hubs[1].Room("r").Members(ctx); err != nil || len(m) != 1 {
			t.Error(m, err)
		}
		if err := hubs[0].Room("r").Disconnect(ctx); err != nil {
			t.Fatal(err)
		}
		if why := bob.WaitClosed(); why != "io server disconnect" {
			t.Error(why)
		}
		if err := hubs[1].Revoke(ctx, "ann"); err != nil {
			t.Fatal(err)
		}
		if why := ann.WaitClosed(); why != "io server disconnect" {
			t.Error(why)
		}
		if c, err := chattest.TryDial(t, hubs[0], as("ann")); err == nil {
			t.Error("a revoked user is back", c.ID())
		}
	})
}

func TestClusterTyping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, hubs := cluster(t, 2)
		ann, bob := chattest.Dial(t, hubs[0], as("ann")), chattest.Dial(t, hubs[1], as("bob"))
		join(t, ann, "r")
		join(t, bob, "r")
		mustAsk(t, ann, "typing", object{"room": "r", "on": true})
		settle(t, 4*time.Second)
		bob.Expect("typing")
		mustAsk(t, ann, "typing", object{"room": "r", "on": true})
		settle(t, 4*time.Second)
		bob.None("typing")
		settle(t, 3*time.Second)
		if m := bob.Expect("typing"); !strings.Contains(fmt.Sprint(m.Args.Values()), "on:false") {
			t.Error(m.Args.Values())
		}
		bob.None("typing")
		ann.None("typing")
	})
}

// With local traffic a node goes on while the cluster is away, and the others get everything when it is back.
func TestClusterLocalTraffic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, hubs := cluster(t, 2, chat.WithClusterPatience(10*time.Second, true))
		ann, bob, cat := chattest.Dial(t, hubs[0], as("ann")), chattest.Dial(t, hubs[1], as("bob")), chattest.Dial(t, hubs[0], as("cat"))
		for _, c := range []*chattest.Client{ann, bob, cat} {
			join(t, c, "r")
		}
		settle(t, 0)
		bus.CutAll()
		for i := range 10 {
			say(t, ann, fmt.Sprint("a", i))
			say(t, bob, fmt.Sprint("b", i))
		}
		if e := entryOf(t, cat.Expect("new_message")); e.Text != "a0" {
			t.Error(e)
		}
		settle(t, 30*time.Second)
		bus.HealAll()
		settle(t, 5*time.Second)
		for want := uint64(2); want <= 20; want++ {
			if e := entryOf(t, cat.Expect("new_message")); e.Seq != want {
				t.Fatal(e)
			}
		}
		for _, c := range []*chattest.Client{ann, bob, cat} {
			c.None("error")
		}
	})
}

// While room traffic goes on without the cluster, what waits for it has an end: past that the other nodes read the store, and miss nothing.
func TestClusterQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, hubs := cluster(t, 2, chat.WithClusterPatience(time.Second, true), chat.WithLimits(chat.Limits{Outbox: 64 << 20}))
		ann := chattest.Dial(t, hubs[0], as("ann"))
		join(t, ann, "r")
		settle(t, time.Second)
		bus.Cut(bus.Tags()[1])
		settle(t, 5*time.Second)
		text := strings.Repeat("x", 7900)
		const posts = 2400 // 19 MB
		for i := range posts {
			if _, err := hubs[1].Room("r").Post(t.Context(), chat.Post{UserID: "bob", Text: text}); err != nil {
				t.Fatal(i, err)
			}
		}
		if n := hubs[1].Stats().ClusterQueue; n > 17<<20 || n < 10<<20 {
			t.Errorf("%d bytes wait for the cluster", n)
		}
		bus.Heal(bus.Tags()[1])
		for seq := range posts {
			if seq%20 == 0 {
				settle(t, time.Second)
			}
			if e := entryOf(t, ann.Expect("new_message")); e.Seq != uint64(seq+1) {
				t.Fatalf("%d after %d", e.Seq, seq)
			}
		}
		if n := hubs[1].Stats().ClusterQueue; n != 0 {
			t.Errorf("%d bytes still wait", n)
		}
	})
}

// What is done to clients is done here at once, whether the cluster answers or not.
func TestClusterActsHereFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, hubs := cluster(t, 2)
		bob := chattest.Dial(t, hubs[1], as("bob"))
		settle(t, time.Second)
		bus.Cut(bus.Tags()[1])
		began := time.Now()
		done := make(chan error, 1)
		go func() { done <- hubs[1].To(chat.Users("bob")).Disconnect(t.Context()) }()
		bob.WaitClosed()
		if d := time.Since(began); d > time.Second {
			t.Errorf("after %v", d)
		}
		if err := <-done; err == nil {
			t.Error("no error, though the others were not told")
		}
	})
}
