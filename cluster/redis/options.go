package redis

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// An Option is an option of New. All nodes have the same, but for the logger.
type Option interface{ apply(*settings) }

type option func(*settings)

func (o option) apply(s *settings) { o(s) }

type settings struct {
	prefix  string
	streams int
	length  int64
	age     time.Duration
	lease   time.Duration
	logger  *slog.Logger
}

// WithPrefix sets what the names of all keys and channels begin with, before a colon: "chat" by default, and one for each chat on the same Redis.
func WithPrefix(prefix string) Option {
	return option(func(s *settings) { s.prefix = prefix })
}

// WithStreams sets how many streams the rooms are spread over: 8 by default, at most 1,024. All nodes have the same number, or do not join; to change it, end all
// nodes and delete the key "<prefix>:streams".
func WithStreams(n int) Option {
	return option(func(s *settings) { s.streams = n })
}

// WithTrim sets how much is kept of each stream for nodes that come back: some length entries (10,000 by default; one holds up to 64 KiB, or one publication). What
// is older than age (10 minutes by default) goes by whole pages of the stream: up to one page of Redis's stream-node-max-entries or -bytes is kept of older ones.
func WithTrim(length int, age time.Duration) Option {
	return option(func(s *settings) { s.length, s.age = int64(length), age })
}

// WithLease sets how long a node is there for the others after it was last heard of: 5 s by default, at least 1 s.
func WithLease(d time.Duration) Option {
	return option(func(s *settings) { s.lease = d })
}

// WithLogger sets where what fails is logged: slog.Default() by default.
func WithLogger(l *slog.Logger) Option {
	return option(func(s *settings) { s.logger = l })
}

const streamsMost = 1024

func (s *settings) validate() error {
	switch {
	case s.prefix == "" || strings.ContainsAny(s.prefix, "{}"):
		return fmt.Errorf("chat/redis: WithPrefix: %q is empty or has a brace", s.prefix)
	case s.streams < 1 || s.streams > streamsMost:
		return fmt.Errorf("chat/redis: WithStreams: %d is not 1 to %d", s.streams, streamsMost)
	case s.length < 1 || s.age <= 0:
		return fmt.Errorf("chat/redis: WithTrim: %d entries and %v must be more than 0", s.length, s.age)
	case s.lease < time.Second:
		return fmt.Errorf("chat/redis: WithLease: %v is less than a second", s.lease)
	}
	return nil
}

// beatEvery is often enough for a lease to outlast two beats that fail, and for others to see its end within a second.
func (s *settings) beatEvery() time.Duration { return min(s.lease/3, time.Second) }
