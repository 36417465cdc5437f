package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/internal/pgtest"
	"github.com/parleychat/chat/store/postgres"
)

// publishMany has writers publish beside each other, per messages each in transactions of five, the last of which is rolled back now and then.
func publishMany(t *testing.T, dsn string, writers, per int) {
	t.Helper()
	var all sync.WaitGroup
	for w := range writers {
		conn := connect(t, dsn)
		all.Go(func() {
			for i := 0; i < per; i += 5 {
				posts := make([]chat.Post, 5)
				for j := range posts {
					posts[j] = chat.Post{Text: fmt.Sprintf("%d-%d", w, i+j), UserID: fmt.Sprint("user", w), MessageID: fmt.Sprint(i + j)}
				}
				if i%3 == 0 {
					if err := publishSome(t.Context(), conn, false, posts); err != nil {
						t.Error(err)
					}
				}
				if err := publishSome(t.Context(), conn, true, posts); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func publishSome(ctx context.Context, conn *pgx.Conn, commit bool, posts []chat.Post) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	for _, p := range posts {
		if err := postgres.PublishTx(ctx, tx, "lobby", p); err != nil {
			return errors.Join(err, tx.Rollback(ctx))
		}
	}
	if !commit {
		return tx.Rollback(ctx)
	}
	return tx.Commit(ctx)
}

// inOrder checks that each writer's messages are there once and in its order.
func inOrder(t *testing.T, log []chat.Entry, writers, per int) {
	t.Helper()
	next := make(map[string]int)
	for _, e := range log {
		w := strings.TrimPrefix(e.UserID, "user")
		if want := fmt.Sprintf("%s-%d", w, next[w]); e.Text != want {
			t.Fatalf("%s in place of %s", e.Text, want)
		}
		next[w]++
	}
	if len(log) != writers*per || len(next) != writers {
		t.Errorf("%d entries of %d writers", len(log), len(next))
	}
}

func TestTwoWatchers(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	conn := connect(t, dsn)
	s := []*postgres.Store{open(t, dsn), open(t, dsn)}
	w := []*watcher{watch(t, s[0]), watch(t, s[1])}
	publishMany(t, dsn, 10, 50)
	eventually(t, "the outbox empty", func() bool { return outboxRows(t, conn) == 0 })
	inOrder(t, logOf(t, s[0], "lobby"), 10, 50)
	for i := range w {
		eventually(t, "grown", func() bool { return w[i].told("/ lobby") > 0 })
	}
	// The last batch is told to both, whoever relayed it.
	before := []int{w[0].told("/ lobby"), w[1].told("/ lobby")}
	publishIn(t, conn, true, chat.Post{Text: "last"})
	for i := range w {
		eventually(t, "grown for the last", func() bool { return w[i].told("/ lobby") > before[i] })
	}
}

// Watches that come and go at any moment, in the middle of a transaction too, double nothing.
func TestWatchesEnd(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn := open(t, dsn), connect(t, dsn)
	var all sync.WaitGroup
	all.Go(func() { publishMany(t, dsn, 4, 100) })
	for i := range 40 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Watch(ctx, func(string, string) {}) }()
		end := time.NewTimer(time.Duration(i) * time.Millisecond) // not waited for what happens, but for it to be in the middle of anything
		<-end.C
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch: %v", err)
		}
	}
	all.Wait()
	watch(t, s)
	eventually(t, "the outbox empty", func() bool { return outboxRows(t, conn) == 0 })
	inOrder(t, logOf(t, s, "lobby"), 4, 100)
}

// waits tells whether a backend waits for a lock.
func waits(t *testing.T, conn *pgx.Conn) (pid int) {
	t.Helper()
	err := conn.QueryRow(t.Context(), `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&pid)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		t.Fatal(err)
	}
	return pid
}

// A relay that ends between its look and its write has done nothing; another takes over.
func TestRelayEnds(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn, other := open(t, dsn), connect(t, dsn), connect(t, dsn)
	save(t, s, message(0))
	for i, end := range []string{"by its context", "by the server"} {
		w := watch(t, s)
		exec(t, other, "BEGIN; UPDATE parley_chat.rooms SET last_seq = last_seq")
		publishIn(t, conn, true, chat.Post{Text: end})
		var pid int
		eventually(t, "the relay in the middle", func() bool { pid = waits(t, conn); return pid != 0 })
		if i == 0 {
			w.stop(t)
		} else {
			exec(t, conn, "SELECT pg_terminate_backend($1)", pid)
			w.lost(t)
		}
		if n := outboxRows(t, conn); n != 1 {
			t.Errorf("%s: %d rows in the outbox", end, n)
		}
		exec(t, other, "ROLLBACK")
		w = watch(t, s)
		eventually(t, "the outbox empty", func() bool { return outboxRows(t, conn) == 0 })
		w.stop(t)
		if log := logOf(t, s, "lobby"); len(log) != i+2 || log[i+1].Text != end {
			t.Errorf("%s: %+v", end, log)
		}
	}
}

// What comes without a notification comes by and by: a row that a program writes by itself, a batch whose notification was lost.
func TestPolling(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn := open(t, dsn), connect(t, dsn)
	w := watch(t, s)
	exec(t, conn, "INSERT INTO parley_chat.outbox (namespace, room, entry_id, text) VALUES ('/', 'lobby', '0190a0de-0000-7000-8000-000000000000', 'by hand')")
	eventually(t, "the row", func() bool { return w.told("/ lobby") > 0 })
	n := w.told(" ")
	exec(t, conn, "UPDATE parley_chat.relay SET batches = batches + 1")
	eventually(t, "the batch that nobody told of", func() bool { return w.told(" ") > n })
	n = w.told(" ")
	exec(t, conn, "TRUNCATE parley_chat.relay")
	eventually(t, "a database set back", func() bool { return w.told(" ") > n })
	publishIn(t, conn, true, chat.Post{Text: "goes on"})
	eventually(t, "the outbox empty", func() bool { return outboxRows(t, conn) == 0 })
	if w.told(" ") != n+1 {
		t.Errorf("grown with no name was called %d times more", w.told(" ")-n)
	}
}

// A Watch takes none of the pool's connections.
func TestWatchAndPool(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), database(t, "")+"&pool_max_conns=1")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s, err := postgres.New(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	err = pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error {
		w := watch(t, s)
		publishIn(t, c.Conn(), true, chat.Post{Text: "x"})
		eventually(t, "grown", func() bool { return w.told("/ lobby") > 0 })
		w.stop(t)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// The modes of a pool behind a pooler of connections, and the notifications that are too long.
func TestRelayModes(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	conn := connect(t, dsn)
	for i, mode := range []string{"cache_describe", "describe_exec", "exec", "simple_protocol"} {
		s := open(t, dsn+"&default_query_exec_mode="+mode)
		tx, err := connect(t, dsn+"&default_query_exec_mode="+mode).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for j := range 150 {
			p := chat.Post{Text: mode, UserID: "ann", MessageID: mode, Meta: `\x00`}
			if err := postgres.PublishTx(t.Context(), tx, fmt.Sprintf("%0100d", j), p); err != nil {
				t.Fatal(err)
			}
		}
		w := watch(t, s)
		n := w.told(" ")
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, mode, func() bool { return outboxRows(t, conn) == 0 && w.told("/ "+fmt.Sprintf("%0100d", 149)) > 0 })
		if log := logOf(t, s, fmt.Sprintf("%0100d", 77)); len(log) != i+1 || string(log[i].Meta) != `"\\x00"` {
			t.Errorf("%s: %+v", mode, log)
		}
		other := watch(t, open(t, dsn))
		publishIn(t, conn, true, chat.Post{Text: mode})
		eventually(t, "grown", func() bool { return other.told("/ lobby") > 0 && w.told("/ lobby") > 0 })
		if w.told(" ") != n {
			t.Errorf("%s: who relayed is told with no name", mode)
		}
		w.stop(t)
		other.stop(t)
	}
}

// What cannot be saved is set aside, told, and holds up nothing.
func TestSetAside(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn := open(t, dsn), connect(t, dsn)
	exec(t, conn, "ALTER TABLE parley_chat.entries ADD CONSTRAINT polite CHECK (text <> 'rude')")
	publishIn(t, conn, true, chat.Post{Text: "1"}, chat.Post{Text: "rude", UserID: "ann"}, chat.Post{Text: "2"}, chat.Post{Text: "rude"}, chat.Post{Text: "3"})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := s.Watch(ctx, func(string, string) {})
	if err == nil || ctx.Err() != nil || strings.Count(err.Error(), "polite") != 2 {
		t.Errorf("Watch: %v", err)
	}
	if got := textsOf(logOf(t, s, "lobby")); got != "1 2 3" {
		t.Errorf("%q", got)
	}
	watch(t, s)
	publishIn(t, conn, true, chat.Post{Text: "4"})
	eventually(t, "4", func() bool { return outboxRows(t, conn) == 2 })
	if _, err := s.EraseUser(t.Context(), "ann"); err != nil {
		t.Error(err)
	}
	exec(t, conn, "ALTER TABLE parley_chat.entries DROP CONSTRAINT polite; UPDATE parley_chat.outbox SET error = NULL")
	eventually(t, "the other", func() bool { return outboxRows(t, conn) == 0 })
	if got := textsOf(logOf(t, s, "lobby")); got != "1 2 3 4 rude" {
		t.Errorf("%q", got)
	}
}

// What a Hub could not deliver, or the log not hold, nobody gets into the outbox.
func TestOutboxChecks(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	open(t, dsn)
	conn := connect(t, dsn)
	insert := func(column, value string) error {
		row := map[string]string{"namespace": "'/'", "room": "'lobby'", "entry_id": "'id'", "text": "'text'"}
		row[column] = value
		_, err := conn.Exec(t.Context(), fmt.Sprintf("INSERT INTO parley_chat.outbox (namespace, room, entry_id, text, user_id, message_id, reply_to, meta) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
			row["namespace"], row["room"], row["entry_id"], row["text"], or(row["user_id"]), or(row["message_id"]), or(row["reply_to"]), meta(row["meta"])))
		return err
	}
	if err := insert("meta", `'{"a":1}'`); err != nil {
		t.Error(err)
	}
	long := "repeat('x', 1048577)"
	for _, c := range [][2]string{
		{"namespace", "'staff'"}, {"namespace", "'/' || " + long}, {"room", "''"}, {"room", "'a b'"}, {"room", `E'a\n'`}, {"room", long}, {"entry_id", "''"}, {"text", "''"}, {"text", long},
		{"user_id", long}, {"message_id", long}, {"reply_to", long}, {"meta", "'{'"}, {"meta", `'\xff'`}, {"meta", "('\"' || " + long + " || '\"')::bytea"},
	} {
		if err := insert(c[0], c[1]); err == nil {
			t.Errorf("%s %.40s was taken", c[0], c[1])
		}
	}
}

func or(s string) string {
	if s == "" {
		return "''"
	}
	return s
}

func meta(s string) string {
	if s == "" {
		return "NULL"
	}
	return s
}

// A Watch ends with an error when its server does, and the next one has all that was committed.
func TestWatchRestart(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start("fsync=on")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := postgres.Open(t.Context(), server.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, end := range []func() error{server.Stop, server.Kill} {
		w := watch(t, s)
		open, err := connect(t, server.DSN("postgres")).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := postgres.PublishTx(t.Context(), open, "lobby", chat.Post{Text: "never"}); err != nil {
			t.Fatal(err)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		w.lost(t)
		if err := s.Watch(t.Context(), func(string, string) {}); err == nil {
			t.Error("no error from a Watch that finds no server")
		}
		if err := server.Serve(); err != nil {
			t.Fatal(err)
		}
		conn := connect(t, server.DSN("postgres"))
		publishIn(t, conn, true, chat.Post{Text: fmt.Sprint("committed", i)})
		if err := server.Kill(); err != nil { // before anybody relays
			t.Fatal(err)
		}
		if err := server.Serve(); err != nil {
			t.Fatal(err)
		}
		w = watch(t, s)
		eventually(t, "what was committed", func() bool { return w.told("/ lobby") > 0 })
		w.stop(t)
	}
	if got := textsOf(logOf(t, open(t, server.DSN("postgres")), "lobby")); got != "committed0 committed1" {
		t.Errorf("%q", got)
	}
}
