package chat

import (
	"bytes"

	"github.com/parleychat/chat/internal/socketio"
)

// kept is an event that a recovery may replay.
type kept struct {
	number uint64
	at     int64     // in nanoseconds since 1970
	to     *audience // read only, as all audiences are
	event  *outgoing
	size   int64
}

// shelf is where events that are kept lie: side by side with those of the same moment, which go at the same moment. Each where the allocator has room, they would be what
// is left of many pages, none of which could be given back.
type shelf struct {
	slots []keptEvent // the rest of a piece
	text  []byte      // likewise
}

const (
	shelfSlots = 64
	shelfText  = 64 << 10
)

// keptEvent is an event and whom it is for.
type keptEvent struct {
	outgoing
	to          audience
	room, other [1]string
}

// put returns copies, without the packets: they have been sent, and are made again when somebody comes back.
func (s *shelf) put(to *audience, o *outgoing) (*audience, *outgoing) {
	if len(s.slots) == 0 {
		s.slots = make([]keptEvent, shelfSlots)
	}
	k := &s.slots[0]
	s.slots = s.slots[1:]
	k.to = *to
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
	k.outgoing = outgoing{
		space: o.space, name: o.name, number: o.number, seq: o.seq, origin: o.origin, author: o.author,
		args: socketio.Encoded{JSON: s.copy(o.args.JSON), Attachments: o.args.Attachments},
	}
	return &k.to, &k.outgoing
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
