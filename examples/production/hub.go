package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/postgres"
	"github.com/parleychat/chat/store/sqlite"
)

const room = "chat" // everybody is in it

// presenceMost is how many users a room may have whose coming and going is told: where everybody is in one room the news grow with the square of their number. 2,000
// who come at once would have to read two million of them.
const presenceMost = 200

func newHub(cfg config, store chat.Store, who auth, observer chat.Observer, cluster ...chat.Option) (*chat.Hub, error) {
	connects := max(1, cfg.connects)
	rates := []chat.Rate{
		// Of a user, not of a client: who is thrown out and comes back, or opens 20 tabs, does not begin anew.
		{Per: chat.PerUser, Event: "chat_message", PerSecond: 5, Burst: 10},
		{Per: chat.PerUser, PerSecond: 50, Burst: 400}, // of all events; a page that comes back asks for several pages of history
		{Per: chat.PerUser, Count: chat.Joins, PerSecond: 10, Burst: 200},
		// A room's members have to read it all: a handful of users who write 16 KB each time would else fill the outboxes of everybody.
		{Per: chat.PerUser, Count: chat.Bytes, PerSecond: 8 << 10, Burst: 64 << 10},
		{Per: chat.PerUser, Count: chat.Connects, PerSecond: 2, Burst: 40}, // all tabs, twice
		// A whole office behind one address comes back at once after a restart.
		{Per: chat.PerAddress, Count: chat.Connects, PerSecond: float64(connects), Burst: 10 * connects},
	}
	if cfg.connects == 0 {
		rates = rates[:len(rates)-1]
	}
	return chat.New(slices.Concat(who.options, cluster, []chat.Option{
		chat.WithStore(store),
		chat.WithRooms(room),
		chat.WithPresence(presenceMost),
		chat.NamespaceAlias("/ws"), // io(base + "/ws") asks for a namespace, whatever the page meant
		chat.WithOrigins(cfg.origins...),
		chat.WithTrustedProxies(cfg.proxies...),
		chat.WithHeartbeat(10*time.Second, 5*time.Second),
		chat.WithLimits(chat.Limits{
			// nginx's client_max_body_size is above the Payload, so that the Hub says what is too large. Who comes honestly is pending for some milliseconds; of the
			// most that ever were Go keeps its records.
			Pending: 2_000, PendingPerAddress: 1_000, Upgrades: 2_000, ClientsPerAddress: 10_000,
		}),
		chat.WithRates(rates...),
		chat.WithLogger(slog.Default()),
		chat.WithTrafficLog(slog.LevelInfo),
		chat.WithObserver(observer),
		chat.OnCall("whoami", whoami),
	})...)
}

// open is the store that url names, and how to close it.
func open(ctx context.Context, url string) (chat.Store, func() error, error) {
	kind, rest, _ := strings.Cut(url, ":")
	switch kind {
	case "":
		slog.Warn("DATABASE_URL is empty: messages are kept in memory and end with this process")
		return chat.NewMemoryStore(0, 0), func() error { return nil }, nil
	case "sqlite":
		s, err := sqlite.Open(ctx, rest)
		if err != nil {
			return nil, nil, err
		}
		return s, s.Close, nil
	case "postgres", "postgresql":
		s, err := postgres.Open(ctx, url)
		if err != nil {
			return nil, nil, err
		}
		return s, func() error { s.Close(); return nil }, nil
	}
	return nil, nil, fmt.Errorf("DATABASE_URL begins with %q; it is sqlite:FILE or postgres://…", kind)
}
