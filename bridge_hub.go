package chat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/parleychat/chat/internal/socketio"
)

// bridged is a Hub as its Bridge sees it.
type bridged core

func (h *bridged) Logger() *slog.Logger { return (*core)(h).log() }

func (h *bridged) Namespaces() []string {
	names := make([]string, 0, len(h.spaces))
	for name := range h.spaces {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func errBridgeNamespace(name string) error {
	return fmt.Errorf("chat: namespace %q is not known", name)
}

func (h *bridged) Told(m *BridgeMessage) error {
	sp := h.spaces[m.Namespace]
	if sp == nil {
		return errBridgeNamespace(m.Namespace)
	}
	switch m.Kind {
	case BridgeEmit:
		return sp.emitBridged(m)
	case BridgeJoin, BridgeLeave:
		return sp.moveBridged(m)
	case BridgeDisconnect:
		sp.disconnectBridged(m)
		return nil
	}
	return fmt.Errorf("chat: unknown kind %d of a bridge's message", m.Kind)
}

func (sp *space) emitBridged(m *BridgeMessage) error {
	if reservedEvent(m.Event) {
		return Errorf(InvalidPayload, "event name %q is reserved by the protocol", m.Event)
	}
	if _, err := m.Args.decode(); err != nil {
		return err
	}
	begin := sp.hub.now()
	sp.mu.Lock()
	if sp.closed {
		sp.mu.Unlock()
		return nil
	}
	to := m.audienceLocked(sp)
	n := sp.sendLocked(to, m.Event, socketio.Encoded(m.Args), !m.Volatile)
	sp.mu.Unlock()
	d := Delivery{Namespace: sp.name, Event: m.Event, Clients: n, Bytes: len(m.Args.JSON), Begin: begin}
	if len(m.Rooms) == 1 {
		d.Room = m.Rooms[0]
	}
	sp.hub.delivered(context.Background(), &d)
	return nil
}

// moveBridged joins and leaves rooms. Not all names of other servers are ones that a Hub has.
func (sp *space) moveBridged(m *BridgeMessage) error {
	var bad []error
	names := make([]string, 0, len(m.Names))
	for _, name := range m.Names {
		if validRoom(name) {
			names = append(names, name)
		} else {
			bad = append(bad, Errorf(InvalidPayload, "%q is not a room's name", name))
		}
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	for _, c := range sp.chosenLocked(m.audienceLocked(sp)) {
		if c.gone || sp.closed {
			continue
		}
		for _, name := range names {
			if m.Kind == BridgeJoin {
				sp.announceLocked(sp.subscribeLocked(c, name))
			} else {
				sp.unsubscribeLocked(c, name, false)
			}
		}
	}
	return errors.Join(bad...)
}

func (sp *space) disconnectBridged(m *BridgeMessage) {
	for _, c := range sp.chosenBridged(m) {
		c.Disconnect()
		if m.Close {
			c.link.Disconnect(true)
		}
	}
}

func (sp *space) chosenBridged(m *BridgeMessage) []*Client {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.chosenLocked(m.audienceLocked(sp))
}

// audienceLocked is whom a message is for. Socket.IO makes no difference between a room and a client's sid.
func (m *BridgeMessage) audienceLocked(sp *space) *audience {
	return &audience{rooms: m.Rooms, clients: sp.sidsLocked(m.Rooms), notRooms: m.Except, notClients: sp.sidsLocked(m.Except)}
}

// sidsLocked are those of names that may be sids: of clients that are here, or were and may be back.
func (sp *space) sidsLocked(names []string) (sids []string) {
	for _, name := range names {
		if len(name) == sidLength && (sp.clients[name] != nil || sp.rooms[name] == nil) {
			sids = append(sids, name)
		}
	}
	return sids
}

const sidLength = 20 // see newSession

func (h *bridged) Called(ctx context.Context, m *BridgeMessage, asked func(int), acked func(BridgeArgs)) error {
	sp := h.spaces[m.Namespace]
	if sp == nil {
		asked(0)
		return errBridgeNamespace(m.Namespace)
	}
	if _, err := m.Args.decode(); err != nil || reservedEvent(m.Event) {
		asked(0)
		return errors.Join(err, Errorf(InvalidPayload, "event %q cannot be emitted", m.Event))
	}
	clients := sp.chosenBridged(m)
	asked(len(clients))
	answers := make(chan struct{}, len(clients))
	for _, c := range clients {
		cancel := c.link.Call(m.Event, socketio.Encoded(m.Args), func(a socketio.Args) {
			acked(newBridgeArgs(a))
			answers <- struct{}{}
		})
		defer cancel()
	}
	for range clients {
		select {
		case <-answers:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func newBridgeArgs(a socketio.Args) BridgeArgs {
	var text []byte
	for i, v := range a.Values {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, v...)
	}
	return BridgeArgs{JSON: text, Attachments: a.Attachments}
}

func (h *bridged) Clients(namespace string, rooms, except []string) (infos []ClientInfo) {
	sp := h.spaces[namespace]
	if sp == nil {
		return nil
	}
	m := BridgeMessage{Rooms: rooms, Except: except}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	for _, c := range sp.chosenLocked(m.audienceLocked(sp)) {
		infos = append(infos, c.infoLocked())
	}
	return infos
}

func (h *bridged) Rooms(namespace string) (names []string) {
	sp := h.spaces[namespace]
	if sp == nil {
		return nil
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	for name, r := range sp.rooms {
		if len(r.members) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// bridgeDepth is how deep values of other servers may nest. Their clients' limits are their own.
const bridgeDepth = 500

var errBridgeArgs = errors.New("chat: the arguments of a bridge's message are no JSON values with a place for each attachment")

// Decode checks the arguments and makes them what a handler gets.
func (a BridgeArgs) Decode() (Args, error) {
	args, err := a.decode()
	return Args{args}, err
}

func (a *BridgeArgs) decode() (socketio.Args, error) {
	text := slices.Concat([]byte{'['}, a.JSON, []byte{']'})
	limits := socketio.Limits{Depth: bridgeDepth}
	if len(a.Attachments) == 0 { // then an object may look like a placeholder
		if !socketio.Valid(text, limits) {
			return socketio.Args{}, errBridgeArgs
		}
		return socketio.Args{Values: socketio.Elements(text)}, nil
	}
	elems, tooDeep, ok := socketio.List(text, len(a.Attachments), limits)
	if !ok || tooDeep {
		return socketio.Args{}, errBridgeArgs
	}
	return socketio.Args{Values: elems, Attachments: a.Attachments}, nil
}
