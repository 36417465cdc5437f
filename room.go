package chat

import (
	"context"
	"encoding/json"
	"sort"
	"unicode/utf8"
)

// A Room is a named set of clients of one namespace. It is a cheap value: it holds no state, and naming a
// room creates nothing. Its methods may be called from any goroutine.
type Room struct {
	space *space
	name  string
}

// A Member is a user who has a subscription to a room.
type Member struct {
	UserID string `json:"user_id"`
	Name   string `json:"name,omitempty"`
}

// A Post is a message that the host writes in a room.
type Post struct {
	Text      string
	UserID    string // whose message it is; may be empty; at most 1,024 bytes
	MessageID string // a key for retries, among those of UserID; empty: none; at most 128 bytes
	ReplyTo   string // at most 128 bytes
	Meta      any    // encoded as JSON; nil: none
}

// Name is the room's name.
func (r Room) Name() string { return r.name }

// Emit sends an event to every client in the room. It never blocks; it fails on what cannot be encoded, and
// with ErrClosed. What is sent so is not in the room's log: see Post.
func (r Room) Emit(event string, args ...any) error {
	return r.target().Emit(event, args...)
}

// WithContext is the room for an emit that ctx has caused: see Target.WithContext.
func (r Room) WithContext(ctx context.Context) Target { return r.target().WithContext(ctx) }

// Except is the room without those selected.
func (r Room) Except(s ...Selector) Target { return r.target().Except(s...) }

func (r Room) target() Target {
	return Target{space: r.space, to: audience{rooms: []string{r.name}}}
}

// Post saves a message of the host's in the room's log and delivers it to everybody in the room as
// new_message. It returns when the message is saved; an error other than ErrClosed and an *Error
// InvalidPayload or TooLarge says that it may or may not have been: a Post with the same MessageID settles
// it.
func (r Room) Post(ctx context.Context, p Post) (Entry, error) {
	if !validRoom(r.name) {
		return Entry{}, Errorf(InvalidPayload, "%q is not a room's name", r.name)
	}
	if len(p.MessageID) > keyMost || len(p.ReplyTo) > keyMost || len(p.UserID) > userMost {
		return Entry{}, Errorf(InvalidPayload, "MessageID and ReplyTo have at most %d bytes, UserID %d", keyMost, userMost)
	}
	if err := r.space.hub.checkText(p.Text); err != nil {
		return Entry{}, err
	}
	e := Entry{Kind: KindMessage, Namespace: r.space.name, Room: r.name, UserID: p.UserID, Text: p.Text, MessageID: p.MessageID, ReplyTo: p.ReplyTo}
	if p.Meta != nil {
		meta, err := json.Marshal(p.Meta)
		if err != nil {
			return Entry{}, err
		}
		e.Meta = meta
	}
	return r.space.post(ctx, &appending{entry: e})
}

// Members are the users in the room, by id, on all nodes of a cluster.
func (r Room) Members(ctx context.Context) ([]Member, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.space.hub.nodes != nil && validRoom(r.name) {
		if err := r.space.waitPresence(ctx, r.name); err != nil {
			return nil, err
		}
	}
	r.space.mu.Lock()
	members := r.space.membersLocked(r.name, -1)
	r.space.mu.Unlock()
	sort.Slice(members, func(i, j int) bool { return members[i].UserID < members[j].UserID })
	return members, nil
}

// Clients are the clients in the room.
func (r Room) Clients(ctx context.Context) ([]ClientInfo, error) { return r.target().Clients(ctx) }

// Disconnect ends the connections of all clients in the room: see Target.Disconnect.
func (r Room) Disconnect(ctx context.Context) error { return r.target().Disconnect(ctx) }

// validRoom: 1 to 128 bytes of ASCII letters, digits and . _ : -
func validRoom(name string) bool {
	if len(name) == 0 || len(name) > 128 {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

func (h *core) checkText(text string) error {
	switch limit := h.set.limits.Text; {
	case text == "":
		return Errorf(InvalidPayload, "text must not be empty")
	case len(text) > limit && utf8.RuneCountInString(text) > limit:
		return &Error{Code: TooLarge, Message: "text is too long", Data: map[string]any{"limit": limit}}
	}
	return nil
}
