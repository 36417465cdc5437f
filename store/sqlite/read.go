package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/internal/storekit"
)

const (
	pageFrom    = "SELECT seq, " + columns + " FROM entries WHERE room_id = (SELECT id FROM rooms WHERE namespace = ? AND room = ?) AND seq > ? AND seq < ? ORDER BY seq "
	pageUp      = pageFrom + "LIMIT ?"
	pageDown    = pageFrom + "DESC LIMIT ?"
	bounds      = "SELECT first_seq, last_seq FROM rooms WHERE namespace = ? AND room = ? AND last_seq > 0"
	roomsOf     = "SELECT id FROM rooms WHERE namespace = ?1 AND (room = ?2 OR ?2 = '') ORDER BY id"
	roomsAfter  = "SELECT room FROM rooms WHERE namespace = ? AND room > ? ORDER BY room LIMIT ?"
	writtenFrom = " FROM entries WHERE (room_id, seq) > (?, ?) AND user_id = ? ORDER BY room_id, seq LIMIT ?"
	written     = "SELECT room_id, seq, " + columns + writtenFrom
	roomByID    = "SELECT namespace, room FROM rooms WHERE id = ?"
)

// readStatements are prepared on each reading connection when it first runs them.
type readStatements struct {
	pageUp, pageDown, bounds, roomsOf, roomsAfter, written, roomByID, revocations, forTake *sql.Stmt
}

func (r *readStatements) prepare(ctx context.Context, db *sql.DB) error {
	for _, p := range []struct {
		stmt **sql.Stmt
		sql  string
	}{
		{&r.pageUp, pageUp}, {&r.pageDown, pageDown}, {&r.bounds, bounds}, {&r.roomsOf, roomsOf}, {&r.roomsAfter, roomsAfter}, {&r.written, written}, {&r.roomByID, roomByID},
		{&r.revocations, revocations}, {&r.forTake, forTake},
	} {
		var err error
		if *p.stmt, err = db.PrepareContext(ctx, p.sql); err != nil {
			return fmt.Errorf("%w in %s", err, p.sql)
		}
	}
	return nil
}

// Page is chat.Store's.
func (s *Store) Page(ctx context.Context, q chat.PageQuery) (entries []chat.Entry, more bool, err error) {
	after, before, limit, up := storekit.Range(q)
	stmt := s.reads.pageDown
	if up {
		stmt = s.reads.pageUp
	}
	rows, err := stmt.QueryContext(ctx, q.Namespace, q.Room, after, before, limit)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	return storekit.Page(q, rows, func(e *chat.Entry) error { return scanEntry(rows, e, &e.Seq) })
}

// Bounds is chat.Store's.
func (s *Store) Bounds(ctx context.Context, namespace, room string) (first, last uint64, err error) {
	err = s.reads.bounds.QueryRowContext(ctx, namespace, room).Scan(&first, &last)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, nil
	}
	return first, last, err
}
