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
