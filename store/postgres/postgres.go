// Package postgres keeps the rooms' logs in PostgreSQL (14 or later), by pgx.
//
//	store, err := postgres.Open(ctx, "postgres://…")       // a pool of its own
//	store, err := postgres.New(ctx, pool)                  // the host's
//	…
//	hub, err := chat.New(chat.WithStore(store))
//
// A host's own transaction writes messages with PublishTx, which are delivered if it commits.
//
// Any number of nodes may share a database. The tables are in a schema of their own, parley_chat.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parleychat/chat"
)

// A Store is a chat.Store, and a chat.Trimmer, chat.Eraser, chat.Exporter, chat.Watcher, chat.Revoker and chat.Keeper.
//
// PostgreSQL's texts hold no NUL: the Store keeps U+FFFD in its place. How lasting a commit is, is the server's setting (synchronous_commit): with the default an
// ack means that the entry is on the server's disk.
type Store struct {
	pool  *pgxpool.Pool
	owned bool
	known known
}

var (
	_ chat.Store    = (*Store)(nil)
	_ chat.Trimmer  = (*Store)(nil)
	_ chat.Eraser   = (*Store)(nil)
	_ chat.Exporter = (*Store)(nil)
	_ chat.Watcher  = (*Store)(nil)
	_ chat.Revoker  = (*Store)(nil)
	_ chat.Keeper   = (*Store)(nil)
)

// Open connects to a database with a pool of its own, which Close closes, and brings the tables up to date. dsn is an address or a list of settings, those of pgxpool included.
func Open(ctx context.Context, dsn string) (*Store, error) {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return nil, err
	}
	s, err := New(ctx, pool)
	if err != nil {
		pool.Close()
		return nil, err
	}
	s.owned = true
	return s, nil
}

// New uses the host's pool, which stays the host's to close, and brings the tables up to date. That takes the right to make a schema; where a role with more
// rights has made it, USAGE on parley_chat and SELECT, INSERT, UPDATE and DELETE on its tables.
func New(ctx context.Context, pool *pgxpool.Pool) (*Store, error) {
	s := &Store{pool: pool}
	if err := s.migrate(ctx, migrations); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return s, nil
}

// Shared is chat.SharedStore's: Hubs on the same database may be one cluster.
func (s *Store) Shared() bool { return true }

// Close closes the pool of a store that Open made, and waits for what is under way.
func (s *Store) Close() {
	if s.owned {
		s.pool.Close()
	}
}

// tries is how often a transaction that the server has broken off for another's sake is begun, within its ctx.
const tries = 8

// errAgain marks an error after which nothing is saved for certain and another try may do.
type errAgain struct{ error }

func (e errAgain) Unwrap() error { return e.error }

// retry runs f again after an errAgain.
func retry(ctx context.Context, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		var again errAgain
		if !errors.As(err, &again) {
			return err
		}
		if try == tries {
			return again.error
		}
		pause := time.NewTimer(time.Duration(rand.Int64N(int64(2*time.Millisecond) << try)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return errors.Join(ctx.Err(), again.error)
		}
	}
}

// brokenOff tells that the server has rolled a transaction back because of another: a deadlock, a serialization failure, a key that the other inserted.
func brokenOff(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (strings.HasPrefix(e.Code, "40") && e.Code != "40003" || e.Code == "23505")
}

// transact runs f in a transaction, again where the server breaks it off.
func (s *Store) transact(ctx context.Context, f func(pgx.Tx) error) error {
	return retry(ctx, func() error {
		err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, f)
		if brokenOff(err) {
			return errAgain{err}
		}
		return err
	})
}

// clean makes a text one that PostgreSQL can hold.
func clean(text string) string {
	if strings.IndexByte(text, 0) < 0 && utf8.ValidString(text) {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}
