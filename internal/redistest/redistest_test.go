//go:build unix

package redistest_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleychat/chat/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func closed(t *testing.T, c interface{ Close() error }) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, s *redistest.Server, want string, command ...string) {
	t.Helper()
	if got, err := s.Do(command...); err != nil || got != want {
		t.Errorf("%v: %q, %v; want %q", command, got, err, want)
	}
}

func TestServer(t *testing.T) {
	t.Parallel()
	s, err := redistest.Start()
	must(t, err)
	closed(t, s)
	for _, end := range []func() error{s.Stop, s.Kill} {
		is(t, s, "OK", "SET", "k", "v")
		must(t, end())
		if conn, err := net.Dial("tcp", s.Addr()); err == nil {
			_ = conn.Close()
			t.Error("it still listens")
		}
		must(t, s.Serve())
		is(t, s, "", "GET", "k")
	}
}

func TestServerTLS(t *testing.T) {
	t.Parallel()
	s, config, err := redistest.StartTLS()
	must(t, err)
	closed(t, s)
	is(t, s, "OK", "SET", "k", "v")
	conn, err := tls.Dial("tcp", s.Addr(), config)
	must(t, err)
	must(t, conn.Close())
	if conn, err := tls.Dial("tcp", s.Addr(), nil); err == nil {
		_ = conn.Close()
		t.Error("everybody trusts its certificate")
	}
}

func TestServerOnDisk(t *testing.T) {
	t.Parallel()
	s, err := redistest.Start("appendonly yes")
	must(t, err)
	closed(t, s)
	is(t, s, "OK", "SET", "k", "v")
	must(t, s.Kill())
	must(t, s.Serve())
	is(t, s, "v", "GET", "k")
}

func TestFreeze(t *testing.T) {
	t.Parallel()
	s, err := redistest.Start()
	must(t, err)
	closed(t, s)
	must(t, s.Freeze())
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		is(t, s, "PONG", "PING")
	}()
	select {
	case <-answered:
		t.Error("it answers")
	case <-time.After(100 * time.Millisecond):
	}
	must(t, s.Thaw())
	<-answered
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	s, err := redistest.StartSentinel()
	must(t, err)
	closed(t, s)
	is(t, s.Primary, "OK", "SET", "k", "v")
	is(t, s.Primary, "1", "WAIT", "1", "5000")
	is(t, s.Replica, "v", "GET", "k")
	if n := len(s.Addrs()); n != 3 {
		t.Error(n)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c, err := redistest.StartCluster()
	must(t, err)
	closed(t, c)
	if _, err := c.Servers[0].Do("SET", "k", "v"); err == nil {
		t.Error("a key of another server's is taken") // 7629 is the second one's
	}
	is(t, c.Servers[1], "OK", "SET", "k", "v")
}
