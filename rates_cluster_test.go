package chat_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// What a user does counts on all nodes: who goes from node to node gets no more than who stays.
func TestClusterRates(t *testing.T) {
	t.Parallel()
	for _, per := range []chat.Scope{chat.PerUser, chat.PerAddress} {
		t.Run(string(per), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, hubs := cluster(t, 3, chat.WithRates(chat.Rate{Per: per, PerSecond: 0.01, Burst: 12, Strikes: 1000}), chat.On("ping", nop))
				var clients []*chattest.Client
				for _, hub := range hubs {
					clients = append(clients, chattest.Dial(t, hub, as("ann"), chattest.RemoteAddr("192.0.2.1:1")))
				}
				passed := 0
				for range 10 {
					for _, c := range clients {
						if ask(t, c, "ping", nil).OK {
							passed++
						}
						settle(t, time.Second)
					}
				}
				if passed != 12 {
					t.Errorf("%d passed", passed)
				}
				bob := chattest.Dial(t, hubs[1], as("bob"), chattest.RemoteAddr("192.0.2.2:1"))
				if !ask(t, bob, "ping", nil).OK {
					t.Error("another one is refused")
				}
			})
		})
	}
}

// A cool-down holds on all nodes.
func TestClusterCoolDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, hubs := cluster(t, 2, chat.WithRates(chat.Rate{Per: chat.PerUser, PerSecond: 1, Burst: 1, Strikes: 3, CoolDown: time.Minute}), chat.On("ping", nop))
		one, two := chattest.Dial(t, hubs[0], as("ann")), chattest.Dial(t, hubs[1], as("ann"))
		for range 4 {
			ask(t, one, "ping", nil)
		}
		settle(t, 10*time.Second)
		a := ask(t, two, "ping", nil)
		wantCode(t, a, chat.RateLimited)
		settle(t, time.Minute)
		if !ask(t, two, "ping", nil).OK {
			t.Error("it goes on")
		}
	})
}

// Nodes that have other rates, as in the midst of a rollout, each keep to their own.
func TestClusterOtherRates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, hubs := cluster(t, 1, chat.WithRates(chat.Rate{Per: chat.PerUser, PerSecond: 0.01, Burst: 2}), chat.On("ping", nop))
		other := newHub(t, byUser(), chat.WithStore(shared{chat.NewMemoryStore(0, 0)}), chat.WithCluster(bus.Node()), chat.On("ping", nop),
			chat.WithRates(chat.Rate{Per: chat.PerUser, PerSecond: 0.01, Burst: 3}))
		settle(t, time.Second)
		for i, hub := range append(hubs, other) {
			c := chattest.Dial(t, hub, as("ann"))
			for range 2 + i {
				if !ask(t, c, "ping", nil).OK {
					t.Error("refused")
				}
			}
			wantCode(t, ask(t, c, "ping", nil), chat.RateLimited)
			settle(t, time.Second)
		}
		if s := other.Stats(); s.ClusterUnread != 0 {
			t.Error(s.ClusterUnread)
		}
	})
}

// dials connects a user's next clients, in turn to the nodes, and tells how many were let in.
func dials(t *testing.T, hubs []*chat.Hub, many int, opts ...chattest.Option) (in []*chattest.Client) {
	t.Helper()
	for i := range many {
		c, err := chattest.TryDial(t, hubs[i%len(hubs)], opts...)
		var refused *chattest.DialError
		switch {
		case err == nil:
			in = append(in, c)
		case !errors.As(err, &refused):
			t.Fatal(err)
		}
		settle(t, time.Second)
	}
	return in
}

func TestClusterClients(t *testing.T) {
	t.Parallel()
	for most, want := range map[int]int{1: 1, 5: 5, 20: 20, 40: 40} {
		for _, name := range []string{"user", "address"} {
			t.Run(fmt.Sprint(name, most), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					limits := chat.Limits{ClientsPerUser: most, ClientsPerAddress: -1}
					if name == "address" {
						limits = chat.Limits{ClientsPerUser: -1, ClientsPerAddress: most}
					}
					_, hubs := cluster(t, 3, chat.WithLimits(limits))
					ann := []chattest.Option{as("ann"), chattest.RemoteAddr("192.0.2.1:1")}
					bob := []chattest.Option{as("bob"), chattest.RemoteAddr("192.0.2.2:1")}
					in := dials(t, hubs, most+9, ann...)
					if len(in) != want {
						t.Fatalf("%d are in, want %d", len(in), want)
					}
					if n := len(dials(t, hubs[2:], 1, bob...)); n != 1 {
						t.Error("another one is refused")
					}
					in[0].Close() // its place is free for one on another node
					settle(t, time.Second)
					if n := len(dials(t, hubs[1:], 2, ann...)); n != 1 {
						t.Errorf("%d came after one had gone", n)
					}
				})
			})
		}
	}
}

// Who moves from one node to another is not in its own way, and neither are those of a node that is gone.
func TestClusterClientsMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, hubs := cluster(t, 3, chat.WithLimits(chat.Limits{ClientsPerUser: 1}))
		c := chattest.Dial(t, hubs[0], as("ann"))
		for i := range 6 {
			settle(t, time.Second)
			c.Close()
			c = chattest.Dial(t, hubs[(i+1)%3], as("ann")) // at once
		}
		settle(t, time.Second)
		bus.Kill(bus.Tags()[0])
		settle(t, 2*bus.Lease)
		if in := dials(t, hubs[1:], 2, as("ann")); len(in) != 1 {
			t.Errorf("%d are in", len(in))
		}
	})
}

// While the cluster does not answer each node's own limit holds.
func TestClusterClientsWhileAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus, hubs := cluster(t, 2, chat.WithLimits(chat.Limits{ClientsPerUser: 2}))
		if in := dials(t, hubs[:1], 2, as("ann")); len(in) != 2 {
			t.Fatal(len(in))
		}
		bus.CutAll()
		settle(t, time.Second)
		if in := dials(t, hubs[1:], 3, as("ann")); len(in) != 2 {
			t.Errorf("%d are in", len(in))
		}
		bus.HealAll() // and then what was counted meanwhile is known
		settle(t, 10*time.Second)
		if in := dials(t, hubs, 2, as("ann")); len(in) != 0 {
			t.Errorf("%d are in", len(in))
		}
	})
}

func nop(context.Context, *chat.Client, chat.Args) error { return nil }
