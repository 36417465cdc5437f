package redis_test

import (
	"errors"
	"fmt"
	"os"
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

// Servers that tests share, each with a prefix of its own, and that no test ends.
var (
	shared    *redistest.Server
	sentinels *redistest.Sentinel
	clustered *redistest.Cluster
)

func TestMain(m *testing.M) {
	goredis.SetLogger(&logging.VoidLogger{}) // of connections that the tests break
	code, err := run(m)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if shared, err = redistest.Start(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.Close()) }()
	if sentinels, err = redistest.StartSentinel(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, sentinels.Close()) }()
	if clustered, err = redistest.StartCluster(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, clustered.Close()) }()
	return m.Run(), nil
}

func toShared() goredis.UniversalClient {
	return goredis.NewClient(&goredis.Options{Addr: shared.Addr()})
}

func toSentinels(s *redistest.Sentinel) goredis.UniversalClient {
	return goredis.NewUniversalClient(&goredis.UniversalOptions{MasterName: redistest.Main, Addrs: s.Addrs()})
}

func toClustered() goredis.UniversalClient {
	return goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: clustered.Addrs()})
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
	clustertest.Run(t, func(t *testing.T) func() chat.Cluster { return newCluster(t, toShared()) })
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, func(t *testing.T) func() chat.Cluster { return newCluster(t, toSentinels(sentinels)) })
}

func TestCluster(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, func(t *testing.T) func() chat.Cluster { return newCluster(t, toClustered()) })
}
