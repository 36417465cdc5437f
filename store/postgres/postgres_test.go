package postgres_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/internal/pgtest"
	"github.com/parleychat/chat/store/postgres"
	"github.com/parleychat/chat/storetest"
)

// server is one for all tests; each has a database of its own.
var server *pgtest.Server

func TestMain(m *testing.M) {
	if dsn := os.Getenv(publisher); dsn != "" {
		publishAndDie(dsn)
	}
	var err error
	if server, err = pgtest.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var databases atomic.Int32

// database makes an empty database and returns its address.
func database(t testing.TB, options string) string {
	t.Helper()
	conn := connect(t, server.DSN("postgres"))
	name := fmt.Sprint("test", databases.Add(1))
	if _, err := conn.Exec(t.Context(), "CREATE DATABASE "+name+" "+options); err != nil {
		t.Fatal(err)
	}
	return server.DSN(name)
}

// connect opens a connection beside the store's.
func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func open(t testing.TB, dsn string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) chat.Store { return open(t, database(t, "")) })
}
