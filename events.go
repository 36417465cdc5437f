package chat

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/parleychat/chat/internal/socketio"
)

// builtin are the chat's own events. A host's handler of the same name takes one over.
var builtin = map[string]Handler{
	"chat_message": chatMessage,
	"join_room":    joinRoom,
	"leave_room":   leaveRoom,
	"typing":       typing,
	"history":      history,
	"refresh_auth": refreshAuth,
}

// membersListed is how many members the ack of join_room names.
const membersListed = 200

const (
	historyDefault = 50
	historyMost    = 200
	keyMost        = 128  // bytes of a message_id or reply_to
	userMost       = 1024 // bytes of a user's id: stores have it in an index, and one entry that they cannot save fails its batch
)

type messagePayload struct {
	Text      string          `json:"text"`
	Room      string          `json:"room"`
	MessageID string          `json:"message_id"`
	ReplyTo   string          `json:"reply_to"`
	Meta      json.RawMessage `json:"meta"`
}

func decodeMessage(e *Event) (p messagePayload, err error) {
	if len(e.Args.args.Attachments) > 0 {
		return p, Errorf(InvalidPayload, "invalid payload: a message holds no binary")
	}
	var raw []byte // valid JSON: the packet was scanned
	if len(e.Args.args.Values) > 0 {
		raw = bytes.TrimSpace(e.Args.args.Values[0])
	}
	if len(raw) == 0 || raw[0] != '"' && raw[0] != '{' {
		return p, Errorf(InvalidPayload, "invalid payload: a message is a text or an object with a text")
	}
	quick := false
	if raw[0] == '{' {
		p, quick = scanMessage(string(raw))
		p.unpack(len(raw))
	}
	if !quick {
		if p, err = slowMessage(raw); err != nil {
			return p, Errorf(InvalidPayload, "invalid payload: %s", decodeProblem(err))
		}
	}
	if len(p.MessageID) > keyMost || len(p.ReplyTo) > keyMost {
		return p, Errorf(InvalidPayload, "message_id and reply_to have at most %d bytes", keyMost)
	}
	if bytes.Equal(p.Meta, []byte("null")) {
		p.Meta = nil
	}
	if limit := e.client.space.hub.set.limits.Meta; len(p.Meta) > limit {
		return p, &Error{Code: TooLarge, Message: "meta is too long", Data: map[string]any{"limit": limit}}
	}
	return p, nil
}

// slowMessage reads what scanMessage does not.
func slowMessage(raw []byte) (p messagePayload, err error) {
	if raw[0] == '"' {
		err = json.Unmarshal(raw, &p.Text)
	} else {
		err = json.Unmarshal(raw, &p)
	}
	return p, err
}

func chatMessage(ctx context.Context, c *Client, e *Event) ([]any, error) {
	a, err := newMessage(ctx, c, e)
	if err == nil {
		_, err = c.space.post(ctx, a)
	}
	return nil, err
}

// newMessage is what a chat_message has saved, once all have agreed.
func newMessage(ctx context.Context, c *Client, e *Event) (*appending, error) {
	p, err := decodeMessage(e)
	if err != nil {
		return nil, c.refusedFor(ctx, err, TooLarge, "Meta", "")
	}
	room, err := c.mayWrite(ctx, p.Room)
	if err != nil {
		return nil, err
	}
	a := &appending{client: c, event: e, entry: Entry{
		Kind: KindMessage, Namespace: c.space.name, Room: room, UserID: c.userID, SID: c.id,
		Text: p.Text, MessageID: p.MessageID, ReplyTo: p.ReplyTo, Meta: p.Meta,
	}}
	if err := c.space.hub.checkText(p.Text); err != nil {
		return nil, c.refusedFor(ctx, err, TooLarge, "Text", room)
	}
	if err := c.space.gate(ctx, c, &a.entry); err != nil {
		return nil, err
	}
	return a, nil
}

// gate runs the OnMessage hooks. They may change what a message says, not whose it is nor where it goes.
func (sp *space) gate(ctx context.Context, c *Client, m *Entry) error {
	if len(sp.set.onMessage) == 0 {
		return nil
	}
	as := *m
	for _, f := range sp.set.onMessage {
		if err := f(ctx, c, m); err != nil {
			return err
		}
	}
	as.Text, as.Meta, as.ReplyTo = m.Text, m.Meta, m.ReplyTo
	*m = as
	if m.Meta != nil && !json.Valid(m.Meta) {
		return Errorf(Internal, "internal error")
	}
	return sp.hub.checkText(m.Text)
}

// mayWrite is the room that a client's event is about, if the client is in it and may write there.
func (c *Client) mayWrite(ctx context.Context, name string) (string, error) {
	room, err := c.defaultRoom(name)
	if err != nil {
		return "", err
	}
	joined := c.joinedName(room)
	if joined == "" {
		return "", Errorf(NotMember, "not in room %s", room)
	}
	room = joined
	if write := c.space.set.policy.Write; write != nil {
		return room, write(ctx, c, room)
	}
	return room, nil
}

type roomPayload struct {
	Room string `json:"room"`
}

type joinAnswer struct {
	OK      bool     `json:"ok"`
	Room    string   `json:"room"`
	Seq     uint64   `json:"seq"`
	Members []Member `json:"members"`
	Count   int      `json:"member_count"`
}

func joinRoom(ctx context.Context, c *Client, e *Event) ([]any, error) {
	p, err := decodeFirst[roomPayload](e)
	if err != nil {
		return nil, err
	}
	if !validRoom(p.Room) {
		return nil, Errorf(InvalidPayload, "room must be 1 to 128 letters, digits or ._:-")
	}
	if err := c.overJoins(e, p.Room); err != nil {
		return nil, err
	}
	if !c.listed(p.Room) {
		return nil, Errorf(Forbidden, "not one of your rooms")
	}
	if join := c.space.set.policy.Join; join != nil {
		if err := join(ctx, c, p.Room); err != nil {
			return nil, err
		}
	}
	if err := c.space.waitKnown(ctx, p.Room); err != nil {
		return nil, err
	}
	if err := c.space.waitPresence(ctx, p.Room); err != nil {
		return nil, err
	}
	return nil, c.refusedFor(ctx, c.space.join(c, e, p.Room), RateLimited, "RoomsPerClient", p.Room)
}

// join subscribes c to a room whose log's end is known. The end is what was delivered: no entry is both before it and delivered later.
func (sp *space) join(c *Client, e *Event, name string) error {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if c.gone { // a limit may have ended it whose last packets are still sent: an ack without an answer would be read as one
		return ErrNoAck
	}
	if limit := sp.hub.set.limits.RoomsPerClient; limit > 0 && len(c.rooms) >= limit && c.membershipLocked(name) == nil {
		return &Error{Code: RateLimited, Message: "too many rooms", Data: map[string]any{"limit": limit}}
	}
	l := sp.hub.journal.open(sp, name)
	if !l.known.Load() { // forgotten since, as only after a stop of the process for minutes
		return errUnavailable
	}
	sp.joinLocked(c, e, name, l.end)
	return nil
}

// joinLocked subscribes c and answers e. The ack comes before the news of the joining, and before any later entry.
func (sp *space) joinLocked(c *Client, e *Event, name string, seq uint64) {
	p := sp.subscribeLocked(c, name)
	if r := sp.rooms[name]; e.NeedsAck {
		enc, err := socketio.Encode(joinAnswer{OK: true, Room: name, Seq: seq, Members: sp.membersLocked(name, membersListed), Count: len(r.users)})
		if err == nil { // it holds nothing that does not encode
			e.answered = true
			c.sess.Send(socketio.AckPacket(c.wireName(), e.ackID, enc))
		}
	}
	sp.announceLocked(p)
}

func leaveRoom(ctx context.Context, c *Client, e *Event) ([]any, error) {
	p, err := decodeFirst[roomPayload](e)
	if err != nil {
		return nil, err
	}
	if !validRoom(p.Room) {
		return nil, Errorf(InvalidPayload, "room must be 1 to 128 letters, digits or ._:-")
	}
	return []any{okAnswer{OK: true}}, c.Leave(ctx, p.Room)
}

func typing(ctx context.Context, c *Client, e *Event) ([]any, error) {
	p, err := decodeFirst[struct {
		Room string `json:"room"`
		On   bool   `json:"on"`
	}](e)
	if err != nil {
		return nil, err
	}
	room, err := c.mayWrite(ctx, p.Room)
	if err != nil {
		return nil, err
	}
	if p.On {
		c.space.startTyping(c, room)
	} else {
		c.space.mu.Lock()
		c.space.stopTypingLocked(typist{room, c.userID})
		c.space.mu.Unlock()
	}
	return []any{okAnswer{OK: true}}, nil
}

type historyAnswer struct {
	OK      bool    `json:"ok"`
	Entries []Entry `json:"entries"`
	More    bool    `json:"more"`
	First   uint64  `json:"first_seq"`
}

func history(ctx context.Context, c *Client, e *Event) ([]any, error) {
	p, err := decodeFirst[struct {
		Room   string  `json:"room"`
		After  *uint64 `json:"after"`
		Before *uint64 `json:"before"`
		Limit  int     `json:"limit"`
	}](e)
	if err != nil {
		return nil, err
	}
	if p.After != nil && p.Before != nil {
		return nil, Errorf(InvalidPayload, "give after or before, not both")
	}
	room, err := c.defaultRoom(p.Room)
	if err != nil {
		return nil, err
	}
	if !c.subscribed(room) {
		return nil, Errorf(NotMember, "not in room %s", room)
	}
	if p.Limit <= 0 {
		p.Limit = historyDefault
	}
	sp := c.space
	ctx, cancel := context.WithTimeout(ctx, sp.hub.set.timeouts.Store)
	defer cancel()
	if err := sp.waitKnown(ctx, room); err != nil { // or what is written between the page and the first entry delivered would be missing
		return nil, err
	}
	entries, more, err := sp.hub.journal.page(ctx, PageQuery{
		Namespace: sp.name, Room: room, After: p.After, Before: p.Before, Limit: min(p.Limit, historyMost),
	})
	if err == nil {
		entries, more = fitPage(entries, more, p.After != nil, sp.hub.set.limits.Outbox/2)
		var first uint64
		if first, _, err = sp.hub.journal.bounds(ctx, sp.name, room); err == nil {
			return []any{historyAnswer{OK: true, Entries: append([]Entry{}, entries...), More: more, First: first}}, nil
		}
	}
	sp.hub.journal.failed(ctx, err, "namespace", sp.name, "room", room)
	return nil, errUnavailable
}

// fitPage cuts a page to what an outbox has room for: an answer that overflowed it would cut the client off,
// again each time it asks. At least one entry stays; of a page that goes on upwards the first ones, otherwise
// the last.
func fitPage(entries []Entry, more, upwards bool, room int) ([]Entry, bool) {
	const fields = 512 // the names, ids and numbers of an entry, generously
	n := 0
	for ; n < len(entries); n++ {
		e := &entries[n]
		if !upwards {
			e = &entries[len(entries)-1-n]
		}
		if room -= fields + quotedLen(e.Text) + quotedLen(e.Meta) + quotedLen(e.MessageID) + quotedLen(e.ReplyTo); room < 0 && n > 0 {
			break
		}
	}
	if n == len(entries) {
		return entries, more
	}
	if upwards {
		return entries[:n], true
	}
	return entries[len(entries)-n:], true
}

// quotedLen is what text takes in JSON at most, without its quotes.
func quotedLen[T string | json.RawMessage](text T) int {
	const escape = 6 // \u003c
	n := len(text)
	for i := range len(text) {
		switch c := text[i]; {
		case c < 0x20, c == '"', c == '\\', c == '<', c == '>', c == '&':
			n += escape - 1
		case c == 0xe2: // the line separators U+2028 and U+2029 begin so
			n += escape - 3
		}
	}
	return n
}
