package engineio

// Headroom is the number of bytes that a caller of NewPacket leaves free at the front of its
// buffer: the longest header of an unmasked WebSocket frame (RFC 6455, section 5.2) and the Engine.IO packet type.
const Headroom = 10 + 1

// A Packet is what a session queues and sends as a whole: one text message and the binary
// messages that follow it with nothing between. It is immutable once made, and shared by every session it is sent to:
// the frame is built once, whatever the number of receivers.
type Packet struct {
	// Tag is the sender's own mark. A session that ends hands the tags of
	// what it did not write to Handler.Closed; zero is no mark.
	Tag uint64

	frame       []byte // WebSocket header, '4', text
	payload     int    // where '4' stands in frame
	attachments [][]byte
	size        int
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

// Size is what the packet counts for in the bound of an outbox, in bytes.
func (p *Packet) Size() int { return p.size }

// Text is the text message without the Engine.IO packet type.
func (p *Packet) Text() []byte { return p.frame[p.payload+1:] }

// Attachments are the binary messages that follow the text.
func (p *Packet) Attachments() [][]byte { return p.attachments }

const (
	opText   = 0x1
	opBinary = 0x2
)

// headerLen is the length of an unmasked frame's header for a payload of n bytes.
func headerLen(n int) int {
	switch {
	case n < 126:
		return 2
	case n < 1<<16:
		return 4
	default:
		return 10
	}
}

// putHeader writes the header of a final, unmasked frame.
func putHeader(dst []byte, op byte, n int) {
	dst[0] = 0x80 | op
	switch headerLen(n) {
	case 2:
		dst[1] = byte(n)
	case 4:
		dst[1] = 126
		dst[2], dst[3] = byte(n>>8), byte(n)
	default:
		dst[1] = 127
		for i := range 8 {
			dst[2+i] = byte(uint64(n) >> (56 - 8*i))
		}
	}
}
