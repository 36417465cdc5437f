package chat

import (
	"bytes"
	"strings"
)

// kept is an event that a recovery may replay.
type kept struct {
	number uint64
	at     int64     // in nanoseconds since 1970
	to     *audience // read only, as all audiences are
	event  *outgoing
	size   int64
}

// shelf is where events and sessions that are kept lie: side by side with those of the same moment, which go at the same moment. Each where the allocator has room, they
// would be what is left of many pages, none of which could be given back.
type shelf struct {
	// The rest of a piece, each.
	events   []keptEvent
	text     []byte
	sessions []keptSession
	names    *strings.Builder // never grows: what it has given out stays where it is, and all of it as long as any
}

const (
	shelfPiece = 69 // events or sessions: of some 350 bytes each they fill 24 KB, one of the allocator's sizes
	shelfText  = 64 << 10
	shelfNames = 16 << 10
)

// keptEvent is an event and whom it is for.
type keptEvent struct {
	outgoing
	to          audience
	room, other [1]string // most audiences are of such
}

func (s *shelf) event() *keptEvent {
	if len(s.events) == 0 {
		s.events = make([]keptEvent, shelfPiece)
	}
	k := &s.events[0]
	s.events = s.events[1:]
	return k
}

// put returns a copy of an event that is for to, to be stripped.
func (s *shelf) put(to *audience, o *outgoing) *keptEvent {
	k := s.event()
	k.outgoing, k.to = *o, *to
	if len(to.rooms) == 1 {
		k.room[0] = to.rooms[0]
		k.to.rooms = k.room[:]
	}
	switch { // of whom there are both the second stays where it is
	case len(to.notClients) == 1:
		k.other[0] = to.notClients[0]
		k.to.notClients = k.other[:]
	case len(to.notUsers) == 1:
		k.other[0] = to.notUsers[0]
		k.to.notUsers = k.other[:]
	}
	return k
}

// strip takes what does not lie here out of an event. Its packets have been sent, and are made again when somebody comes back.
func (s *shelf) strip(k *keptEvent) {
	k.args.JSON = s.copy(k.args.JSON)
	k.encodings, k.aliased = encodings{}, nil
}

func (s *shelf) copy(text []byte) []byte {
	n := len(text)
	if n > shelfText/8 {
		return bytes.Clone(text)
	}
	if n > len(s.text) {
		s.text = make([]byte, shelfText)
	}
	to := s.text[:n:n]
	s.text = s.text[n:]
	copy(to, text)
	return to
}

// keptSession is a session with what it has in most cases.
type keptSession struct {
	lostSession
	someRooms [2]lostRoom
	someGiven [2]string
	quiet     [2]silence
}

// session returns the session of a client, as far as it is a copy of that.
func (s *shelf) session(c *Client) *lostSession {
	if len(s.sessions) == 0 {
		s.sessions = make([]keptSession, shelfPiece)
	}
	k := &s.sessions[0]
	s.sessions = s.sessions[1:]
	k.userID = s.name(c.userID)
	if c.nameless() {
		k.id = k.userID[len(anonymousPrefix):] // one text for both
	} else {
		k.id = s.name(c.id)
	}
	k.rooms, k.given = k.someRooms[:0], k.someGiven[:0]
	for _, m := range c.rooms {
		k.rooms = append(k.rooms, lostRoom{s.name(m.room.name), m.since})
	}
	if u := c.user.Load(); u != nil {
		k.token = s.name(u.TokenID)
		for _, room := range u.Rooms {
			k.given = append(k.given, s.name(room))
		}
	}
	if k.sent = c.sent; k.sent.quiet != nil {
		k.quiet = *k.sent.quiet
		k.sent.quiet = &k.quiet
	}
	return &k.lostSession
}

func (s *shelf) name(text string) string {
	n := len(text)
	if n > shelfNames/8 {
		return strings.Clone(text)
	}
	if s.names == nil || n > s.names.Cap()-s.names.Len() {
		s.names = &strings.Builder{}
		s.names.Grow(shelfNames)
	}
	at := s.names.Len()
	_, _ = s.names.WriteString(text) // never fails
	return s.names.String()[at:]
}
