package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/postgres"
	"github.com/parleychat/chat/store/sqlite"
)

// open is the store that db names, and how to close it after the Hub's Shutdown.
func open(ctx context.Context, db string) (chat.Store, func() error, error) {
	kind, file, _ := strings.Cut(db, ":")
	switch kind {
	case "memory":
		return chat.NewMemoryStore(0, 0), func() error { return nil }, nil
	case "sqlite":
		s, err := sqlite.Open(ctx, file)
		if err != nil {
			return nil, nil, err
		}
		return s, s.Close, nil
	case "postgres", "postgresql":
		s, err := postgres.Open(ctx, db)
		if err != nil {
			return nil, nil, err
		}
		return s, func() error { s.Close(); return nil }, nil
	}
	return nil, nil, fmt.Errorf("-db %q is none of memory, sqlite:FILE and postgres://…", db)
}

// user takes the client's word for who it is, auth.user or, from clients that have only a query, ?user=: an example's shortcut. A real chat looks at a
// token or a cookie. Who gives no name is anonymous; retries settle only for a user who stays the same.
func user(_ context.Context, h *chat.Handshake) (chat.User, error) {
	var auth struct{ User string }
	err := h.Decode(&auth)
	id := cmp.Or(auth.User, h.Query.Get("user"))
	return chat.User{ID: id, Name: id}, err
}
