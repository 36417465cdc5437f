package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/store/postgres"
)

// revokeAndKeep uses the tables of both.
func revokeAndKeep(t *testing.T, s *postgres.Store) {
	t.Helper()
	now := time.Now()
	if err := s.Revoke(t.Context(), chat.Revocation{UserID: "bob", At: now, Until: now.Add(time.Hour)}); err != nil {
		t.Error(err)
	}
	if rs, err := s.Revocations(t.Context(), now); len(rs) != 1 || err != nil {
		t.Errorf("%v, %v", rs, err)
	}
	if err := s.Keep(t.Context(), []chat.Kept{{Key: "pid", Value: []byte("x"), Until: now.Add(time.Hour)}}); err != nil {
		t.Error(err)
	}
	if v, err := s.Take(t.Context(), "pid"); string(v) != "x" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

// What one node revokes and keeps, another knows and takes.
func TestAnotherNode(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	one, two := open(t, dsn), open(t, dsn)
	now := time.Now()
	if err := one.Revoke(t.Context(), chat.Revocation{UserID: "ann", At: now, Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if rs, err := two.Revocations(t.Context(), now); len(rs) != 1 || rs[0].UserID != "ann" || err != nil {
		t.Errorf("%v, %v", rs, err)
	}
	if err := one.Keep(t.Context(), []chat.Kept{{Key: "pid", Value: []byte("x"), Until: now.Add(time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	for i, s := range []*postgres.Store{two, one} {
		if v, err := s.Take(t.Context(), "pid"); (i == 0) != (string(v) == "x") || err != nil {
			t.Errorf("%d: %q, %v", i, v, err)
		}
	}
}

// An id that PostgreSQL cannot hold is an error: another's would be revoked in its place.
func TestRevokeNUL(t *testing.T) {
	t.Parallel()
	s, now := open(t, database(t, "")), time.Now()
	if err := s.Revoke(t.Context(), chat.Revocation{UserID: "a\x00", At: now, Until: now.Add(time.Hour)}); err == nil {
		t.Error("no error")
	}
	if rs, err := s.Revocations(t.Context(), now); len(rs) != 0 || err != nil {
		t.Errorf("%v, %v", rs, err)
	}
}

// What is over goes as others come, a bounded number at a time, and all of it with a Trim.
func TestOverGo(t *testing.T) {
	t.Parallel()
	dsn := database(t, "")
	s, conn := open(t, dsn), connect(t, dsn)
	soon := time.Now().Add(time.Hour)
	fill := func() {
		exec(t, conn, "INSERT INTO parley_chat.revocations SELECT 'over' || g, '', now(), now() - interval '1 s' FROM generate_series(1, 250) g")
		exec(t, conn, "INSERT INTO parley_chat.kept SELECT 'over' || g, 'x', now() - interval '1 s' FROM generate_series(1, 250) g")
	}
	fill()
	for _, want := range []int{150, 50, 0, 0} {
		if err := s.Revoke(t.Context(), chat.Revocation{UserID: "ann", At: soon, Until: soon}); err != nil {
			t.Fatal(err)
		}
		overIn(t, conn, "revocations", want)
	}
	if err := s.Keep(t.Context(), []chat.Kept{{Key: "pid", Until: soon}}); err != nil {
		t.Fatal(err)
	}
	overIn(t, conn, "kept", 150)
	for _, want := range []int{50, 0} {
		var key string // of one that is still there
		if err := conn.QueryRow(t.Context(), "SELECT key FROM parley_chat.kept WHERE expires <= now() LIMIT 1").Scan(&key); err != nil {
			t.Fatal(err)
		}
		if v, err := s.Take(t.Context(), key); v != nil || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		overIn(t, conn, "kept", want)
	}
	fill()
	exec(t, conn, "INSERT INTO parley_chat.kept SELECT 'more' || g, 'x', now() - interval '1 s' FROM generate_series(1, 2000) g")
	if _, err := s.Trim(t.Context(), chat.TrimQuery{Namespace: "/"}); err != nil {
		t.Fatal(err)
	}
	overIn(t, conn, "revocations", 0)
	overIn(t, conn, "kept", 0)
	if v, err := s.Take(t.Context(), "pid"); v == nil || err != nil {
		t.Errorf("what was not over is gone, %v", err)
	}
	if rs, err := s.Revocations(t.Context(), time.Now()); len(rs) != 1 || err != nil {
		t.Errorf("%v, %v", rs, err)
	}
}

// overIn looks at the rows of a table that are over, and at those that are not.
func overIn(t *testing.T, conn *pgx.Conn, table string, over int) {
	t.Helper()
	var live, n int
	query := fmt.Sprintf("SELECT count(*) FILTER (WHERE expires > now()), count(*) FILTER (WHERE expires <= now()) FROM parley_chat.%s", table)
	if err := conn.QueryRow(t.Context(), query).Scan(&live, &n); err != nil || live != 1 || n != over {
		t.Errorf("%s: %d live and %d that are over, want 1 and %d; %v", table, live, n, over, err)
	}
}
