package engineio

import "sync/atomic"

// Headroom is the number of bytes that a caller of NewPacket leaves free at the front of its
// buffer: the longest header of an unmasked WebSocket frame (RFC 6455, section 5.2) and the Engine.IO packet type.
const Headroom = 10 + 1

// A Packet is what a session queues and sends as a whole: one text message and the binary messages that
// follow it with nothing between. It is immutable once made, and shared by every session it is sent to: the
// frame is built once, whatever the number of receivers.
type Packet struct {
	// Tag is the sender's own mark. A session that ends hands the tags of
	// what it did not write to Handler.Closed; zero is no mark.
	Tag uint64

	frame       []byte // WebSocket header, '4', text
	payload     int    // where '4' stands in frame
	attachments [][]byte
	size        int
	deflated    atomic.Pointer[[]byte] // the frames with permessage-deflate, made for the first session that wants them
}

// NewPacket makes a packet of a text message, which starts at buf[Headroom], and of its
// attachments. It takes ownership of buf and of the attachments.
func NewPacket(buf []byte, attachments ...[]byte) *Packet {
	buf[Headroom-1] = '4'
	n := len(buf) - (Headroom - 1)
	start := Headroom - 1 - headerLen(n)
	putHeader(buf[start:], opText, n)
	p := &Packet{frame: buf[start:], payload: headerLen(n), attachments: attachments, size: len(buf) - start}
	for _, a := range attachments {
		p.size += len(a) + 10
	}
	return p
}

// NewBinary makes a packet of one binary message with no text before it. Socket.IO has none such; Engine.IO
// by itself has.
func NewBinary(data []byte) *Packet {
	return &Packet{attachments: [][]byte{data}, size: len(data) + 10}
}

// controlOverhead is what a packet that is made for one session alone weighs in the outbox beyond its bytes, so
// that a flood of pings cannot pile up a heap of tiny packets.
const controlOverhead = 128

// newControl makes a packet of Engine.IO's own, of any type.
func newControl(text string) *Packet {
	n := headerLen(len(text))
	frame := make([]byte, n+len(text))
	putHeader(frame, opText, len(text))
	copy(frame[n:], text)
	return &Packet{frame: frame, payload: n, size: len(frame) + controlOverhead}
}

// newWSControl makes a control frame of the WebSocket.
func newWSControl(op byte, data []byte) *Packet {
	frame := make([]byte, 2+len(data))
	putHeader(frame, op, len(data))
	copy(frame[2:], data)
	return &Packet{frame: frame, payload: 2, size: len(frame) + controlOverhead}
}

// newCloseFrame makes a WebSocket's close frame with a status code (RFC 6455, section 7.4).
func newCloseFrame(code int) *Packet {
	return newWSControl(opClose, []byte{byte(code >> 8), byte(code)})
}

// Shared by all sessions: they carry no data.
var (
	packetPing = newControl("2")
	packetPong = newControl("3")
)

// Size is what the packet counts for in the bound of an outbox, in bytes.
func (p *Packet) Size() int { return p.size }

// Text is the text message without the Engine.IO packet type.
func (p *Packet) Text() []byte {
	if len(p.frame) == 0 {
		return nil
	}
	return p.frame[p.payload+1:]
}

// Attachments are the binary messages that follow the text.
func (p *Packet) Attachments() [][]byte { return p.attachments }

// packet is the text with the packet type; empty in a packet of NewBinary.
func (p *Packet) packet() []byte { return p.frame[p.payload:] }

// A wireMode says how a packet is laid out on a WebSocket.
type wireMode uint8

const (
	wirePlain    wireMode = iota
	wireLegacy            // Engine.IO 3: a binary message begins with a byte of its packet type, 4
	wireDeflated          // permessage-deflate
)

// wireLen is the number of bytes that the packet takes on a WebSocket.
func (p *Packet) wireLen(mode wireMode) int {
	if mode == wireDeflated {
		return len(p.deflate())
	}
	n := len(p.frame)
	for _, a := range p.attachments {
		size := len(a) + mode.prefix()
		n += headerLen(size) + size
	}
	return n
}

func (m wireMode) prefix() int {
	if m == wireLegacy {
		return 1
	}
	return 0
}

// appendWire appends what the packet is on a WebSocket, from byte off on, and at most up to dst's capacity.
func (p *Packet) appendWire(dst []byte, off int, mode wireMode) []byte {
	if mode == wireDeflated {
		return appendPart(dst, p.deflate(), &off)
	}
	dst = appendPart(dst, p.frame, &off)
	for _, a := range p.attachments {
		var head [11]byte
		size := len(a) + mode.prefix()
		n := headerLen(size)
		putHeader(head[:], opBinary, size)
		if mode == wireLegacy {
			head[n] = 4
			n++
		}
		dst = appendPart(dst, head[:n], &off)
		dst = appendPart(dst, a, &off)
	}
	return dst
}

// appendPart appends part without its first off bytes, as much as dst has room for, and lessens off by what
// it left out.
func appendPart(dst, part []byte, off *int) []byte {
	if *off >= len(part) {
		*off -= len(part)
		return dst
	}
	part = part[*off:]
	*off = 0
	if room := cap(dst) - len(dst); len(part) > room {
		part = part[:room]
	}
	return append(dst, part...)
}
