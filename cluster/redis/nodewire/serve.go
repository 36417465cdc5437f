package nodewire

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
)

// listen receives from channels and patterns until the Bridge's life ends. The client connects again by itself.
func (b *Bridge) listen(channels, patterns []string, received func(channel string, data []byte)) {
	b.work.Go(func() {
		sub := b.client.Subscribe(b.life, channels...)
		defer func() { _ = sub.Close() }()
		if len(patterns) > 0 {
			_ = sub.PSubscribe(b.life, patterns...) // it is remembered for the next connection
		}
		messages := sub.Channel(redis.WithChannelSize(1000))
		for {
			select {
			case m, ok := <-messages:
				if !ok {
					return
				}
				received(m.Channel, []byte(m.Payload))
			case <-b.life.Done():
				return
			}
		}
	})
}

// told hands a message to the Hub.
func (b *Bridge) told(m *chat.BridgeMessage, from string, data []byte) {
	if err := b.hub.Told(m); err != nil {
		b.invalid(err, from, data)
	}
}

// reply sends a command when it is its turn.
func (b *Bridge) reply(channel string, payload []byte) {
	b.queue.add(queued{ready: &command{channel: channel, payload: payload}, size: len(payload) + len(channel)})
}

// callHere asks the Hub's clients on behalf of another server.
func (b *Bridge) callHere(m *chat.BridgeMessage, t *target, asked func(int), acked func(chat.BridgeArgs)) {
	b.work.Go(func() {
		ctx, cancel := context.WithTimeout(b.life, t.ackTimeout())
		defer cancel()
		err := b.hub.Called(ctx, m, asked, acked)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			b.invalid(err, "a broadcast with acks", m.Args.JSON)
		}
	})
}

// socket is a client as Node's fetchSockets describes it.
type socket struct {
	ID        string    `json:"id"`
	Handshake handshake `json:"handshake"`
	Rooms     []string  `json:"rooms"`
	Data      about     `json:"data"`
}

// handshake has all that Node's has; a Hub does not keep it.
type handshake struct {
	Headers struct{} `json:"headers"`
	Time    string   `json:"time"`
	Address string   `json:"address"`
	XDomain bool     `json:"xdomain"`
	Secure  bool     `json:"secure"`
	Issued  int64    `json:"issued"`
	URL     string   `json:"url"`
	Query   struct{} `json:"query"`
	Auth    struct{} `json:"auth"`
}

type about struct {
	UserID    string `json:"user_id"`
	Name      string `json:"name,omitempty"`
	Transport string `json:"transport"`
}

func (b *Bridge) socketsOf(namespace string, rooms, except []string) []socket {
	found := []socket{}
	for _, c := range b.hub.Clients(namespace, rooms, except) {
		found = append(found, socket{
			ID: c.ID, Rooms: append([]string{c.ID}, c.Rooms...), Data: about{UserID: c.UserID, Name: c.Name, Transport: c.Transport},
		})
	}
	return found
}

// roomsOf has the sids too, as Node's allRooms has them.
func (b *Bridge) roomsOf(namespace string) []string {
	rooms := append([]string{}, b.hub.Rooms(namespace)...)
	for _, c := range b.hub.Clients(namespace, nil, nil) {
		rooms = append(rooms, c.ID)
	}
	return rooms
}

// serverSide hands a serverSideEmit to the host; answer is nil where none is asked for.
func (b *Bridge) serverSide(m *chat.BridgeMessage, answer func(value []byte)) {
	if b.onSide == nil {
		if answer != nil {
			answer([]byte("null"))
		}
		return
	}
	b.work.Go(func() {
		ctx, cancel := context.WithTimeout(b.life, defaultTimeout)
		defer cancel()
		value := []byte("null")
		args, err := m.Args.Decode()
		if err == nil {
			var v any
			if v, err = b.onSide(ctx, m.Namespace, m.Event, args); err == nil {
				value, err = json.Marshal(v)
			}
		}
		if err != nil {
			b.log.Error("nodewire: a serverSideEmit failed", "error", err, "event", m.Event, "namespace", m.Namespace)
			value = []byte("null")
		}
		if answer != nil {
			answer(value)
		}
	})
}
