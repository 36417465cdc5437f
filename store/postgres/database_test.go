package postgres_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
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

func message(i int) chat.Entry {
	return chat.Entry{
		Kind: chat.KindMessage, Namespace: "/", Room: "lobby", ID: fmt.Sprintf("0190a0de-0000-7000-8000-%012d", i),
		UserID: "ann", MessageID: fmt.Sprint("k", i), Text: fmt.Sprint("text ", i),
	}
}

func save(t *testing.T, s chat.Store, entries ...chat.Entry) []chat.Appended {
	t.Helper()
	saved, err := s.Append(t.Context(), entries)
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

func exec(t *testing.T, conn *pgx.Conn, query string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// Nodes start at once on an empty database, and write to the same rooms in opposite orders.
func TestNodes(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	var all sync.WaitGroup
	for node := range 4 {
		all.Go(func() {
			s, err := postgres.Open(t.Context(), dsn)
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			defer s.Close()
			for i := range 30 {
				batch := make([]chat.Entry, 5)
				for j := range batch {
					batch[j] = message(10*i + j)
					if j > 2 {
						batch[j] = message(1000*(node+1) + 10*i + j) // nobody else's
					}
					room := j
					if node%2 == 1 {
						room = 4 - j
					}
					batch[j].Room = fmt.Sprintf("room%d-%d", i/10, room)
				}
				if _, err := s.Append(t.Context(), batch); err != nil {
					t.Errorf("Append: %v", err)
				}
			}
		})
	}
	all.Wait()
	var rooms, holes, total int
	row := connect(t, dsn).QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE n <> last_seq OR high <> last_seq), sum(n) FROM parley_chat.rooms
		JOIN (SELECT room_id, count(*) AS n, max(seq) AS high FROM parley_chat.entries GROUP BY 1) e ON e.room_id = rooms.id`)
	if err := row.Scan(&rooms, &holes, &total); err != nil || rooms != 15 || holes != 0 {
		t.Errorf("%d rooms, %d with holes, %v", rooms, holes, err)
	}
	// In even nodes entry j is of room j, in odd ones of room 4-j: of the shared three, the one of room 2 is the same message.
	if want := 30 * (4*2 + 1 + 2*2); total != want {
		t.Errorf("%d entries, want %d", total, want)
	}
}

func TestHostsPool(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), database(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), "CREATE TABLE rooms (ours text); CREATE TABLE entries (ours text)"); err != nil {
		t.Fatal(err)
	}
	s, err := postgres.New(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, message(1))
	s.Close()
	if err := pool.Ping(t.Context()); err != nil {
		t.Errorf("the host's pool was closed: %v", err)
	}
}

// What a pool behind a pooler of connections uses.
func TestExecModes(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	for i, mode := range []string{"cache_describe", "describe_exec", "exec", "simple_protocol"} {
		s := open(t, dsn+"&default_query_exec_mode="+mode)
		e := message(2 * i)
		e.Meta = []byte(`{"a":"\\x00"}`)
		saved := save(t, s, e, message(2*i+1), e)
		if saved[1].Entry.Seq != uint64(2*i+2) || !saved[2].Repeated {
			t.Errorf("%s: %+v", mode, saved)
		}
		if again := save(t, s, e)[0]; !again.Repeated || string(again.Entry.Meta) != string(e.Meta) {
			t.Errorf("%s: %+v", mode, again)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	open(t, dsn)
	conn := connect(t, dsn)
	exec(t, conn, "INSERT INTO parley_chat.schema_version VALUES (1000, 1)")
	save(t, open(t, dsn), message(1)) // a later version that this one can live with
	exec(t, conn, "INSERT INTO parley_chat.schema_version VALUES (1001, 1001)")
	if s, err := postgres.Open(t.Context(), dsn); err == nil {
		t.Error("tables that need a later program were opened")
		s.Close()
	}
}

// A node of a version before writes while one of the next comes, goes on beside it, and starts again.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	for version := 1; version < postgres.Version; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			t.Parallel()
			neighbours(t, version)
		})
	}
}

func neighbours(t *testing.T, version int) {
	dsn := database(t, "")
	openOld := func() *postgres.Store {
		s, err := postgres.OpenVersion(t.Context(), dsn, version)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	old, conn := openOld(), connect(t, dsn)
	if there(t, conn, "outbox") != (version >= 2) || there(t, conn, "kept") != (version >= 3) || there(t, conn, "entries_key") {
		t.Fatalf("version %d has other tables", version)
	}
	half, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			if i == 50 {
				close(half)
			}
			if _, err := old.Append(t.Context(), []chat.Entry{message(i)}); err != nil {
				t.Errorf("the old writer: %v", err)
			}
		}
	}()
	<-half
	s := open(t, dsn)
	watch(t, s)
	revokeAndKeep(t, s)
	for i := range 20 {
		publishIn(t, conn, true, chat.Post{Text: fmt.Sprint("published ", i)})
	}
	<-done
	eventually(t, "the outbox empty", func() bool { return outboxRows(t, conn) == 0 })
	save(t, openOld(), message(200))
	if n := len(logOf(t, old, "lobby")); n != 221 {
		t.Errorf("%d entries", n)
	}
	if _, err := old.Trim(t.Context(), chat.TrimQuery{Namespace: "/", Keep: 1}); err != nil {
		t.Error(err)
	}
	var versions string
	if err := conn.QueryRow(t.Context(), "SELECT string_agg(version || ' ' || oldest, ', ' ORDER BY version) FROM parley_chat.schema_version").Scan(&versions); err != nil || versions != "1 1, 2 1, 3 1, 4 1" {
		t.Errorf("%s, %v", versions, err)
	}
}

func there(t *testing.T, conn *pgx.Conn, table string) (there bool) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT to_regclass('parley_chat.' || $1) IS NOT NULL", table).Scan(&there); err != nil {
		t.Fatal(err)
	}
	return there
}

func TestEncoding(t *testing.T) {
	t.Parallel()
	if s, err := postgres.Open(t.Context(), database(t, "ENCODING 'LATIN1' TEMPLATE template0")); err == nil || !strings.Contains(err.Error(), "UTF8") {
		t.Errorf("a database in LATIN1: %v", err)
		if err == nil {
			s.Close()
		}
	}
}

// A role that may only read and write rows works with tables that another has made.
func TestRights(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	open(t, dsn)
	conn := connect(t, dsn)
	role := roleOf(t, conn)
	exec(t, conn, "GRANT USAGE ON SCHEMA parley_chat TO "+role+"; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA parley_chat TO "+role)
	s := open(t, strings.Replace(dsn, "//postgres@", "//"+role+"@", 1))
	save(t, s, message(1))
	w := watch(t, s)
	publishIn(t, conn, true, chat.Post{Text: "x", UserID: "bob"})
	eventually(t, "grown", func() bool { return w.told("/ lobby") > 0 })
	if n, err := s.EraseUser(t.Context(), "bob"); n != 1 || err != nil {
		t.Errorf("EraseUser: %d, %v", n, err)
	}
	revokeAndKeep(t, s)
}

// roleOf makes a role that may log in and nothing else. Roles are the server's, not a database's, hence the name.
func roleOf(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	role := "only_" + conn.Config().Database
	exec(t, conn, "CREATE ROLE "+role+" LOGIN")
	return role
}

func TestKeysExpire(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn := open(t, dsn), connect(t, dsn)
	save(t, s, message(1), message(2), message(3))
	trim := func(keep int) {
		t.Helper()
		if _, err := s.Trim(t.Context(), chat.TrimQuery{Namespace: "/", Room: "lobby", Keep: keep}); err != nil {
			t.Fatal(err)
		}
	}
	trim(1)
	var keys int
	var days float64
	row := conn.QueryRow(t.Context(), "SELECT count(*), extract(epoch FROM min(expires) - now())/86400 FROM parley_chat.message_keys WHERE expires IS NOT NULL")
	if err := row.Scan(&keys, &days); err != nil || keys != 2 || days < 29.9 || days > 30.1 {
		t.Errorf("%d keys expire, in %f days, %v", keys, days, err)
	}
	exec(t, conn, "UPDATE parley_chat.message_keys SET expires = now() WHERE expires IS NOT NULL")
	if a := save(t, s, message(1), message(1)); a[0].Repeated || a[0].Entry.Seq != 4 || !a[1].Repeated { // before anybody has removed it
		t.Errorf("a key is known after its end: %+v", a)
	}
	trim(10)
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM parley_chat.message_keys").Scan(&keys); err != nil || keys != 0 {
		t.Errorf("%d keys are kept beside their entries or after their end; %v", keys, err)
	}
	if a := save(t, s, message(1))[0]; !a.Repeated || a.Entry.Seq != 4 || a.Entry.Deleted {
		t.Errorf("a new entry's key is not known: %+v", a)
	}
}

// A program that knows version 3 puts the keys of all entries into message_keys, and finds them nowhere else.
func TestKeysOfVersion3(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn := open(t, dsn), connect(t, dsn)
	save(t, s, message(1))
	const insert = `WITH r AS (UPDATE parley_chat.rooms SET last_seq = last_seq + 1 RETURNING id, last_seq), e AS (
			INSERT INTO parley_chat.entries (ts, room_id, seq, kind, id, user_id, sid, text, message_id, reply_to)
			SELECT now(), id, last_seq, 'message', 'an old id', $1, '', 'x', $2, '' FROM r RETURNING room_id, seq, user_id, message_id)
		INSERT INTO parley_chat.message_keys (room_id, user_id, message_id, seq) SELECT room_id, user_id, message_id, seq FROM e`
	old := message(2)
	if _, err := conn.Exec(t.Context(), insert, old.UserID, old.MessageID); err != nil {
		t.Fatal(err)
	}
	if a := save(t, s, old)[0]; !a.Repeated || a.Entry.Seq != 2 || a.Entry.ID != "an old id" || a.Entry.Text != "x" {
		t.Errorf("%+v", a)
	}
	if _, err := conn.Exec(t.Context(), insert, message(1).UserID, message(1).MessageID); err == nil || !strings.Contains(err.Error(), "entries_key") {
		t.Errorf("the key of a later program's entry is taken: %v", err)
	}
	save(t, s, message(3), message(4))
	if _, err := s.Trim(t.Context(), chat.TrimQuery{Namespace: "/", Room: "lobby", Keep: 1}); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ { // alone, since what repeats in one batch is looked for in any case
		if a := save(t, s, message(i))[0]; !a.Repeated || a.Entry.Seq != uint64(i) {
			t.Errorf("the key has not outlived its entry: %+v", a)
		}
	}
	if a := save(t, s, message(5))[0]; a.Repeated || a.Entry.Seq != 5 {
		t.Errorf("%+v", a)
	}
}

// A batch whose transaction breaks off leaves nothing, and the store goes on.
func TestAllOrNothing(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn := open(t, dsn), connect(t, dsn)
	save(t, s, message(1))
	exec(t, conn, "ALTER TABLE parley_chat.entries ADD CHECK (text <> 'break')")
	bad := message(3)
	bad.Text = "break"
	if _, err := s.Append(t.Context(), []chat.Entry{message(2), bad, message(4)}); err == nil {
		t.Fatal("no error")
	}
	for i, a := range save(t, s, message(2), message(3)) {
		if a.Repeated || a.Entry.Seq != uint64(i+2) {
			t.Errorf("%+v", a)
		}
	}
}

// Who waits for a room that another holds ends with its ctx, without holding up other rooms.
func TestWaiting(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn := open(t, dsn), connect(t, dsn)
	save(t, s, message(1))
	exec(t, conn, "BEGIN; UPDATE parley_chat.rooms SET last_seq = last_seq")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Append(ctx, []chat.Entry{message(2)}); err == nil {
		t.Error("no error")
	}
	elsewhere := message(3)
	elsewhere.Room = "kitchen"
	save(t, s, elsewhere)
	exec(t, conn, "ROLLBACK")
	if a := save(t, s, message(2))[0]; a.Repeated || a.Entry.Seq != 2 {
		t.Errorf("%+v", a)
	}
}

// Nothing that was saved goes with a crash of the server, and the store goes on with the pool it has.
func TestRestart(t *testing.T) {
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
	n := 0
	for _, end := range []func() error{server.Stop, server.Kill} {
		var all sync.WaitGroup
		for i := range 4 { // so that the pool has several connections to lose
			all.Go(func() { _, _ = s.Append(t.Context(), []chat.Entry{message(n + i)}) })
		}
		all.Wait()
		n += 4
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Append(t.Context(), []chat.Entry{message(n)}); err == nil {
			t.Error("Append without a server is no error")
		}
		if err := server.Serve(); err != nil {
			t.Fatal(err)
		}
		if a := save(t, s, message(n))[0]; a.Entry.Seq != uint64(n+1) || a.Repeated {
			t.Errorf("%+v", a)
		}
		n++
	}
}

// The pages of a long log must not cost more than those of a short one: the server has to go by the primary key and to read no more than a page, also
// while it has no statistics.
func TestPlans(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn := open(t, dsn), connect(t, dsn)
	save(t, s, message(1))
	exec(t, conn, `INSERT INTO parley_chat.entries (room_id, seq, kind, id, user_id, sid, text, ts, message_id, reply_to)
		SELECT 1, g, 'message', 'id', 'bob', '', 'text', now(), '', '' FROM generate_series(2, 100000) g`)
	exec(t, conn, "UPDATE parley_chat.rooms SET last_seq = 100000")
	for _, statistics := range []string{"without", "with"} {
		if statistics == "with" {
			exec(t, conn, "ANALYZE")
		}
		for name, q := range postgres.Queries {
			rows, err := conn.Query(t.Context(), "EXPLAIN ANALYZE "+q.SQL, append([]any{pgx.QueryExecModeExec}, q.Args...)...)
			if err != nil {
				t.Fatal(err)
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			plan := strings.Join(lines, "\n")
			if !strings.Contains(plan, "entries_pkey") || strings.Contains(plan, "Seq Scan on entries") {
				t.Errorf("%s, %s statistics:\n%s", name, statistics, plan)
			}
			read := regexp.MustCompile(`actual time=\S+ rows=(\d+)`).FindAllStringSubmatch(plan, -1)
			for _, m := range read {
				if n, err := strconv.Atoi(m[1]); n > 51 || err != nil {
					t.Errorf("%s, %s statistics: %d rows were read, %v:\n%s", name, statistics, n, err, plan)
				}
			}
			if len(read) == 0 || read[0][1] != "51" {
				t.Errorf("%s, %s statistics: not 51 rows:\n%s", name, statistics, plan)
			}
		}
	}
}
