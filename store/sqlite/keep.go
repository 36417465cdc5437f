package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/parleychat/chat"
)

const (
	keep = `INSERT INTO kept (key, value, expires) VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET value = excluded.value, expires = excluded.expires`
	forTake   = "SELECT EXISTS (SELECT 1 FROM kept WHERE key = ? OR expires <= ?)"
	takeKept  = "DELETE FROM kept WHERE key = ? AND expires > ? RETURNING value"
	purgeKept = "DELETE FROM kept WHERE key IN (SELECT key FROM kept WHERE expires <= ? LIMIT ?)"
)

// Keep is chat.Keeper's.
func (s *Store) Keep(ctx context.Context, values []chat.Kept) error {
	if len(values) == 0 {
		return ctx.Err()
	}
	return s.write(ctx, func(ctx context.Context, w *writer) error {
		for _, v := range values {
			value := v.Value
			if value == nil {
				value = []byte{}
			}
			if _, err := w.keep.ExecContext(ctx, v.Key, value, msUp(v.Until)); err != nil {
				return err
			}
		}
		_, err := w.purgeKept.ExecContext(ctx, time.Now().UnixMilli(), overStep)
		return err
	})
}

// Take is chat.Keeper's. It writes only where there is something to be taken or removed.
func (s *Store) Take(ctx context.Context, key string) (value []byte, err error) {
	now := time.Now().UnixMilli()
	var there bool
	if err := s.reads.forTake.QueryRowContext(ctx, key, now).Scan(&there); err != nil || !there {
		return nil, err
	}
	err = s.write(ctx, func(ctx context.Context, w *writer) error {
		err := w.takeKept.QueryRowContext(ctx, key, now).Scan(&value)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return err
		case value == nil: // the driver's empty one
			value = []byte{}
		}
		_, err = w.purgeKept.ExecContext(ctx, now, overStep)
		return err
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}
