package redis_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// oneStore is what the nodes of one process have in common.
type oneStore struct{ chat.Store }

func (oneStore) Shared() bool { return true }

// hubs are nodes over the shared Redis, whose clients are who they say.
func hubs(t *testing.T, many int) []*chat.Hub {
	t.Helper()
	node, store := newCluster(t, toShared(t)), oneStore{chat.NewMemoryStore(0, 0)}
	asTold := chat.WithAuth(func(_ context.Context, h *chat.Handshake) (u chat.User, err error) { return u, h.Decode(&u) })
	all := make([]*chat.Hub, many)
	for i := range all {
		hub, err := chat.New(chat.WithStore(store), chat.WithCluster(node()), asTold, chat.WithLogger(slog.New(slog.DiscardHandler)))
		must(t, err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := hub.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		})
		all[i] = hub
	}
	for _, hub := range all {
		eventually(t, "all nodes", func() bool { return hub.Stats().Nodes == many })
	}
	return all
}

// Whoever is disconnected or revoked on one node has gone from all of them within a second.
func TestActsWithinASecond(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(ctx context.Context, hub *chat.Hub) error{
		"disconnect":       func(ctx context.Context, hub *chat.Hub) error { return hub.To(chat.Users("ann")).Disconnect(ctx) },
		"revoke the user":  func(ctx context.Context, hub *chat.Hub) error { return hub.Revoke(ctx, "ann") },
		"revoke the token": func(ctx context.Context, hub *chat.Hub) error { return hub.RevokeToken(ctx, "of ann") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := hubs(t, 3)
			ann := chattest.Auth(chat.User{ID: "ann", TokenID: "of ann"})
			var clients []*chattest.Client
			for _, hub := range all {
				clients = append(clients, chattest.Dial(t, hub, ann), chattest.Dial(t, hub, ann, chattest.Polling()))
				chattest.Dial(t, hub, chattest.Auth(chat.User{ID: "bob", TokenID: "of bob"})) // stays
			}
			began := time.Now()
			must(t, act(t.Context(), all[0]))
			for _, c := range clients {
				if why := c.WaitClosed(); why != "io server disconnect" {
					t.Error(why)
				}
			}
			if d := time.Since(began); d > time.Second {
				t.Errorf("after %v", d)
			}
			for i, hub := range all {
				if n := hub.Stats().Clients; n != 1 {
					t.Errorf("node %d has %d clients", i, n)
				}
				if _, err := chattest.TryDial(t, hub, ann); (err == nil) != (name == "disconnect") {
					t.Errorf("back on node %d: %v", i, err)
				}
			}
		})
	}
}
