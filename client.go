package chat

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// A Client is one connected socket: a page's connection to one namespace. It lives until the connection is
// lost; a connection that recovers is a new Client with the ID, the rooms and the values of the one before.
// Its methods may be called from any goroutine, and after it has left too.
type Client struct {
	space *space
	sess  *engineio.Session
	link  socketio.Link
	id    string
	pid   pid // of connection state recovery; zero: it cannot recover

	made [8]byte // the id of the handshake's request, where it was made; zero: rare.request

	userID string
	user   atomic.Pointer[User] // nil: nothing more than the id is known; refresh_auth replaces it

	// values are those of the handshake's request.
	values context.Context

	protocol  uint8
	alias     uint8 // 0: it knows the namespace by its name; otherwise by spaceSettings.aliases[alias-1]
	recovered bool

	// Guarded by space.mu.
	gone       bool
	began      uint32       // when the session did, in seconds since 1970; as far as is known of one that began on another node
	rooms      []membership // in the order of joining
	nextOfUser *Client
	started    uint64 // the namespace's counter when the session began; of one that came back, up to where it had missed nothing
	sent       sentEvents
	rare       *rare

	inbox inbox
}

// rare is what most clients do not have.
type rare struct {
	values   map[any]any
	life     context.Context
	endLife  context.CancelFunc
	address  string      // counted for Limits.ClientsPerAddress
	request  string      // the id of the handshake's request
	why      string      // the Hub has disconnected it
	remote   string      // the address, where there is an auth
	snapshot *snapshot   // when Shutdown closed it
	expiry   *time.Timer // of the token; nil: there is none, or it is over
	rated    *rated      // nil: the namespace has no rates
	came     *arrival    // the session was another process's
	unacked  []uint64    // see lostSession; of the session before, until the client has an offset past them
}

func (c *Client) rareLocked() *rare {
	if c.rare == nil {
		c.rare = &rare{}
	}
	return c.rare
}

// membership is a client's subscription to a room.
type membership struct {
	room  *room
	index int    // in room.members
	since uint64 // the namespace's counter at the time
}

// handlerContext is a client as the context of its handlers: with the values of the handshake's request and
// the lifetime of the Hub's handlers.
type handlerContext Client

func (c *Client) handlerContext() context.Context { return (*handlerContext)(c) }

func (c *handlerContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *handlerContext) Done() <-chan struct{}       { return c.space.hub.life.Done() }
func (c *handlerContext) Err() error                  { return c.space.hub.life.Err() }
func (c *handlerContext) Value(key any) any {
	switch key.(type) {
	case requestKey:
		return (*Client)(c).requestID()
	case clientKey:
		return (*Client)(c)
	}
	return c.values.Value(key)
}

// emitContext says in the log whom an Emit is for. It has none of the host's values: a delivery is not of the trace of the connect.
type emitContext Client

func (c *emitContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *emitContext) Done() <-chan struct{}       { return nil }
func (c *emitContext) Err() error                  { return nil }
func (c *emitContext) Value(key any) any {
	switch key.(type) {
	case requestKey:
		return (*Client)(c).requestID()
	case clientKey:
		return (*Client)(c)
	}
	return nil
}

// ID is the client's public id, the sid of events. For 3.x and 4.x clients it is what they know as socket.id.
func (c *Client) ID() string { return c.id }

// User is who the client is, as auth said last.
func (c *Client) User() User {
	if u := c.user.Load(); u != nil {
		return *u
	}
	return User{ID: c.userID}
}

// wireName is the namespace's name as this client knows it.
func (c *Client) wireName() string {
	if c.alias == 0 {
		return c.space.name
	}
	return c.space.set.aliases[c.alias-1]
}

// Namespace is the namespace's name.
func (c *Client) Namespace() string { return c.space.name }

// Hub is the Hub, in the client's namespace.
func (c *Client) Hub() *Hub { return &Hub{core: c.space.hub, space: c.space} }

// Room is a room of the client's namespace: c.Hub().Room(name). The client itself is in it like anybody else,
// if it has joined.
func (c *Client) Room(name string) Room { return Room{space: c.space, name: name} }

// Recovered tells whether the client came back by connection state recovery.
func (c *Client) Recovered() bool { return c.recovered }

// Protocol is the version of the Socket.IO protocol: 5 for 3.x and 4.x clients, 4 for 1.x and 2.x.
func (c *Client) Protocol() int { return int(c.protocol) }

// Transport is what the client uses at the moment: "polling" or "websocket".
func (c *Client) Transport() string {
	if c.sess == nil { // it stands for a session of another process, while its rooms' policy is asked
		return ""
	}
	return c.sess.Transport()
}

// Context ends when the client leaves. It has no values.
func (c *Client) Context() context.Context {
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	r := c.rareLocked()
	if r.life == nil {
		r.life, r.endLife = context.WithCancel(context.Background())
		if c.gone {
			r.endLife()
		}
	}
	return r.life
}

// Emit sends an event to the client. It never blocks. What is sent to a client that has just left is kept for
// its recovery.
func (c *Client) Emit(event string, args ...any) error {
	return c.space.emit((*emitContext)(c), &audience{clients: []string{c.id}}, event, args)
}

// Join subscribes the client to rooms; no policy is asked. To be in a room already is no error.
func (c *Client) Join(ctx context.Context, rooms ...string) error {
	for _, name := range rooms {
		if !validRoom(name) {
			return Errorf(InvalidPayload, "%q is not a room's name", name)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	sp := c.space
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if c.gone {
		return ErrDisconnected
	}
	for _, name := range rooms {
		sp.announceLocked(sp.subscribeLocked(c, name))
	}
	return nil
}

// Leave ends the client's subscription to a room. Not to be in it is no error.
func (c *Client) Leave(ctx context.Context, room string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	c.space.unsubscribeLocked(c, room, false)
	return nil
}

// Rooms are the rooms that the client is subscribed to, in the order of joining.
func (c *Client) Rooms() []string {
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	return c.roomNamesLocked()
}

// Disconnect ends the client's connection to the namespace: it gets a disconnect packet, stays away until its
// page connects again, and recovers nothing.
func (c *Client) Disconnect() { c.endWith("") }

// endWith is Disconnect for a reason that OnDisconnect is told; empty: that of the protocol.
func (c *Client) endWith(reason string) {
	c.space.mu.Lock()
	c.pid = pid{}
	if reason != "" && !c.gone {
		c.rareLocked().why = reason
	}
	c.space.mu.Unlock()
	c.link.Disconnect(false)
	c.stopTaking() // a reader that waits for room in the inbox would hold up the end, for which the handler may wait
}

// Set keeps a value with the client, over recoveries too. A nil value removes it.
func (c *Client) Set(key, value any) {
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	r := c.rareLocked()
	switch {
	case value == nil:
		delete(r.values, key)
	case r.values == nil:
		r.values = map[any]any{key: value}
	default:
		r.values[key] = value
	}
}

// Get is the value that was Set, or nil.
func (c *Client) Get(key any) any {
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	if c.rare == nil {
		return nil
	}
	return c.rare.values[key]
}

func (c *Client) roomNamesLocked() []string {
	names := make([]string, len(c.rooms))
	for i := range c.rooms {
		names[i] = c.rooms[i].room.name
	}
	return names
}

func (c *Client) membershipLocked(room string) *membership {
	for i := range c.rooms {
		if c.rooms[i].room.name == room {
			return &c.rooms[i]
		}
	}
	return nil
}

// defaultRoom is the room that an event without one is about: the earliest joined one that is still joined.
func (c *Client) defaultRoom(name string) (string, error) {
	if name != "" {
		if !validRoom(name) {
			return "", Errorf(InvalidPayload, "room must be 1 to 128 letters, digits or ._:-")
		}
		return name, nil
	}
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	if len(c.rooms) == 0 {
		return "", Errorf(InvalidPayload, "room is missing, and no room was joined")
	}
	return c.rooms[0].room.name, nil
}

func (c *Client) subscribed(room string) bool {
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	return c.membershipLocked(room) != nil
}

// joinedName is a room's name as the room itself has it, so that what a client sent need not be kept for it; empty: the client is not in that room.
func (c *Client) joinedName(room string) string {
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	if m := c.membershipLocked(room); m != nil {
		return m.room.name
	}
	return ""
}

// removeMembership keeps the order of the others.
func (c *Client) removeMembershipLocked(m *membership) membership {
	i := slices.IndexFunc(c.rooms, func(o membership) bool { return o.room == m.room })
	old := c.rooms[i]
	c.rooms = slices.Delete(c.rooms, i, i+1)
	return old
}
