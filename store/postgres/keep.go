package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/parleychat/chat"
)

const (
	// Rows are locked in the order of their keys, so that two calls with the same keys cannot wait for each other; the last of a key counts.
	keep = `INSERT INTO parley_chat.kept (key, value, expires)
		SELECT DISTINCT ON (key) key, coalesce(value, ''), expires
		FROM unnest($1::text[], $2::bytea[], $3::timestamptz[]) WITH ORDINALITY AS q (key, value, expires, i) ORDER BY key, i DESC
		ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires`
	purgeKept = "DELETE FROM parley_chat.kept WHERE key IN (SELECT key FROM parley_chat.kept" + areOver
	// The two look at different rows, since one statement may change a row only once. PostgreSQL runs p after the other.
	takeKept = "WITH p AS (" + purgeKept + ") DELETE FROM parley_chat.kept WHERE key = $3 AND expires > $1 RETURNING value"
)

// Keep is chat.Keeper's. What is over is so by the clocks of the nodes, not by the server's.
func (s *Store) Keep(ctx context.Context, values []chat.Kept) error {
	if len(values) == 0 {
		return ctx.Err()
	}
	keys, contents, until := make([]string, len(values)), make([][]byte, len(values)), make([]time.Time, len(values))
	for i, v := range values {
		keys[i], contents[i], until[i] = v.Key, v.Value, v.Until
	}
	return s.transact(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, keep, planned, keys, contents, until); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, purgeKept, planned, time.Now(), overStep)
		return err
	})
}

// Take is chat.Keeper's.
func (s *Store) Take(ctx context.Context, key string) (value []byte, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		value = nil
		err := tx.QueryRow(ctx, takeKept, planned, time.Now(), overStep, key).Scan(&value)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}
