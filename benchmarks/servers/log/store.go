package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/postgres"
	"github.com/parleychat/chat/store/sqlite"
)

// open opens what -db names. The memory store is not wrapped: the Hub knows it for what it is.
func open(ctx context.Context, db string) (s chat.Store, n *counts, closeStore func(), err error) {
	n = new(counts)
	path, isFile := strings.CutPrefix(db, "sqlite:")
	switch {
	case db == "memory":
		return chat.NewMemoryStore(0, 0), n, func() {}, nil
	case isFile:
		file, err := sqlite.Open(ctx, path)
		if err != nil {
			return nil, nil, nil, err
		}
		return counted(file, n), n, func() { _ = file.Close() }, nil
	case strings.HasPrefix(db, "postgres://"):
		pg, err := postgres.Open(ctx, db)
		if err != nil {
			return nil, nil, nil, err
		}
		return counted(pg, n), n, pg.Close, nil
	}
	return nil, nil, nil, fmt.Errorf("-db %q is neither memory nor sqlite:FILE nor postgres://…", db)
}

// counts are of the calls of Append.
type counts struct {
	appends, entries, nanos atomic.Int64
}

// counting is a store that counts what is appended.
type counting struct {
	chat.Store
	n *counts
}

func (s counting) Append(ctx context.Context, entries []chat.Entry) ([]chat.Appended, error) {
	start := time.Now()
	defer func() {
		s.n.appends.Add(1)
		s.n.entries.Add(int64(len(entries)))
		s.n.nanos.Add(int64(time.Since(start)))
	}()
	return s.Store.Append(ctx, entries)
}

// counted keeps a store that is shared, and so a Watcher, one: what its Watch costs belongs to the figure.
func counted(s chat.Store, n *counts) chat.Store {
	c := counting{s, n}
	if shared, ok := s.(sharedWatcher); ok {
		return struct {
			counting
			sharedWatcher
		}{c, shared}
	}
	return c
}

type sharedWatcher interface {
	chat.Watcher
	chat.SharedStore
}
