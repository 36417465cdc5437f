package chat

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/parleychat/chat/internal/socketio"
)

// A Bridge joins a Hub to Socket.IO servers of another make, so that either's emits, joins, leaves and disconnects reach the other's clients. Package
// cluster/redis/nodewire has those of Node's Redis adapters. Where several Hubs are a cluster each has a Bridge of its own; Hubs do not hear of each other by it.
type Bridge interface {
	// Start is called once, by New. It does not wait for the network: what it cannot reach it goes on trying to reach. An error says that the settings
	// cannot work. h is called from then on, until Stop returns.
	Start(h BridgeHandler) error
	// Tell passes on what this Hub does. It is called under the namespace's lock, in the order of its events, so that it must not do more than queue. It
	// keeps m and must not change it.
	Tell(m *BridgeMessage)
	// Call passes on an emit whose clients are asked for an ack, and returns what they have answered: when all have, or with ctx. silent is how many clients have
	// not. An error says that not all servers have told how many clients they have asked.
	Call(ctx context.Context, m *BridgeMessage) (acks []BridgeArgs, silent int, err error)
	// Stop ends it, when what was queued is passed on, or with ctx. h is not called any more when it returns.
	Stop(ctx context.Context) error
}

// A BridgeHandler is the Hub, as its Bridge sees it. Its methods may be called from many goroutines at once; what a goroutine tells takes effect in that order.
type BridgeHandler interface {
	// Namespaces are those that clients of the Hub can be in, ascending.
	Namespaces() []string
	Logger() *slog.Logger
	// Told does with this Hub's clients what others have done with theirs; no policy is asked. It does not block, and fails on what is not valid. Events are kept for
	// recovery, but for volatile ones. It takes over what m refers to.
	Told(m *BridgeMessage) error
	// Called delivers an emit to clients that are asked for an ack. asked, called first, is told how many they are; acked each one's answer; it must not block. Called returns
	// when all have answered, or with ctx.
	Called(ctx context.Context, m *BridgeMessage, asked func(clients int), acked func(BridgeArgs)) error
	// Clients describes this Hub's clients in any of the rooms (all, where there are none) and in none of except; a sid is a room, too.
	Clients(namespace string, rooms, except []string) []ClientInfo
	// Rooms are those of this Hub's clients.
	Rooms(namespace string) []string
}

// BridgeKind is what a BridgeMessage is about.
type BridgeKind byte

// What servers tell each other.
const (
	BridgeEmit BridgeKind = iota + 1
	BridgeJoin
	BridgeLeave
	BridgeDisconnect
)

// A BridgeMessage is what one server tells the others.
type BridgeMessage struct {
	Kind      BridgeKind
	Namespace string
	Rooms     []string // it concerns who is in any of them; everybody, where there are none. A client's sid is a room with nobody else in it
	Except    []string // but nobody who is in one of these

	Event    string // of BridgeEmit
	Args     BridgeArgs
	Volatile bool

	Names []string // rooms of BridgeJoin and BridgeLeave
	Close bool     // of BridgeDisconnect: the connection too, not just the namespace
}

// BridgeArgs are the arguments of an event or of an ack: JSON values with commas between them and no brackets, in which {"_placeholder":true,"num":N} stands for
// Attachments[N] where there are attachments, each used once.
type BridgeArgs struct {
	JSON        []byte
	Attachments [][]byte
}

// WithBridge lets the Hub live beside Socket.IO servers of another make.
//
// What they get to see of this Hub: what the host emits to everybody, rooms and clients (users are the Hub's own, and nobody there is one), new_message of all rooms, and
// Join, Leave and Disconnect of a Target; not typing, nor who comes and goes. They decide for themselves who is in a room: the Hub's RoomPolicy guards its own clients only.
func WithBridge(b Bridge) Option {
	return hubOption("WithBridge", func(bd *builder) {
		if b == nil || bd.hub.bridge != nil {
			bd.fail("WithBridge: nil, or given twice")
			return
		}
		bd.hub.bridge = b
	})
}

func (h *core) startBridge() error {
	if h.set.bridge == nil {
		return nil
	}
	err := h.set.bridge.Start((*bridged)(h))
	if err != nil {
		h.end()
	}
	return err
}

func (h *core) stopBridge(ctx context.Context) error {
	if h.set.bridge == nil {
		return nil
	}
	return h.set.bridge.Stop(ctx)
}

// bridgeLocked passes on an emit that has begun here.
func (sp *space) bridgeLocked(to *audience, event string, args socketio.Encoded) {
	if m := sp.bridgeMessageLocked(to); m != nil {
		m.Kind, m.Event, m.Args = BridgeEmit, event, BridgeArgs(args)
		sp.hub.set.bridge.Tell(m)
	}
}

// bridgeMessageLocked is a message for an audience; nil where nobody elsewhere can be meant.
func (sp *space) bridgeMessageLocked(to *audience) *BridgeMessage {
	if sp.hub.set.bridge == nil || to.none || len(to.users) > 0 && len(to.rooms)+len(to.clients) == 0 {
		return nil
	}
	if len(to.rooms) == 0 && len(to.clients) > 0 && sp.allHereLocked(to.clients) {
		return nil
	}
	return &BridgeMessage{Namespace: sp.name, Rooms: slices.Concat(to.rooms, to.clients), Except: slices.Concat(to.notRooms, to.notClients)}
}

// bridgeEntryLocked passes on an entry that has just been delivered. In a cluster all Hubs deliver it: the one that has appended it passes it on.
func (sp *space) bridgeEntryLocked(s *appended, to *audience, args socketio.Encoded) {
	if sp.hub.set.cluster == nil || s.from != nil {
		sp.bridgeLocked(to, "new_message", args)
	}
}

// bridge passes on what is done with a target's clients.
func (t Target) bridge(ctx context.Context, what byte, room string) {
	sp := t.space
	if sp.hub.set.bridge == nil || ctx.Err() != nil {
		return
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	m := sp.bridgeMessageLocked(&t.to)
	if m == nil || sp.closed {
		return
	}
	switch what {
	case actJoin:
		m.Kind, m.Names = BridgeJoin, []string{room}
	case actLeave:
		m.Kind, m.Names = BridgeLeave, []string{room}
	case actDisconnect:
		m.Kind = BridgeDisconnect
	}
	sp.hub.set.bridge.Tell(m)
}

// bridgeCall asks the clients of other servers; the func that it returns waits for the answers.
func (t Target) bridgeCall(ctx context.Context, event string, args socketio.Encoded) (wait func() bridgeAnswers) {
	sp := t.space
	sp.mu.Lock()
	m := sp.bridgeMessageLocked(&t.to)
	sp.mu.Unlock()
	if m == nil {
		return func() bridgeAnswers { return bridgeAnswers{} }
	}
	m.Kind, m.Event, m.Args = BridgeEmit, event, BridgeArgs(args)
	got := make(chan bridgeAnswers, 1)
	go func() {
		within, cancel := sp.withAckTimeout(ctx)
		defer cancel()
		acks, silent, err := sp.hub.set.bridge.Call(within, m)
		if err == nil && silent > 0 {
			err = ctx.Err()
		}
		got <- bridgeAnswers{acks, silent, err}
	}()
	return func() bridgeAnswers { return <-got }
}

// withAckTimeout bounds the wait for acks.
func (sp *space) withAckTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, sp.hub.set.pingTimeout)
}

type bridgeAnswers struct {
	acks   []BridgeArgs
	silent int
	err    error
}

// join adds what the caller does not know yet.
func (a *bridgeAnswers) join(err error) error {
	switch {
	case a.err == nil || errors.Is(err, a.err):
		return err
	case err == nil:
		return a.err
	}
	return errors.Join(err, a.err)
}

// bridgeReplies are the answers of clients elsewhere, whose sids are not known.
func bridgeReplies[R any](a bridgeAnswers) []Reply[R] {
	replies := make([]Reply[R], 0, len(a.acks)+a.silent)
	for _, ack := range a.acks {
		var r Reply[R]
		args, err := ack.decode()
		if err == nil {
			r.Value, err = decodeReply[R](args)
		}
		r.Err = err
		replies = append(replies, r)
	}
	for range a.silent {
		replies = append(replies, Reply[R]{Err: context.DeadlineExceeded})
	}
	return replies
}
