package load

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// Room is the name of the n-th room of the log's runs.
func Room(n int) string { return "r" + strconv.Itoa(n) }

// The events of the library's log, as the ordinary client sends and gets them.
var (
	newMessage = []byte(`42["new_message",`)
	ackPacket  = []byte("43")
	ackedEntry = []byte(`[{"ok":true,"message":{`)
	joinedRoom = []byte(`430[{"ok":true,`)
	seqField   = []byte(`"seq":`)
)

// chatMessage is the library's own message in the place of the host's "msg":
// saved, acked to its sender and delivered to the others of the room.
type chatMessage struct{ eio }

func (d chatMessage) take(c *conn, p []byte) (answer []byte, deliveries int, joined bool) {
	if bytes.HasPrefix(p, newMessage) {
		return nil, 1, false
	}
	if id, rest := ackID(p); id > 0 && bytes.HasPrefix(rest, ackedEntry) {
		return nil, 1, false
	}
	return d.eio.take(c, p)
}

func (chatMessage) event(text string, seq int) []byte { return message(seq, text) }

// joiner joins the room of its number before it counts as a member.
type joiner struct{ eio }

func (d joiner) take(c *conn, p []byte) (answer []byte, deliveries int, joined bool) {
	switch {
	case bytes.HasPrefix(p, newMessage):
		return nil, 1, false
	case bytes.HasPrefix(p, packetConnect):
		return []byte(`420["join_room",{"room":"` + Room(c.room) + `"}]`), 0, false
	case !c.joined && bytes.HasPrefix(p, joinedRoom):
		seq, ok := seqOf(p)
		c.seq = seq
		return nil, 0, ok
	case bytes.HasPrefix(p, ackPacket):
		return nil, 0, false
	}
	return d.eio.take(c, p)
}

func (joiner) event(text string, seq int) []byte { return message(seq, text) }

// message is a chat_message that asks for an ack.
func message(id int, text string) []byte {
	b := make([]byte, 0, 2*textSize+len(text))
	b = strconv.AppendInt(append(b, "42"...), int64(id), 10)
	b = append(append(b, `["chat_message",{"text":"`...), text...)
	b = append(append(b, `","message_id":"`...), Key(id)...)
	return append(b, `"}]`...)
}

// Key is a text of a random UUID's form, always the same for the same n.
func Key(n int) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], mix(uint64(2*n)))
	binary.BigEndian.PutUint64(b[8:], mix(uint64(2*n+1)))
	var text [36]byte
	at := 0
	for i, v := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text[at] = '-'
			at++
		}
		const digits = "0123456789abcdef"
		text[at], text[at+1] = digits[v>>4], digits[v&15]
		at += 2
	}
	return string(text[:])
}

// mix is the output step of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// isEntry tells of a frame whether it holds an entry or an ack.
func isEntry(p []byte) bool {
	return bytes.HasPrefix(p, newMessage) || bytes.HasPrefix(p, ackPacket)
}

// ackID is the id of an ack and its arguments; 0 for what is no ack, and for
// the one of the joining.
func ackID(p []byte) (id int, args []byte) {
	digits, ok := bytes.CutPrefix(p, ackPacket)
	if !ok {
		return 0, nil
	}
	n := 0
	for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
		id = id*10 + int(digits[n]-'0')
		n++
	}
	return id, digits[n:]
}

// seqOf is the first seq in a frame.
func seqOf(p []byte) (uint64, bool) {
	at := bytes.Index(p, seqField)
	if at < 0 {
		return 0, false
	}
	n := uint64(0)
	digits := p[at+len(seqField):]
	for i, b := range digits {
		if b < '0' || b > '9' {
			return n, i > 0
		}
		n = n*10 + uint64(b-'0')
	}
	return n, false
}
