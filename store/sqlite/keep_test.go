package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/sqlite"
)

// What a process revokes and keeps, one that opens the file beside it knows and takes, and one that opens it later.
func TestAnotherProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	one, now := open(t, path), time.Now()
	two := open(t, path)
	if err := one.Revoke(t.Context(), chat.Revocation{UserID: "ann", At: now, Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := one.Keep(t.Context(), []chat.Kept{{Key: "a", Value: []byte("x"), Until: now.Add(time.Hour)}, {Key: "b", Until: now.Add(time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	for i, s := range []*sqlite.Store{two, one} {
		if v, err := s.Take(t.Context(), "a"); (i == 0) != (string(v) == "x") || err != nil {
			t.Errorf("%d: %q, %v", i, v, err)
		}
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*sqlite.Store{two, open(t, path)} {
		if rs, err := s.Revocations(t.Context(), now); len(rs) != 1 || rs[0].UserID != "ann" || err != nil {
			t.Errorf("%v, %v", rs, err)
		}
	}
	if v, err := open(t, path).Take(t.Context(), "b"); v == nil || err != nil {
		t.Errorf("%v, %v", v, err)
	}
}

// A file of version 2 gets the tables; a program that knows version 2 only may go on.
func TestVersion2File(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	save(t, open(t, path), message(1))
	db := raw(t, path)
	run(t, db, "DROP TABLE revocations; DROP TABLE kept; DELETE FROM schema_version WHERE version > 2")
	s, now := open(t, path), time.Now()
	if a := save(t, s, message(1))[0]; !a.Repeated {
		t.Errorf("%+v", a)
	}
	if err := s.Keep(t.Context(), []chat.Kept{{Key: "a", Value: []byte("x"), Until: now.Add(time.Hour)}}); err != nil {
		t.Error(err)
	}
	if err := s.Revoke(t.Context(), chat.Revocation{UserID: "ann", At: now, Until: now.Add(time.Hour)}); err != nil {
		t.Error(err)
	}
	var version, oldest int
	if err := db.QueryRowContext(t.Context(), "SELECT max(version), max(oldest) FROM schema_version").Scan(&version, &oldest); err != nil || version != 3 || oldest != 1 {
		t.Errorf("version %d, for programs from %d on, %v", version, oldest, err)
	}
}

// What is over goes as others come, a bounded number at a time, and all of it with a Trim.
func TestOverGo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chat.db")
	s, db := open(t, path), raw(t, path)
	soon := time.Now().Add(time.Hour)
	fill := func(n int) {
		const numbers = "WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < ?) "
		run(t, db, numbers+"INSERT INTO revocations SELECT 'over' || n, '', 0, ? FROM g", n, time.Now().UnixMilli())
		run(t, db, numbers+"INSERT INTO kept SELECT 'over' || n, x'78', ? FROM g", n, time.Now().UnixMilli())
	}
	fill(250)
	for _, want := range []int{150, 50, 0, 0} {
		if err := s.Revoke(t.Context(), chat.Revocation{UserID: "ann", At: soon, Until: soon}); err != nil {
			t.Fatal(err)
		}
		overIn(t, db, "revocations", want)
	}
	if err := s.Keep(t.Context(), []chat.Kept{{Key: "pid", Until: soon}}); err != nil {
		t.Fatal(err)
	}
	overIn(t, db, "kept", 150)
	for _, want := range []int{50, 0} {
		var key string // of one that is still there
		if err := db.QueryRowContext(t.Context(), "SELECT key FROM kept WHERE key <> 'pid' LIMIT 1").Scan(&key); err != nil {
			t.Fatal(err)
		}
		if v, err := s.Take(t.Context(), key); v != nil || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		overIn(t, db, "kept", want)
	}
	fill(2500)
	if _, err := s.Trim(t.Context(), chat.TrimQuery{Namespace: "/"}); err != nil {
		t.Fatal(err)
	}
	overIn(t, db, "revocations", 0)
	overIn(t, db, "kept", 0)
	if v, err := s.Take(t.Context(), "pid"); v == nil || err != nil {
		t.Errorf("what was not over is gone, %v", err)
	}
	if rs, err := s.Revocations(t.Context(), time.Now()); len(rs) != 1 || err != nil {
		t.Errorf("%v, %v", rs, err)
	}
}

// overIn looks at the rows of a table that are over, and at those that are not.
func overIn(t *testing.T, db *sql.DB, table string, over int) {
	t.Helper()
	var live, n int
	query := fmt.Sprintf("SELECT count(*) FILTER (WHERE expires > ?1), count(*) FILTER (WHERE expires <= ?1) FROM %s", table)
	if err := db.QueryRowContext(t.Context(), query, time.Now().UnixMilli()).Scan(&live, &n); err != nil || live != 1 || n != over {
		t.Errorf("%s: %d live and %d that are over, want 1 and %d; %v", table, live, n, over, err)
	}
}

// A Take of what nobody has kept, which any page can ask for, does not wait for who writes.
func TestTakeOfNothing(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "chat.db"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	sqlite.Hold(s, func() {
		if v, err := s.Take(ctx, "pid"); v != nil || err != nil {
			t.Errorf("%q, %v", v, err)
		}
	})
}

// Calls of Take that wait together are one transaction, and one that is given up leaves what it was to take.
func TestTakesTogether(t *testing.T) {
	t.Parallel()
	const many = 300 // more than one transaction takes
	s := open(t, filepath.Join(t.TempDir(), "chat.db"))
	values := make([]chat.Kept, many)
	for i := range values {
		values[i] = chat.Kept{Key: fmt.Sprint("k", i), Value: fmt.Append(nil, i), Until: time.Now().Add(time.Hour)}
	}
	if err := s.Keep(t.Context(), values); err != nil {
		t.Fatal(err)
	}
	waiting, release, transactions := sqlite.HoldWriter(s)
	until := func(n int) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); waiting() != n; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%d wait, want %d", waiting(), n)
			}
		}
	}
	given, giveUp := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := s.Take(given, "k0")
		gaveUp <- err
	}()
	until(1)
	giveUp()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) || waiting() != 0 {
		t.Errorf("%v, %d wait", err, waiting())
	}
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			if v, err := s.Take(t.Context(), values[i].Key); err != nil || string(v) != fmt.Sprint(i) {
				t.Errorf("%d: %q, %v", i, v, err)
			}
		})
	}
	until(many)
	release()
	all.Wait()
	if n := transactions(); n != 2 {
		t.Errorf("%d transactions", n)
	}
}
