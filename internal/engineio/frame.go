package engineio

import (
	"encoding/binary"
	"errors"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// Status codes of RFC 6455, section 7.4.1.
const (
	closeNormal      = 1000
	closeGoingAway   = 1001
	closeProtocol    = 1002
	closeInvalidUTF8 = 1007
	closePolicy      = 1008
	closeTooLarge    = 1009
)

var (
	errProtocol    = errors.New("engineio: websocket protocol violated")
	errInvalidUTF8 = errors.New("engineio: text is not UTF-8")
	errParse       = errors.New("engineio: not an Engine.IO packet")
	errGone        = errors.New("engineio: closed by the client")
)

// A frameHeader is the header of a client's frame.
type frameHeader struct {
	fin        bool
	compressed bool // RSV1
	op         byte
	mask       [4]byte
	len        int // of the header itself
	size       uint64
}

// parseHeader reads a header off the front of b. need is how many bytes the header takes as far as one can
// tell; the header is whole when b has them. Everything that can be wrong with one frame by itself is found
// here, before its payload is waited for.
func parseHeader(b []byte, deflate bool) (h frameHeader, need int, err error) {
	if len(b) < 2 {
		return h, 2, nil
	}
	h.fin, h.compressed, h.op = b[0]&0x80 != 0, b[0]&0x40 != 0, b[0]&0x0f
	short := b[1] & 0x7f
	control := h.op&0x8 != 0
	switch {
	case b[0]&0x30 != 0, b[1]&0x80 == 0: // RSV2, RSV3; not masked
		return h, 0, errProtocol
	case h.compressed && (!deflate || control || h.op == opContinuation):
		return h, 0, errProtocol
	case h.op > opPong, h.op > opBinary && !control:
		return h, 0, errProtocol
	case control && (!h.fin || short > 125):
		return h, 0, errProtocol
	}
	need = 6
	switch short {
	case 126:
		need = 8
	case 127:
		need = 14
	}
	if len(b) < need {
		return h, need, nil
	}
	switch short {
	case 126:
		h.size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		h.size = binary.BigEndian.Uint64(b[2:])
		if h.size>>63 != 0 {
			return h, 0, errProtocol
		}
	default:
		h.size = uint64(short)
	}
	copy(h.mask[:], b[need-4:need])
	h.len = need
	return h, need, nil
}

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
