package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/benchmarks/internal/load"
	"github.com/parleychat/chat/store/postgres"
	"github.com/parleychat/chat/store/sqlite"
)

// HistoryFigures are of pages of a long room, read through the Store and by a
// client's history event, with the plans of the queries that the Store ran.
type HistoryFigures struct {
	Store  load.PageTimes  `json:"store"`
	Client *load.PageTimes `json:"client"`
	Plans  []QueryPlan     `json:"plans"`
}

// QueryPlan is how the database carries a query out.
type QueryPlan struct {
	Page string `json:"page"`
	SQL  string `json:"sql"`
	Plan string `json:"plan"`
}

func (b *bench) measureHistory(ctx context.Context, s logStore) (*HistoryFigures, error) {
	ctx, cancel := context.WithTimeout(ctx, setupLimit)
	defer cancel()
	f := new(HistoryFigures)
	var err error
	if s.name == "sqlite" {
		err = b.sqliteHistory(ctx, s.history, f)
	} else {
		err = b.postgresHistory(ctx, s.history, f)
	}
	if err != nil {
		return nil, err
	}
	r, err := b.once(ctx, logServer(s.history), load.Plan{Mode: "history", Members: 1, Rooms: 1, Entries: b.logSizes.Entries})
	if err != nil {
		return nil, err
	}
	f.Client = r.Pages
	slog.Info("history", "store", s.name, "p50_ms", tenth(f.Store.P50), "p99_ms", tenth(f.Store.P99), "max_ms", tenth(f.Store.Max),
		"client_p50_ms", tenth(f.Client.P50), "client_p99_ms", tenth(f.Client.P99), "client_max_ms", tenth(f.Client.Max))
	return f, nil
}

func (b *bench) sqliteHistory(ctx context.Context, db string, f *HistoryFigures) error {
	path := strings.TrimPrefix(db, "sqlite:")
	store, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := first(ctx, store); err != nil {
		return err
	}
	if err := fillSQLite(ctx, db, b.logSizes.Entries); err != nil {
		return err
	}
	if f.Store, err = pages(ctx, store, b.logSizes.Entries); err != nil {
		return err
	}
	f.Plans, err = b.sqlitePlans(ctx, path)
	return err
}

func (b *bench) postgresHistory(ctx context.Context, dsn string, f *HistoryFigures) error {
	conf, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return err
	}
	seen := new(queries)
	conf.ConnConfig.Tracer = seen
	pool, err := pgxpool.NewWithConfig(ctx, conf)
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := postgres.New(ctx, pool)
	if err != nil {
		return err
	}
	if err := first(ctx, store); err != nil {
		return err
	}
	if err := fillPostgres(ctx, dsn, b.logSizes.Entries); err != nil {
		return err
	}
	if f.Store, err = pages(ctx, store, b.logSizes.Entries); err != nil {
		return err
	}
	f.Plans, err = postgresPlans(ctx, dsn, store, seen, b.logSizes.Entries)
	return err
}

func pages(ctx context.Context, s chat.Store, n uint64) (load.PageTimes, error) {
	return load.ReadPlaces(load.Places(n, load.RandomPlaces), func(p load.Place) (time.Duration, error) {
		start := time.Now()
		entries, _, err := s.Page(ctx, pageQuery(p))
		took := time.Since(start)
		if err == nil && (len(entries) != load.PageSize || entries[0].Seq != p.First || entries[len(entries)-1].Seq != p.First+load.PageSize-1) {
			err = fmt.Errorf("not the page from %d: %d entries", p.First, len(entries))
		}
		return took, err
	})
}

func pageQuery(p load.Place) chat.PageQuery {
	return chat.PageQuery{Namespace: "/", Room: load.Room(0), After: p.After, Before: p.Before, Limit: load.PageSize}
}
