package socketio

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/parleychat/chat/internal/engineio"
)

// Packet types.
const (
	typeConnect = '0' + iota
	typeDisconnect
	typeEvent
	typeAck
	typeConnectError
	typeBinaryEvent
	typeBinaryAck
)

var (
	errPacket      = errors.New("invalid packet")
	errAttachments = errors.New("invalid number of attachments")
)

// A header is a packet in its parts: <type>[<n>-][<namespace>,][<id>]<JSON>. Its slices are parts of the text
// that it was read from.
type header struct {
	typ         byte // typeBinaryEvent and typeBinaryAck are read as typeEvent and typeAck
	attachments int
	namespace   []byte // without a query
	id          uint64
	hasID       bool
	idTooBig    bool // no id that was ever given out
	data        []byte
}

var root = []byte("/")

// readHeader takes a packet apart. It validates all but data.
func readHeader(text []byte, maxAttachments int) (header, error) {
	h := header{namespace: root}
	if len(text) == 0 {
		return h, errPacket
	}
	h.typ, text = text[0], text[1:]
	switch h.typ {
	case typeConnect, typeDisconnect, typeEvent, typeAck:
	case typeBinaryEvent, typeBinaryAck:
		h.typ -= typeBinaryEvent - typeEvent
		n := digits(text, 0)
		if n == 0 || n == len(text) || text[n] != '-' {
			return h, errPacket
		}
		var err error
		if h.attachments, err = strconv.Atoi(string(text[:min(n, 10)])); err != nil || n > 9 || h.attachments > maxAttachments {
			return h, errAttachments
		}
		text = text[n+1:]
	default: // a client sends no CONNECT_ERROR either
		return h, errPacket
	}
	h.namespace, text = cutNamespace(text)
	h.readID(text)
	return h, h.check()
}

// cutNamespace cuts off what stands before the first comma, if it begins with a slash.
func cutNamespace(text []byte) (namespace, rest []byte) {
	if len(text) == 0 || text[0] != '/' {
		return root, text
	}
	namespace = text
	if i := slices.Index(text, ','); i >= 0 {
		namespace, rest = text[:i], text[i+1:]
	}
	if i := slices.Index(namespace, '?'); i >= 0 {
		namespace = namespace[:i]
	}
	return namespace, rest
}

func (h *header) readID(text []byte) {
	n := digits(text, 0)
	h.hasID = n > 0
	if h.data = text[n:]; n == 0 {
		return
	}
	id, err := strconv.ParseUint(string(text[:min(n, 20)]), 10, 63)
	if h.id = id; err != nil || n > 20 {
		h.id, h.idTooBig = 0, true
	}
}

// check tells what each type must have and must not have.
func (h *header) check() error {
	var ok bool
	switch h.typ {
	case typeConnect:
		ok = !h.hasID && (len(h.data) == 0 || h.data[0] == '{')
	case typeDisconnect:
		ok = !h.hasID && len(h.data) == 0
	case typeEvent:
		ok = len(h.data) > 0 && h.data[0] == '['
	case typeAck:
		ok = h.hasID && len(h.data) > 0 && h.data[0] == '['
	}
	if !ok {
		return errPacket
	}
	return nil
}

// A body is the data of an EVENT or ACK.
type body struct {
	name    string // of an event
	values  []json.RawMessage
	tooDeep bool
}

// readBody validates the data of an EVENT or ACK and cuts it into copies of its arguments. In one that is too deep
// there are none.
func readBody(h *header, depth int) (body, error) {
	info, err := scan(h.data)
	if err != nil {
		return body{}, err
	}
	b := body{tooDeep: info.depth > depth+1}
	data, n := h.data, info.elems
	if h.typ == typeEvent {
		start := space(data, 1)
		if n == 0 || data[start] != '"' {
			return body{}, errPacket
		}
		end := stringEnd(data, start)
		b.name = unquote(data[start:end])
		// What follows the name, made an array by the bracket or comma before it.
		data, n = data[space(data, end):], n-1
	}
	if b.tooDeep {
		return b, nil
	}
	if h.attachments > 0 {
		if err := checkPlaceholders(data, h.attachments); err != nil {
			return body{}, err
		}
	}
	if n > 0 {
		b.values = elements(slices.Clone(data), n)
	}
	return b, nil
}

// reserved tells the names of events that are the library's own on the client's side.
func reserved(name string) bool {
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}

// EventPacket makes the packet of an event for a namespace. name is any text. offset, where it is not empty,
// is appended as the last argument. id asks for an ack where it is not nil.
func EventPacket(namespace, name string, args Encoded, id *uint64, offset string) *engineio.Packet {
	buf := makePacket(typeEvent, namespace, args, len(name)+len(offset)+8)
	if id != nil {
		buf = strconv.AppendUint(buf, *id, 10)
	}
	buf = AppendString(append(buf, '['), name)
	if len(args.JSON) > 0 {
		buf = append(append(buf, ','), args.JSON...)
	}
	if offset != "" {
		buf = AppendString(append(buf, ','), offset)
	}
	return engineio.NewPacket(append(buf, ']'), args.Attachments...)
}

// AckPacket makes the packet of an ack.
func AckPacket(namespace string, id uint64, args Encoded) *engineio.Packet {
	return AckWith(namespace, id, "", args, "")
}

// AckWith is AckPacket for arguments whose JSON begins with before and ends with after.
func AckWith(namespace string, id uint64, before string, args Encoded, after string) *engineio.Packet {
	buf := makePacket(typeAck, namespace, args, len(before)+len(after))
	buf = append(strconv.AppendUint(buf, id, 10), '[')
	buf = append(append(append(buf, before...), args.JSON...), after...)
	return engineio.NewPacket(append(buf, ']'), args.Attachments...)
}

// controlPacket makes a CONNECT, DISCONNECT or CONNECT_ERROR.
func controlPacket(typ byte, namespace string, data []byte) *engineio.Packet {
	return engineio.NewPacket(append(makePacket(typ, namespace, Encoded{}, len(data)), data...))
}

// makePacket begins a packet; room is what its text takes beyond the arguments.
func makePacket(typ byte, namespace string, args Encoded, room int) []byte {
	const ids = 32 // type, count, ack id, brackets and commas
	buf := make([]byte, engineio.Headroom, engineio.Headroom+ids+len(namespace)+len(args.JSON)+room)
	if n := len(args.Attachments); n > 0 {
		buf = append(buf, typ+typeBinaryEvent-typeEvent)
		buf = append(strconv.AppendInt(buf, int64(n), 10), '-')
	} else {
		buf = append(buf, typ)
	}
	if namespace != "/" {
		buf = append(append(buf, namespace...), ',')
	}
	return buf
}
