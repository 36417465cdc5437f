//go:build unix

package pgtest_test

import (
	"net"
	"net/url"
	"testing"

	"go.uber.org/goleak"

	"github.com/parleychat/chat/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServer(t *testing.T) {
	t.Parallel()
	s, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	at, err := url.Parse(s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	listens := func(want bool) {
		t.Helper()
		conn, err := net.Dial("tcp", at.Host)
		if (err == nil) != want {
			t.Fatalf("dial: %v\n%s", err, s.Log())
		}
		if err == nil {
			_ = conn.Close()
		}
	}
	listens(true)
	for _, end := range []func() error{s.Stop, s.Kill} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		listens(false)
		if err := s.Serve(); err != nil {
			t.Fatal(err)
		}
		listens(true)
	}
}
