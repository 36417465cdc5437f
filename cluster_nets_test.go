package chat_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"github.com/parleychat/chat/clustertest"
)

// What a cluster falls back on: each of these holds back one fault that nothing else would.

// saveUnpublished saves an entry that no node tells the others of, as one does that dies in between.
func saveUnpublished(t *testing.T, store chat.Store, text string) {
	t.Helper()
	e := chat.Entry{Kind: chat.KindMessage, ID: text, Namespace: "/", Room: "r", UserID: "gone", Text: text}
	if saved, err := store.Append(t.Context(), []chat.Entry{e}); err != nil || saved[0].Entry.Seq == 0 {
		t.Fatal(saved, err)
	}
}

// quietRoom is a room of two nodes in which nothing was written for longer than logs are checked, with a client on the first node.
func quietRoom(t *testing.T) (bus *clustertest.Bus, store chat.Store, hub *chat.Hub, bob *chattest.Client, tags []string) {
	t.Helper()
	bus, store = clustertest.NewBus(1), shared{chat.NewMemoryStore(0, 0)}
	hub, tag := newNode(t, bus, store)
	_, other := newNode(t, bus, store)
	bob = chattest.Dial(t, hub, as("bob"))
	join(t, bob, "r")
	post(t, hub, "first")
	bob.Expect("new_message")
	settle(t, 75*time.Second)
	return bus, store, hub, bob, []string{tag, other}
}

func post(t *testing.T, hub *chat.Hub, text string) {
	t.Helper()
	if _, err := hub.Room("r").Post(t.Context(), chat.Post{UserID: "host", Text: text}); err != nil {
		t.Fatal(err)
	}
}

func hears(t *testing.T, c *chattest.Client, text string) {
	t.Helper()
	if e := entryOf(t, c.Expect("new_message")); e.Text != text {
		t.Errorf("%q and not %q", e.Text, text)
	}
	c.None("new_message")
}

// The log of a room that was written in of late is looked at every ten seconds, whatever the cluster says.
func TestClusterLogsAreLookedAt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, store, hub, bob, _ := quietRoom(t)
		saveUnpublished(t, store, "of a quiet room")
		settle(t, 11*time.Second)
		bob.None("new_message")
		post(t, hub, "now it is not")
		for _, text := range []string{"of a quiet room", "now it is not"} { // the hole is filled
			if e := entryOf(t, bob.Expect("new_message")); e.Text != text {
				t.Error(e)
			}
		}
		saveUnpublished(t, store, "unpublished")
		settle(t, 11*time.Second)
		hears(t, bob, "unpublished")
	})
}

// After every time that the cluster was away the store is looked at, at once.
func TestClusterBackReadsTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, store, _, bob, tags := quietRoom(t)
		bus.Cut(tags[0])
		settle(t, time.Second)
		saveUnpublished(t, store, "meanwhile")
		settle(t, time.Second)
		bob.None("new_message")
		bus.Heal(tags[0])
		settle(t, 0)
		hears(t, bob, "meanwhile")
	})
}

// What a node had saved when it died is read when that is known, and once more when its last transaction must have ended.
func TestClusterDownReadsTheStore(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]bool{"saved before": false, "saved after": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				bus, store, _, bob, tags := quietRoom(t)
				if !late {
					saveUnpublished(t, store, "last words")
				}
				bus.Kill(tags[1])
				settle(t, bus.Lease+time.Second)
				if late {
					saveUnpublished(t, store, "last words")
					settle(t, 20*time.Second)
					bob.None("new_message")
					settle(t, 10*time.Second)
				}
				hears(t, bob, "last words")
			})
		})
	}
}

// What may be lost is dropped past what is kept for the cluster, counted, and known to those who miss it.
func TestClusterDropsEmits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, store, large := clustertest.NewBus(1), shared{chat.NewMemoryStore(0, 0)}, chat.WithLimits(chat.Limits{Outbox: 64 << 20})
		first, _ := newNode(t, bus, store, large)
		second, tag := newNode(t, bus, store, large)
		ann := chattest.Dial(t, first, as("ann"))
		settle(t, time.Second)
		bus.Cut(tag)
		settle(t, time.Second)
		const each, many = 1 << 20, 20
		for i := range many {
			if err := second.Emit("e", i, make([]byte, each)); err != nil {
				t.Fatal(err)
			}
		}
		s := second.Stats()
		if s.ClusterDropped < 2 || s.ClusterDropped > 4 || s.ClusterQueue > 17<<20 {
			t.Errorf("%d dropped, %d bytes wait", s.ClusterDropped, s.ClusterQueue)
		}
		bus.Heal(tag)
		settle(t, 3*time.Second)
		if err := second.Emit("e", many); err != nil {
			t.Fatal(err)
		}
		settle(t, time.Second)
		for i := range many + 1 - int(s.ClusterDropped) {
			if i == many-int(s.ClusterDropped) {
				i = many
			}
			if got := ann.Expect("e").Args.Values()[0]; got != float64(i) {
				t.Fatalf("%v and not %d", got, i)
			}
		}
		ann.None("e")
		if lost, dropped := first.Stats().ClusterLost, second.Stats().ClusterDropped; lost != dropped { // another was dropped when the node was back
			t.Errorf("%d missed, %d dropped", lost, dropped)
		}
	})
}

// Questions over nodes keep a target's exceptions.
func TestClusterQuestionsHaveExceptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, hubs := cluster(t, 2)
		clients := map[string]*chattest.Client{}
		for i, user := range []string{"ann", "bob", "cat", "dan"} {
			c := chattest.Dial(t, hubs[i%2], as(user))
			c.Answer("q", func(chattest.Args) []any { return []any{user} })
			clients[user] = c
		}
		for _, user := range []string{"ann", "bob", "cat"} {
			join(t, clients[user], "r")
		}
		join(t, clients["bob"], "quiet")
		settle(t, time.Second)
		for name, c := range map[string]struct {
			to   chat.Target
			want []string
		}{
			"but a user":   {hubs[0].Room("r").Except(chat.Users("bob")), []string{"ann", "cat"}},
			"but a room":   {hubs[0].Room("r").Except(chat.Rooms("quiet")), []string{"ann", "cat"}},
			"but a client": {hubs[0].To().Except(chat.Clients(clients["dan"].ID(), clients["ann"].ID())), []string{"bob", "cat"}},
			"everybody":    {hubs[0].To(), []string{"ann", "bob", "cat", "dan"}},
		} {
			infos, err := c.to.Clients(t.Context())
			if err != nil {
				t.Error(name, err)
			}
			replies, err := chat.CallAll[string](t.Context(), c.to, "q")
			if err != nil {
				t.Error(name, err)
			}
			there, called := map[string]bool{}, map[string]bool{}
			for _, i := range infos {
				there[i.UserID] = true
			}
			for _, r := range replies {
				called[r.Value] = true
			}
			for _, got := range []map[string]bool{there, called} {
				if len(got) != len(c.want) {
					t.Errorf("%s: %v, want %v", name, got, c.want)
				}
				for _, user := range c.want {
					if !got[user] {
						t.Errorf("%s: not %s: %v", name, user, got)
					}
				}
			}
		}
	})
}

// A client that does not answer is no reason to have nothing of its node: the node gives the others' answers in time, and says which client was silent.
func TestClusterSilentClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, hubs := cluster(t, 2)
		ann, bob, cat := chattest.Dial(t, hubs[0], as("ann")), chattest.Dial(t, hubs[1], as("bob")), chattest.Dial(t, hubs[1], as("cat"))
		for _, c := range []*chattest.Client{ann, bob} {
			c.Answer("q", func(chattest.Args) []any { return []any{1} })
		}
		settle(t, time.Second)
		within, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		replies, err := chat.CallAll[int](within, hubs[0].To(), "q")
		if err != nil {
			t.Error(err)
		}
		if len(replies) != 3 {
			t.Fatal(replies)
		}
		for _, r := range replies {
			if silent := r.Client == cat.ID(); silent != (r.Err != nil) || !silent && r.Value != 1 {
				t.Errorf("%+v", r)
			}
		}
	})
}

// A slow node's publications wait, as in a process that is stopped, until they are let go, after which another node of the Bus publishes them.
type slow struct {
	chat.Cluster
	mu   sync.Mutex
	hold bool
	held []chat.Publication
}

func (s *slow) Publish(ctx context.Context, ps []chat.Publication) error {
	s.mu.Lock()
	if s.hold {
		for _, p := range ps {
			p.Data = append([]byte(nil), p.Data...)
			s.held = append(s.held, p)
		}
		s.mu.Unlock()
		return errors.New("no answer")
	}
	s.mu.Unlock()
	return s.Cluster.Publish(ctx, ps)
}

// nobody is a node that only publishes.
type nobody struct{ chat.ClusterHandler }

func (nobody) Joined(string)          {}
func (nobody) Up(chat.Node)           {}
func (nobody) Down(chat.Node)         {}
func (nobody) Receive(int, ...[]byte) {}
func (nobody) History(int, ...[]byte) {}
func (nobody) Signaled([]byte)        {}

// What a node said before its lease was over and what comes later brings nobody back.
func TestClusterLastWordsAreFenced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, store := clustertest.NewBus(1), shared{chat.NewMemoryStore(0, 0)}
		stays, _ := newNode(t, bus, store)
		ann := chattest.Dial(t, stays, as("ann"))
		join(t, ann, "r")
		ann.Expect("user_joined")
		dying := &slow{Cluster: bus.Node()}
		dies := newHub(t, byUser(), chat.WithStore(store), chat.WithCluster(dying))
		settle(t, 2*time.Second)
		tag := bus.Tags()[1]
		bob := chattest.Dial(t, dies, as("bob"))
		join(t, bob, "other")
		settle(t, time.Second)
		dying.mu.Lock()
		dying.hold = true
		dying.mu.Unlock()
		bob.Emit("join_room", object{"room": "r"})
		settle(t, 0)
		bus.Kill(tag)
		settle(t, bus.Lease+time.Second)
		dying.mu.Lock()
		late := dying.held[:1]
		dying.mu.Unlock()
		if !strings.Contains(string(late[0].Data), "bob") {
			t.Fatalf("%q", late[0].Data)
		}
		last := bus.Node()
		if err := last.Join(chat.Node{Tag: "zzzzzz"}, nobody{}); err != nil {
			t.Fatal(err)
		}
		if err := last.Publish(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		settle(t, time.Second)
		ann.None("user_joined")
		if m, err := stays.Room("r").Members(t.Context()); err != nil || fmt.Sprint(len(m)) != "1" {
			t.Error(m, err)
		}
		if err := last.Leave(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A hung store takes revocations and says nothing.
type hung struct{ shared }

func (hung) Revoke(ctx context.Context, _ chat.Revocation) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hung) Revocations(context.Context, time.Time) ([]chat.Revocation, error) { return nil, nil }

// A store that hangs does not keep a revocation from the other nodes.
func TestClusterRevokesBesideTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, store := clustertest.NewBus(1), hung{shared{chat.NewMemoryStore(0, 0)}}
		first, _ := newNode(t, bus, store)
		second, _ := newNode(t, bus, store)
		bob := chattest.Dial(t, second, as("bob"))
		settle(t, time.Second)
		began, done := time.Now(), make(chan error, 1)
		go func() { done <- first.Revoke(t.Context(), "bob") }()
		bob.WaitClosed()
		if d := time.Since(began); d > time.Second {
			t.Errorf("after %v", d)
		}
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
