package sqlite

import (
	"context"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/internal/storekit"
)

// overStep is how many rows whose time has come a call removes in passing.
const overStep = 100

const (
	// The later of each time: of two processes that revoke at once either may come first, and one may know of longer tokens than the other.
	revoke = `INSERT INTO revocations (user_id, token_id, made, expires) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET made = max(made, excluded.made), expires = max(expires, excluded.expires)`
	revocations  = "SELECT user_id, token_id, made, expires FROM revocations WHERE expires > ?"
	purgeRevoked = "DELETE FROM revocations WHERE (user_id, token_id) IN (SELECT user_id, token_id FROM revocations WHERE expires <= ? LIMIT ?)"
)

// Revoke is chat.Revoker's. Times are rounded up to milliseconds.
func (s *Store) Revoke(ctx context.Context, r chat.Revocation) error {
	return s.write(ctx, func(ctx context.Context, w *writer) error {
		if _, err := w.revoke.ExecContext(ctx, r.UserID, r.TokenID, msUp(r.At), msUp(r.Until)); err != nil {
			return err
		}
		_, err := w.purgeRevoked.ExecContext(ctx, time.Now().UnixMilli(), overStep)
		return err
	})
}

// Revocations is chat.Revoker's.
func (s *Store) Revocations(ctx context.Context, now time.Time) ([]chat.Revocation, error) {
	rows, err := s.reads.revocations.QueryContext(ctx, now.UnixMilli())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return storekit.Collect(rows, func(r *chat.Revocation) error {
		var made, expires int64
		err := rows.Scan(&r.UserID, &r.TokenID, &made, &expires)
		r.At, r.Until = time.UnixMilli(made).UTC(), time.UnixMilli(expires).UTC()
		return err
	})
}
