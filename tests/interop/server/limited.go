package main

import (
	"time"

	"github.com/parleychat/chat"
)

// limited is the namespace with rates. What a test must not outwait comes back after minutes.
func (b *bench) limited() chat.Option {
	return chat.Namespace("/limited", append(b.handlers(), chat.WithAuth(b.auth), chat.WithRates(
		chat.Rate{Event: "message-with-ack", PerSecond: 0.01, Burst: 10, Strikes: 3, CoolDown: time.Minute},
		chat.Rate{Event: "message", PerSecond: 0.01, Burst: 1, Strikes: 3, CoolDown: time.Minute},
		chat.Rate{Event: "add", PerSecond: 4, Burst: 1, Strikes: 1000},
		chat.Rate{Count: chat.Joins, PerSecond: 0.01, Burst: 1},
		chat.Rate{Count: chat.Bytes, PerSecond: 1000, Burst: 100_000},
		chat.Rate{Per: chat.PerUser, Count: chat.Connects, PerSecond: 0.01, Burst: 3},
	))...)
}

// shared is the namespace whose rates count several clients together. In a cool-down they wait longer than without.
func (b *bench) shared() chat.Option {
	return chat.Namespace("/shared", append(b.handlers(), chat.WithAuth(b.auth), chat.WithRates(
		chat.Rate{Per: chat.PerAddress, Event: "message-with-ack", PerSecond: 0.05, Burst: 4, Strikes: 3, CoolDown: time.Minute},
		chat.Rate{Per: chat.PerUser, Event: "add", PerSecond: 0.05, Burst: 4, Strikes: 3, CoolDown: time.Minute},
		chat.Rate{Per: chat.PerAddress, Count: chat.Connects, PerSecond: 0.05, Burst: 3, Strikes: 2, CoolDown: time.Minute},
	))...)
}

// brief is the namespace whose cool-down a test waits for.
func (b *bench) brief() chat.Option {
	return chat.Namespace("/brief", append(b.handlers(), chat.WithAuth(b.auth), chat.WithRates(
		chat.Rate{Per: chat.PerAddress, Count: chat.Connects, PerSecond: 1, Burst: 1, Strikes: 1, CoolDown: time.Second},
	))...)
}
