package sqlite

import (
	"context"
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
