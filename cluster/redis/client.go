package redis

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	timeout     = 2 * time.Second // of an answer, after which Redis is away
	block       = time.Second     // for which a reader waits for entries; less than timeout
	connections = 32              // at most, to a server, apart from those that read
)

type dial = func(ctx context.Context, network, addr string) (net.Conn, error)

// own makes a client with the options of the host's, and time limits within which a server that is dead is noticed. It does not retry: what failed is retried by those who
// know what it means. Commands and replies are those of protocol 2.
func own(client redis.UniversalClient, streams int) (_ redis.UniversalClient, ours bool) {
	switch given := client.(type) {
	case *redis.Client:
		o := *given.Options()
		o.Protocol, o.MaxRetries, o.ContextTimeoutEnabled, o.DisableIdentity = 2, -1, true, true
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
		o.DialerRetries, o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = 1, connections, 0, 0, 0
		o.ClientSideCache, o.ClientSideCacheConfig = nil, nil
		o.Dialer = within(o.Dialer)
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		return redis.NewClient(&o), true
	case *redis.ClusterClient:
		o := *given.Options()
		o.Protocol, o.MaxRetries, o.ContextTimeoutEnabled, o.DisableIdentity = 2, -1, true, true
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
		o.DialerRetries, o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = 1, connections+streams, 0, 0, 0 // a reader for each stream
		o.ReadOnly, o.RouteByLatency, o.RouteRandomly = false, false, false
		o.Dialer = within(o.Dialer)
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		return redis.NewClusterClient(&o), true
	default:
		return client, false
	}
}

// within limits a dialer that was made with other options. That of a client with TLS knows neither ctx nor these options: it is left alone with what it does, and ends by its own.
func within(d dial) dial {
	if d == nil {
		return nil
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		dialed := make(chan net.Conn)
		failed := make(chan error, 1)
		go func() {
			conn, err := d(ctx, network, addr)
			if err != nil {
				failed <- err
				return
			}
			select {
			case dialed <- conn:
			case <-ctx.Done():
				_ = conn.Close() // nobody waits for it any more
			}
		}()
		select {
		case conn := <-dialed:
			return conn, nil
		case err := <-failed:
			return nil, err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// conn is a connection that is not replaced by another behind one's back, so that its reader knows when it may have missed something.
type conn interface {
	redis.Cmdable
	Process(ctx context.Context, cmd redis.Cmder) error
	Close() error
}

func (c *Cluster) connTo(ctx context.Context, key string) (conn, error) {
	switch db := c.db.(type) {
	case *redis.Client:
		return db.Conn(), nil
	case *redis.ClusterClient:
		db.ReloadState(ctx)
		master, err := db.MasterForKey(ctx, key)
		if err != nil {
			return nil, err
		}
		return master.Conn(), nil
	default:
		return lent{c.db}, nil
	}
}

// isCluster tells whether keys are on several servers.
func (c *Cluster) isCluster() bool {
	_, single := c.db.(*redis.Client)
	return !single
}

// lent is a client that is the host's.
type lent struct{ redis.UniversalClient }

func (lent) Close() error { return nil }
