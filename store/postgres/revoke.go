package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/parleychat/chat"
)

// overStep is how many rows whose time has come a call removes in passing.
const overStep = 100

const (
	// The later of each time: of two nodes that revoke at once either may come first, and one may know of longer tokens than the other.
	revoke = `INSERT INTO parley_chat.revocations AS r (user_id, token_id, made, expires) VALUES ($1, $2, $3, $4)
		ON CONFLICT (user_id, token_id) DO UPDATE SET made = greatest(r.made, excluded.made), expires = greatest(r.expires, excluded.expires)`
	revocations  = "SELECT user_id, token_id, made, expires FROM parley_chat.revocations WHERE expires > $1"
	areOver      = " WHERE expires <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"
	purgeRevoked = `DELETE FROM parley_chat.revocations WHERE (user_id, token_id) IN
		(SELECT user_id, token_id FROM parley_chat.revocations` + areOver
)

// Revoke is chat.Revoker's. Times are rounded up to milliseconds.
func (s *Store) Revoke(ctx context.Context, r chat.Revocation) error {
	return s.transact(ctx, func(tx pgx.Tx) error {
		// The ids are not cleaned: another's would be revoked.
		if _, err := tx.Exec(ctx, revoke, r.UserID, r.TokenID, msUp(r.At), msUp(r.Until)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, purgeRevoked, time.Now(), overStep) // last: who holds a row that another waits for must not wait
		return err
	})
}

// Revocations is chat.Revoker's.
func (s *Store) Revocations(ctx context.Context, now time.Time) ([]chat.Revocation, error) {
	rows, err := s.pool.Query(ctx, revocations, now)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r chat.Revocation, err error) {
		err = row.Scan(&r.UserID, &r.TokenID, &r.At, &r.Until)
		r.At, r.Until = r.At.UTC(), r.Until.UTC()
		return r, err
	})
}
