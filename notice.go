package chat

import (
	"encoding/binary"
	"errors"

	"github.com/parleychat/chat/internal/socketio"
)

// A notice is what a node publishes: a head, by which it is known as one of its node's in their order, and a body of its kind. Nodes of the version before and after
// this one read it: a kind or a version that is not known is passed over and counted.
type noticeKind byte

const (
	noticePulse    noticeKind = 1 + iota // says up to where the node has published; no body
	noticeEvent                          // an emit
	noticeEntry                          // of a room's log
	noticePresence                       // of users in a room
	noticeAct                            // on clients: join, leave, disconnect
	noticeRevoked                        // a revocation
	noticeGrown                          // a room's log has entries that were not published
	noticeErased                         // what a user wrote
)

const (
	noticeVersion = 1
	tagLen        = 6
	// version, kind, tag, number
	noticeHead = 2 + tagLen + 8
)

var errNotice = errors.New("chat: a notice of another node cannot be read")

// notice is one that was received; what is read of its body are copies.
type notice struct {
	kind    noticeKind
	tag     string
	number  uint64
	request string
	space   string
	body    reader
}

// newNotice begins one; relay.add puts the number in.
func newNotice(kind noticeKind, tag, request, space string) []byte {
	b := make([]byte, noticeHead, 256)
	b[0], b[1] = noticeVersion, byte(kind)
	copy(b[2:], tag)
	return appendStrings(b, request, space)
}

func numberNotice(b []byte, n uint64) { binary.BigEndian.PutUint64(b[2+tagLen:], n) }

// readHead reads what is needed to know whether a notice is new.
func readHead(data []byte) (tag string, number uint64, ok bool) {
	if len(data) < noticeHead {
		return "", 0, false
	}
	return string(data[2 : 2+tagLen]), binary.BigEndian.Uint64(data[2+tagLen:]), true
}

func readNotice(data []byte) (n notice, err error) {
	var ok bool
	if n.tag, n.number, ok = readHead(data); !ok || data[0] != noticeVersion {
		return n, errNotice
	}
	n.kind = noticeKind(data[1])
	n.body = reader{rest: data[noticeHead:]}
	n.request, n.space = n.body.string(), n.body.string()
	return n, n.body.err
}

func appendStrings(b []byte, texts ...string) []byte {
	for _, s := range texts {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return b
}

func appendBytes(b, s []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(s))), s...) }

func appendList(b []byte, list []string) []byte {
	return appendStrings(binary.AppendUvarint(b, uint64(len(list))), list...)
}

func appendBool(b []byte, yes bool) []byte {
	if yes {
		return append(b, 1)
	}
	return append(b, 0)
}

func (a *audience) append(b []byte) []byte {
	b = appendBool(b, a.none)
	for _, list := range [...][]string{a.rooms, a.users, a.clients, a.notRooms, a.notUsers, a.notClients} {
		b = appendList(b, list)
	}
	return b
}

func (r *reader) audience() *audience {
	a := &audience{none: r.bool()}
	for _, list := range [...]*[]string{&a.rooms, &a.users, &a.clients, &a.notRooms, &a.notUsers, &a.notClients} {
		*list = r.list()
	}
	return a
}

func appendEncoded(b []byte, enc socketio.Encoded) []byte {
	b = appendBytes(b, enc.JSON)
	b = binary.AppendUvarint(b, uint64(len(enc.Attachments)))
	for _, a := range enc.Attachments {
		b = appendBytes(b, a)
	}
	return b
}

func (r *reader) encoded() (enc socketio.Encoded) {
	enc.JSON = r.copied()
	for n := r.count(); n > 0 && r.err == nil; n-- {
		enc.Attachments = append(enc.Attachments, r.copied())
	}
	return enc
}

// reader reads what the append functions have written. After an error it gives zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail() {
	r.rest, r.err = nil, errNotice
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) bool() bool { return r.byte() == 1 }

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// count is of things that take at least a byte each.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte {
	n := r.count()
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) copied() []byte {
	if b := r.bytes(); len(b) > 0 {
		return append([]byte(nil), b...)
	}
	return nil
}

func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) list() (list []string) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		list = append(list, r.string())
	}
	return list
}
