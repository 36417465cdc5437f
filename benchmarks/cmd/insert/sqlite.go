package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	_ "modernc.org/sqlite"
)

// sqliteTable inserts by one prepared statement a row, on the one connection
// that it was prepared on: what database/sql does least for.
type sqliteTable struct {
	db                     *sql.DB
	begin, commit, insert1 *sql.Stmt
}

func openSQLite(ctx context.Context, path string) (table, int, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-8192)")
	if err != nil {
		return nil, 0, err
	}
	conn, err := db.Conn(ctx) // given back by the end of the process
	if err != nil {
		return nil, 0, err
	}
	var made string
	if err := conn.QueryRowContext(ctx, "SELECT sql FROM sqlite_master WHERE name = 'entries'").Scan(&made); err != nil {
		return nil, 0, err
	}
	made = strings.Replace(made, "CREATE TABLE entries", "CREATE TABLE IF NOT EXISTS bare", 1)
	if _, err := conn.ExecContext(ctx, made); err != nil {
		return nil, 0, err
	}
	var n int
	if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM bare").Scan(&n); err != nil {
		return nil, 0, err
	}
	t := &sqliteTable{db: db}
	for _, p := range []struct {
		stmt **sql.Stmt
		sql  string
	}{
		{&t.begin, "BEGIN IMMEDIATE"},
		{&t.commit, "COMMIT"},
		{&t.insert1, `INSERT INTO bare (room_id, seq, kind, id, user_id, sid, text, ts, message_id, reply_to)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
	} {
		if *p.stmt, err = conn.PrepareContext(ctx, p.sql); err != nil {
			return nil, 0, fmt.Errorf("%w in %s", err, p.sql)
		}
	}
	return t, n, nil
}

func (t *sqliteTable) insert(ctx context.Context, rows []row) error {
	if _, err := t.begin.ExecContext(ctx); err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		if _, err := t.insert1.ExecContext(ctx, r.room, r.seq, r.kind, r.id, r.user, r.sid, r.text, r.at.UnixMilli(), r.messageID, r.replyTo); err != nil {
			return err
		}
	}
	_, err := t.commit.ExecContext(ctx)
	return err
}

func (t *sqliteTable) close() error { return t.db.Close() }
