package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	goredis "github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/cluster/redis"
)

// join makes the Hub a node of the cluster that cfg names, and tells how to let go of Redis when the Hub has ended. Without REDIS_URL it does nothing.
func join(cfg config) ([]chat.Option, func() error, error) {
	if cfg.redis == "" {
		return nil, func() error { return nil }, nil
	}
	goredis.SetLogger(redisLog{})
	client, err := redisClient(cfg.redis)
	if err != nil {
		return nil, nil, err
	}
	cluster, err := redis.New(client)
	if err != nil {
		return nil, nil, errors.Join(err, client.Close())
	}
	options := []chat.Option{chat.WithCluster(cluster)}
	if cfg.nodeAddress == "" {
		slog.Warn("NODE_ADDRESS is empty: the proxy must send all requests of a polling session to one node")
	} else {
		options = append(options, chat.WithNodeAddress(cfg.nodeAddress, cfg.clusterKey))
	}
	return options, client.Close, nil
}

// redisLog is where go-redis writes of connections that fail. The cluster tells by itself when Redis is away and when it is back.
type redisLog struct{}

func (redisLog) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, "redis", "text", fmt.Sprintf(format, v...))
}

// redisClient reads go-redis's own URLs: with master_name it names Sentinels, with addr the further nodes of a Redis Cluster, otherwise one server.
func redisClient(text string) (goredis.UniversalClient, error) {
	u, err := url.Parse(text)
	if err != nil { // it repeats the URL, in which there may be a password
		return nil, errors.New("REDIS_URL is not a URL")
	}
	switch query := u.Query(); {
	case query.Has("master_name"):
		o, err := goredis.ParseFailoverURL(text)
		if err != nil {
			return nil, fmt.Errorf("REDIS_URL, of Sentinels: %w", err)
		}
		return goredis.NewFailoverClient(o), nil
	case query.Has("addr"):
		o, err := goredis.ParseClusterURL(text)
		if err != nil {
			return nil, fmt.Errorf("REDIS_URL, of a Redis Cluster: %w", err)
		}
		return goredis.NewClusterClient(o), nil
	}
	o, err := goredis.ParseURL(text)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL: %w", err)
	}
	return goredis.NewClient(o), nil
}
