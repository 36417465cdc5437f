package main

import (
	"bytes"
	"net/http"
	"time"

	"github.com/parleychat/chat/internal/engineio"
)

// newEcho is an Engine.IO server by itself, which sends back what it gets.
func newEcho(f flags) *engineio.Server {
	return engineio.NewServer(engineio.Config{
		PingInterval:   f.interval,
		PingTimeout:    f.timeout,
		UpgradeTimeout: 10 * time.Second,
		WriteTimeout:   10 * time.Second,
		MaxPayload:     1_000_000,
		Outbox:         1 << 20,
		Legacy:         f.legacy,
		LegacyUpgrades: f.legacyUpgrades,
		Accept: func(s *engineio.Session, _ *http.Request) (engineio.Handler, error) {
			return &echo{session: s}, nil
		},
	})
}

type echo struct{ session *engineio.Session }

func (e *echo) Text(data []byte) error {
	e.session.Send(engineio.NewPacket(append(make([]byte, engineio.Headroom), data...)))
	return nil
}

func (e *echo) Binary(data []byte) error {
	e.session.Send(engineio.NewBinary(bytes.Clone(data)))
	return nil
}

func (e *echo) Closed(engineio.Reason, []uint64) {}
