package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/internal/storekit"
)

// columns of an entry after its place, as scanEntry reads them.
const columns = "kind, id, user_id, sid, text, ts, message_id, reply_to, meta, deleted"

// A page's place is known, since a log is dense: it reads no more rows than it returns, also where the planner's statistics know nothing of the
// room and it would rather sort all that comes after.
const (
	pageFrom = `WITH r AS MATERIALIZED (SELECT id, greatest(first_seq, $3::bigint + 1) AS low, least(last_seq, $4::bigint - 1) AS high
			FROM parley_chat.rooms WHERE namespace = $1 AND room = $2)
		SELECT seq, ` + columns + ` FROM parley_chat.entries
		WHERE room_id = (SELECT id FROM r) AND seq >= (SELECT low FROM r) AND seq <= (SELECT high FROM r) `
	pageUp   = pageFrom + "AND seq < (SELECT low FROM r) + $5::bigint ORDER BY seq"
	pageDown = pageFrom + "AND seq > (SELECT high FROM r) - $5::bigint ORDER BY seq DESC"
	bounds   = "SELECT first_seq, last_seq FROM parley_chat.rooms WHERE namespace = $1 AND room = $2 AND last_seq > 0"
	written  = "SELECT room_id, seq, " + columns + ` FROM parley_chat.entries
		WHERE (room_id, seq) > ($1, $2) AND user_id = $3 ORDER BY room_id, seq LIMIT $4`
)

// planned has the server plan a query each time, for the tables as they are now. A plan that is kept could be one of the
// time when the table was small: a scan.
const planned = pgx.QueryExecModeCacheDescribe

// Page is chat.Store's.
func (s *Store) Page(ctx context.Context, q chat.PageQuery) (entries []chat.Entry, more bool, err error) {
	after, before, limit, up := storekit.Range(q)
	query := pageDown
	if up {
		query = pageUp
	}
	rows, err := s.pool.Query(ctx, query, planned, clean(q.Namespace), clean(q.Room), after, before, limit)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	return storekit.Page(q, rows, func(e *chat.Entry) error { return scanEntry(rows, e, &e.Seq) })
}

// Bounds is chat.Store's.
func (s *Store) Bounds(ctx context.Context, namespace, room string) (first, last uint64, err error) {
	err = s.pool.QueryRow(ctx, bounds, clean(namespace), clean(room)).Scan(&first, &last)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, 0, nil
	}
	return first, last, err
}

// scanEntry reads what stands before an entry's columns, and those.
func scanEntry(rows pgx.Rows, e *chat.Entry, before ...any) error {
	var ts time.Time
	var meta []byte
	err := rows.Scan(append(before, &e.Kind, &e.ID, &e.UserID, &e.SID, &e.Text, &ts, &e.MessageID, &e.ReplyTo, &meta, &e.Deleted)...)
	e.Timestamp, e.Meta = ts.UTC(), meta
	return err
}
