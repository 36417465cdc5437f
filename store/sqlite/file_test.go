package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/sqlite"
)

// raw opens the file beside the store.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	if !strings.Contains(path, "?") {
		path += "?_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func run(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

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

func TestReopen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a ?#%20 dir", "chat.db")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	save(t, s, message(1), message(2))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), []chat.Entry{message(3)}); err == nil {
		t.Error("Append after Close is no error")
	}
	if _, _, err := s.Bounds(t.Context(), "/", "lobby"); err == nil {
		t.Error("Bounds after Close is no error")
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	s = open(t, path)
	for i, a := range save(t, s, message(1), message(2), message(3)) {
		if a.Entry.Seq != uint64(i+1) || a.Repeated != (i < 2) {
			t.Errorf("%+v", a)
		}
	}
}

// What one process does several do: here each is a Store of its own on the same file.
func TestManyOpenAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			s, err := sqlite.Open(t.Context(), path)
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			for j := range 20 {
				if _, err := s.Append(t.Context(), []chat.Entry{message(j), message(100*(i+1) + j)}); err != nil {
					t.Errorf("Append: %v", err)
				}
			}
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	all.Wait()
	s := open(t, path)
	first, last, err := s.Bounds(t.Context(), "/", "lobby")
	if first != 1 || last != 20+6*20 || err != nil {
		t.Errorf("%d, %d, %v", first, last, err)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	open(t, path)
	db := raw(t, path)
	run(t, db, "INSERT INTO schema_version VALUES (1000, 1, 0)")
	save(t, open(t, path), message(1)) // a later version that this one can live with
	run(t, db, "INSERT INTO schema_version VALUES (1001, 1001, 0)")
	if s, err := sqlite.Open(t.Context(), path); err == nil {
		t.Error("tables that need a later program were opened", s.Close())
	}
}

func TestKeysExpire(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	db := raw(t, path)
	save(t, s, message(1), message(2), message(3))
	trim := func(keep int) {
		t.Helper()
		if _, err := s.Trim(t.Context(), chat.TrimQuery{Namespace: "/", Room: "lobby", Keep: keep}); err != nil {
			t.Fatal(err)
		}
	}
	trim(1)
	var keys int
	var left float64
	row := db.QueryRowContext(t.Context(), "SELECT count(*), (min(expires) - ?)/86400e3 FROM message_keys WHERE expires IS NOT NULL", time.Now().UnixMilli())
	if err := row.Scan(&keys, &left); err != nil || keys != 2 || left < 29.9 || left > 30.1 {
		t.Errorf("%d keys expire, in %f days, %v", keys, left, err)
	}
	run(t, db, "UPDATE message_keys SET expires = 1 WHERE expires IS NOT NULL")
	if a := save(t, s, message(1))[0]; a.Repeated || a.Entry.Seq != 4 { // before anybody has removed it
		t.Errorf("a key is known after its end: %+v", a)
	}
	trim(10)
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM message_keys").Scan(&keys); err != nil || keys != 1 {
		t.Errorf("the texts of %d keys are kept, want that of 4, which was known before; %v", keys, err)
	}
	if a := save(t, s, message(1))[0]; !a.Repeated || a.Entry.Seq != 4 || a.Entry.Deleted {
		t.Errorf("a new entry's key is not known: %+v", a)
	}
}

// A batch whose transaction breaks off leaves nothing, and the store goes on.
func TestAllOrNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	save(t, s, message(1))
	run(t, raw(t, path), `CREATE TRIGGER broken BEFORE INSERT ON entries WHEN new.text = 'break' BEGIN SELECT raise(ABORT, 'broken'); END`)
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

// A write that waits for another process ends with the busy timeout, one that waits in this process with its ctx.
func TestWaiting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path, sqlite.WithBusyTimeout(time.Millisecond))
	conn, err := raw(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), []chat.Entry{message(1)}); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("while another writes: %v", err)
	}
	if _, _, err := s.Page(t.Context(), chat.PageQuery{Namespace: "/", Room: "lobby", Limit: 1}); err != nil {
		t.Errorf("a reader: %v", err)
	}
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	save(t, s, message(1))
	held := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	sqlite.Hold(s, func() {
		go func() {
			close(held)
			_, err := s.Append(ctx, []chat.Entry{message(2)})
			result <- err
		}()
		<-held
		cancel()
		if err := <-result; err == nil {
			t.Error("Append did not end with its ctx")
		}
	})
	if a := save(t, s, message(3))[0]; a.Entry.Seq != 2 {
		t.Errorf("%+v", a)
	}
}

func TestErasedIsOverwritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, path)
	e := message(1)
	e.Text = "a very secret text"
	save(t, s, e, message(2))
	if _, err := s.EraseUser(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(content), "very secret") {
		t.Errorf("the text is in the file; %v", err)
	}
}

func TestMemoryIsRefused(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", ":memory:", filepath.Join(t.TempDir(), "no", "such", "dir.db")} {
		if s, err := sqlite.Open(t.Context(), path); err == nil {
			t.Errorf("%q was opened; %v", path, s.Close())
		}
	}
}

// The pages of a long log must not cost more than those of a short one: SQLite has to say that it goes by the primary key.
func TestPlans(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	open(t, path)
	db := raw(t, path)
	for name, query := range sqlite.Queries {
		args := make([]any, strings.Count(query, "?"))
		for i := range args {
			args[i] = 1
		}
		rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(plan, "; ")
		if !strings.Contains(text, "SEARCH entries USING PRIMARY KEY") || strings.Contains(text, "SCAN") || strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// What one process keeps of the rooms is forgotten when another has written to the file.
func TestTwoProcessesInTurn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	a, b := open(t, path), open(t, path)
	for i := 1; i <= 40; i++ {
		s := a
		if i%3 == 0 {
			s = b
		}
		saved := save(t, s, message(i))
		if saved[0].Entry.Seq != uint64(i) {
			t.Fatalf("entry %d has the seq %d", i, saved[0].Entry.Seq)
		}
		if i%10 == 0 { // an error of the file in between leaves no place given that was not taken
			run(t, raw(t, path), "CREATE TRIGGER broken BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'broken'); END")
			if _, err := s.Append(t.Context(), []chat.Entry{message(1000 + i)}); err == nil {
				t.Fatal("no error")
			}
			run(t, raw(t, path), "DROP TRIGGER broken")
		}
	}
	var size int
	if err := raw(t, path).QueryRow("PRAGMA page_size").Scan(&size); err != nil || size != 2048 {
		t.Errorf("pages of %d bytes, %v", size, err)
	}
}
