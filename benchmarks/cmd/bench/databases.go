package main

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/benchmarks/internal/load"
	"github.com/parleychat/chat/benchmarks/internal/proc"
	"github.com/parleychat/chat/internal/pgtest"
)

const setupLimit = 4 * time.Minute

func (b *bench) memory() (logStore, func() error, error) {
	return logStore{name: "memory", title: "memory", db: "memory"}, func() error { return nil }, nil
}

// sqlite has a folder of its own beside the binaries: on a disk, where /tmp may
// be none.
func (b *bench) sqlite() (logStore, func() error, error) {
	s := logStore{name: "sqlite", title: "SQLite"}
	dir, err := os.MkdirTemp(b.bin, "sqlite")
	if err != nil {
		return s, nil, err
	}
	s.db, s.history = "sqlite:"+filepath.Join(dir, "log.db"), "sqlite:"+filepath.Join(dir, "history.db")
	return s, func() error { return os.RemoveAll(dir) }, nil
}

// postgres has a server of its own, which waits for the disk.
func (b *bench) postgres() (s logStore, done func() error, err error) {
	s = logStore{name: "postgres", title: "PostgreSQL"}
	server, err := pgtest.Start("fsync=on")
	if err != nil {
		return s, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupLimit)
	defer cancel()
	s.db, s.history = server.DSN("postgres"), server.DSN("history")
	if s.process, err = prepareServer(ctx, s.db); err != nil {
		return s, nil, errors.Join(err, server.Close())
	}
	return s, server.Close, nil
}

// prepareServer makes the database of the history and returns the server's
// process.
func prepareServer(ctx context.Context, dsn string) (int, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE DATABASE history"); err != nil {
		return 0, err
	}
	var backend int
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		return 0, err
	}
	return proc.Parent(backend)
}

// historyText has the length of what people write.
const historyText = "Shall we meet at the station at a quarter past six, or is the cafe on the corner better for you?"

// first makes the room of the history; all further entries are put in by SQL.
func first(ctx context.Context, s chat.Store) error {
	_, err := s.Append(ctx, []chat.Entry{{
		Kind: chat.KindMessage, Namespace: "/", Room: load.Room(0), ID: load.Key(1), UserID: "anon:f00", SID: "sid", Text: historyText, MessageID: load.Key(2),
	}})
	return err
}

// fillSQLite adds entries up to n to the room, with ids and keys of the usual
// length. Keys are left out: no page reads them.
func fillSQLite(ctx context.Context, dsn string, n uint64) error {
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(dsn, "sqlite:"))
	if err != nil {
		return err
	}
	defer db.Close()
	for _, q := range []string{
		`INSERT INTO entries (room_id, seq, kind, id, user_id, sid, text, ts, message_id, reply_to)
			WITH RECURSIVE g (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM g WHERE n < ?1)
			SELECT r.id, n, e.kind, printf('%08x-0000-7000-8000-%012x', n, n), 'anon:' || (n % 500), e.sid, e.text, e.ts + n, printf('%08x-0000-4000-8000-%012x', n, n), ''
			FROM g, rooms r, entries e WHERE e.room_id = r.id AND e.seq = 1 AND ?1 > 1`,
		"UPDATE rooms SET last_seq = ?1",
		`INSERT INTO rooms (namespace, room)
			WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 1000) SELECT '/', 'other' || n FROM g WHERE ?1 > 1`,
	} {
		if _, err := db.ExecContext(ctx, q, int64(n)); err != nil {
			return err
		}
	}
	return nil
}

// fillPostgres does the same, and what the server would do a little later by
// itself: VACUUM ANALYZE.
func fillPostgres(ctx context.Context, dsn string, n uint64) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	const fill = `INSERT INTO parley_chat.entries (room_id, seq, kind, id, user_id, sid, text, ts, message_id, reply_to)
		SELECT e.room_id, n, e.kind, format('%s-0000-7000-8000-%s', lpad(to_hex(n), 8, '0'), lpad(to_hex(n), 12, '0')), 'anon:' || (n % 500), e.sid, e.text,
			e.ts + n * interval '1 ms', format('%s-0000-4000-8000-%s', lpad(to_hex(n), 8, '0'), lpad(to_hex(n), 12, '0')), ''
		FROM generate_series(2, $1::bigint) n, parley_chat.entries e WHERE e.seq = 1`
	if _, err := conn.Exec(ctx, fill, int64(n)); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "UPDATE parley_chat.rooms SET last_seq = $1", int64(n)); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "INSERT INTO parley_chat.rooms (namespace, room) SELECT '/', 'other' || n FROM generate_series(1, 1000) n"); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "VACUUM ANALYZE")
	return err
}
