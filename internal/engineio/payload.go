package engineio

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"
)

// separator stands between the packets of a payload of Engine.IO 4.
const separator = 0x1e

// encodePayload4 appends packets, and a last one of nothing but a type where that is not 0.
func encodePayload4(b []byte, packets []*Packet, last byte) []byte {
	start := len(b)
	next := func() {
		if len(b) > start {
			b = append(b, separator)
		}
	}
	for _, p := range packets {
		if text := p.packet(); len(text) > 0 {
			next()
			b = append(b, text...)
		}
		for _, a := range p.attachments {
			next()
			b = append(b, 'b')
			b = base64.StdEncoding.AppendEncode(b, a)
		}
	}
	if last != 0 {
		next()
		b = append(b, last)
	}
	return b
}

// payload4 takes the packets of a POST's body.
func (s *Session) payload4(body []byte) error {
	if !utf8.Valid(body) {
		return errInvalidUTF8
	}
	for more := true; more; {
		var packet []byte
		packet, body, more = bytes.Cut(body, []byte{separator})
		if err := s.packet4(packet); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) packet4(packet []byte) error {
	if len(packet) == 0 || packet[0] != 'b' {
		return s.textPacket(packet)
	}
	return s.base64(packet[1:])
}

// base64 takes a binary message that was written as text.
func (s *Session) base64(text []byte) error {
	data, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return errParse
	}
	return s.binary(data)
}
