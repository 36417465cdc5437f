package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/postgres"
	"github.com/parleychat/chat/store/sqlite"
)

const room = "chat" // everybody is in it

func newHub(cfg config, store chat.Store) (*chat.Hub, error) {
	opts := []chat.Option{
		chat.WithStore(store),
		chat.WithRooms(room),
		chat.WithOrigins(cfg.origins...),
		chat.WithHeartbeat(10*time.Second, 5*time.Second),
		chat.WithLogger(slog.Default()),
		chat.OnCall("whoami", whoami),
		chat.WithLimits(chat.Limits{Text: 4_000, Payload: 256 << 10, ClientsPerUser: 20, ClientsPerAddress: 2_000, RoomsPerClient: 50}),
	}
	if cfg.anybody {
		slog.Warn("AUTH=none: anybody may come in, under any name")
		opts = append(opts, chat.WithAuth(anybody), chat.WithAnonymous())
	}
	return chat.New(opts...)
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
