package engineio

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Engine.IO 3 frames a payload in one of two ways. As text: length, colon, packet, with the length in UTF-16
// units. As octet-stream, when there is binary in it and the client takes that: 0 for text or 1 for binary,
// the length's digits as bytes 0 to 9, 255, packet, with the length in bytes.

// encodePayload3 appends packets, and a last one of nothing but a type where that is not 0. octets tells
// which framing it took.
//
// Text goes out as ASCII. Clients of 1.x decode UTF-8 once more than those of 2.x where they have no XHR2,
// and nothing tells them apart; JSON escapes are read the same by both.
func encodePayload3(b []byte, packets []*Packet, last byte, noBinary bool) (out []byte, octets bool) {
	if !noBinary {
		for _, p := range packets {
			octets = octets || len(p.attachments) > 0
		}
	}
	for _, p := range packets {
		if text := p.packet(); len(text) > 0 {
			b = appendText3(b, text, octets)
		}
		for _, a := range p.attachments {
			b = appendBinary3(b, a, octets)
		}
	}
	if last != 0 {
		b = appendText3(b, []byte{last}, octets)
	}
	return b, octets
}

func appendText3(b, packet []byte, octets bool) []byte {
	n := asciiLen(packet)
	b = appendLen3(b, 0, n, octets)
	if n == len(packet) {
		return append(b, packet...)
	}
	return appendASCII(b, packet)
}

func appendBinary3(b, data []byte, octets bool) []byte {
	if octets {
		b = appendLen3(b, 1, 1+len(data), true)
		b = append(b, 4)
		return append(b, data...)
	}
	b = appendLen3(b, 1, 2+base64.StdEncoding.EncodedLen(len(data)), false)
	b = append(b, "b4"...)
	return base64.StdEncoding.AppendEncode(b, data)
}

func appendLen3(b []byte, kind byte, n int, octets bool) []byte {
	if !octets {
		b = strconv.AppendInt(b, int64(n), 10)
		return append(b, ':')
	}
	b = append(b, kind)
	at := len(b)
	b = strconv.AppendInt(b, int64(n), 10)
	for i := range b[at:] {
		b[at+i] -= '0'
	}
	return append(b, 0xff)
}

// asciiLen is the length of text as appendASCII writes it.
func asciiLen(text []byte) int {
	n := len(text)
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		i += size
		n += 6 - size
		if r > 0xffff {
			n += 6
		}
	}
	return n
}

// appendASCII appends JSON with what is not ASCII escaped.
func appendASCII(b, text []byte) []byte {
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			b = append(b, text[i])
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		i += size
		if r > 0xffff {
			r -= 0x10000
			b = appendEscape(b, 0xd800+(r>>10))
			r = 0xdc00 + r&0x3ff
		}
		b = appendEscape(b, r)
	}
	return b
}

func appendEscape(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[r>>12&0xf], hex[r>>8&0xf], hex[r>>4&0xf], hex[r&0xf])
}

// payload3 takes the packets of a POST's body.
func (s *Session) payload3(body []byte, contentType string) error {
	next, take := nextText3, s.text3
	if strings.HasPrefix(contentType, "application/octet-stream") {
		next, take = nextOctets3, s.octets3
	}
	if len(body) == 0 {
		return errParse
	}
	for len(body) > 0 {
		var packet []byte
		var binary, ok bool
		if packet, body, binary, ok = next(body); !ok {
			return errParse
		}
		if err := take(packet, binary); err != nil {
			return err
		}
	}
	return nil
}

// nextText3 cuts the first packet off a payload in text framing.
func nextText3(b []byte) (packet, rest []byte, binary, ok bool) {
	n, i := 0, 0
	for ; i < len(b) && b[i] != ':'; i++ {
		if n, ok = digit(n, b[i]-'0', len(b)); !ok {
			return nil, nil, false, false
		}
	}
	if i == 0 || i == len(b) {
		return nil, nil, false, false
	}
	b = b[i+1:]
	end, ok := utf16Prefix(b, n)
	if !ok {
		return nil, nil, false, false
	}
	return b[:end], b[end:], false, true
}

// nextOctets3 cuts the first packet off a payload in binary framing.
func nextOctets3(b []byte) (packet, rest []byte, binary, ok bool) {
	if b[0] > 1 {
		return nil, nil, false, false
	}
	binary = b[0] == 1
	n, i := 0, 1
	for ; i < len(b) && b[i] != 0xff; i++ {
		if n, ok = digit(n, b[i], len(b)); !ok {
			return nil, nil, false, false
		}
	}
	if i == 1 || i == len(b) {
		return nil, nil, false, false
	}
	b = b[i+1:]
	if n > len(b) {
		return nil, nil, false, false
	}
	return b[:n], b[n:], binary, true
}

// digit adds a decimal digit to a length that may not pass limit.
func digit(n int, d byte, limit int) (int, bool) {
	if d > 9 {
		return 0, false
	}
	n = n*10 + int(d)
	return n, n <= limit
}

// utf16Prefix gives the number of bytes of b's first n UTF-16 units.
func utf16Prefix(b []byte, n int) (int, bool) {
	i := 0
	for n > 0 && i < len(b) {
		if b[i] < utf8.RuneSelf {
			i++
			n--
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return 0, false
		}
		i += size
		n--
		if r > 0xffff {
			n--
		}
	}
	return i, n == 0
}

func (s *Session) text3(packet []byte, _ bool) error {
	if len(packet) > 1 && packet[0] == 'b' {
		if packet[1] != '4' {
			return errParse
		}
		return s.base64(packet[2:])
	}
	return s.textPacket(decodeTwice(packet))
}

func (s *Session) octets3(packet []byte, binary bool) error {
	if !binary {
		if !utf8.Valid(packet) {
			return errInvalidUTF8
		}
		return s.textPacket(packet)
	}
	if len(packet) == 0 || packet[0] != 4 {
		return errParse
	}
	return s.binary(packet[1:])
}

// decodeTwice undoes the second UTF-8 encoding of 1.x clients without XHR2: where all runes are bytes,
// and those are UTF-8, they are the text. In place.
func decodeTwice(text []byte) []byte {
	if bytes.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return text
	}
	once := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if r > 0xff {
			return text
		}
		once = append(once, byte(r))
	}
	if !utf8.Valid(once) {
		return text
	}
	return once
}
