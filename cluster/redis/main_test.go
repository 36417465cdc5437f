package redis_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/cluster/redis"
	"github.com/parleychat/chat/clustertest"
	"github.com/parleychat/chat/internal/redistest"
)

// Servers that tests share, each with a prefix of its own, and that no test ends. They are started for the first that asks for them.
var (
	shared    = serversOf(func() (*redistest.Server, error) { return redistest.Start() })
	sentinels = serversOf(func() (*redistest.Sentinel, error) { return redistest.StartSentinel() })
	clustered = serversOf(func() (*redistest.Cluster, error) { return redistest.StartCluster() })
)

type servers[T io.Closer] struct {
	get     func() (T, error)
	started atomic.Bool
}

func serversOf[T io.Closer](start func() (T, error)) *servers[T] {
	s := &servers[T]{}
	s.get = sync.OnceValues(func() (T, error) {
		t, err := start()
		s.started.Store(err == nil)
		return t, err
	})
	return s
}

func (s *servers[T]) of(t *testing.T) T {
	t.Helper()
	all, err := s.get()
	must(t, err)
	return all
}

func (s *servers[T]) close() error {
	if !s.started.Load() {
		return nil
	}
	all, err := s.get()
	return errors.Join(err, all.Close())
}

func TestMain(m *testing.M) {
	goredis.SetLogger(&logging.VoidLogger{}) // of connections that the tests break
	code := m.Run()
	err := errors.Join(shared.close(), sentinels.close(), clustered.close())
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func toShared(t *testing.T) goredis.UniversalClient { return at(shared.of(t).Addr()) }

func at(addr string) goredis.UniversalClient {
	return goredis.NewClient(&goredis.Options{Addr: addr})
}

func toSentinels(s *redistest.Sentinel) goredis.UniversalClient {
	return goredis.NewUniversalClient(&goredis.UniversalOptions{MasterName: redistest.Main, Addrs: s.Addrs()})
}

func toCluster(s *redistest.Cluster) goredis.UniversalClient {
	return goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: s.Addrs()})
}

// newCluster gives an empty cluster: all nodes share a client, as they would share an address.
func newCluster(t *testing.T, client goredis.UniversalClient, opts ...redis.Option) func() chat.Cluster {
	t.Helper()
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	opts = append([]redis.Option{redis.WithPrefix(fmt.Sprintf("%s %d", t.Name(), time.Now().UnixNano()))}, opts...)
	return func() chat.Cluster {
		c, err := redis.New(client, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func TestSingle(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, func(t *testing.T) func() chat.Cluster { return newCluster(t, toShared(t)) })
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, func(t *testing.T) func() chat.Cluster { return newCluster(t, toSentinels(sentinels.of(t))) })
}

func TestCluster(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, func(t *testing.T) func() chat.Cluster { return newCluster(t, toCluster(clustered.of(t))) })
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s, config := tlsServer(t)
	clustertest.Run(t, func(t *testing.T) func() chat.Cluster {
		return newCluster(t, goredis.NewClient(&goredis.Options{Addr: s.Addr(), TLSConfig: config}))
	})
}

// lent is a client of a kind that this package does not know, as one with the host's own instruments may be.
type lent struct{ goredis.UniversalClient }

func TestClientOfAnotherKind(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, func(t *testing.T) func() chat.Cluster {
		client := goredis.NewClient(&goredis.Options{Addr: shared.of(t).Addr(), PoolSize: 200}) // it is that of all nodes
		return newCluster(t, lent{client})
	})
}

func TestRingIsRefused(t *testing.T) {
	t.Parallel()
	ring := goredis.NewRing(&goredis.RingOptions{})
	defer ring.Close() //nolint:errcheck // of a test
	if _, err := redis.New(ring); err == nil || !strings.Contains(err.Error(), "Ring") {
		t.Error(err)
	}
}
