package engineio

import (
	"bytes"
	"compress/flate"
	"io"
	"sync"
)

// deflateFrom is the size in bytes from which a message is worth compressing.
const deflateFrom = 1024

// flushTail is what a sync flush ends with; a message goes without it (RFC 7692, section 7.2.1). endTail adds
// an empty last block, so that the reader sees an end.
const (
	flushTail = "\x00\x00\xff\xff"
	endTail   = flushTail + "\x01\x00\x00\xff\xff"
)

var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.BestSpeed)
	return w
}}

var inflaters = sync.Pool{New: func() any { return flate.NewReader(bytes.NewReader(nil)) }}

// deflate gives the packet's frames with their payloads compressed; without context takeover they are the
// same for all sessions.
func (p *Packet) deflate() []byte {
	if b := p.deflated.Load(); b != nil {
		return *b
	}
	var out []byte
	if len(p.frame) > 0 {
		if p.frame[0] != 0x80|opText { // a control frame
			return p.frame
		}
		out = appendDeflated(nil, opText, p.packet(), p.frame)
	}
	for _, a := range p.attachments {
		out = appendDeflated(out, opBinary, a, nil)
	}
	// Of two that were made at once all sessions must take the same: a session may stand within one.
	if !p.deflated.CompareAndSwap(nil, &out) {
		return *p.deflated.Load()
	}
	return out
}

// appendDeflated appends a frame; plain is that frame as it stands, where there is one.
func appendDeflated(out []byte, op byte, payload, plain []byte) []byte {
	if len(payload) >= deflateFrom {
		var b bytes.Buffer
		w := deflaters.Get().(*flate.Writer)
		w.Reset(&b)
		_, _ = w.Write(payload)
		_ = w.Flush()
		deflaters.Put(w)
		if small := bytes.TrimSuffix(b.Bytes(), []byte(flushTail)); len(small) < len(payload) {
			return appendFrame(out, 0x40|op, small)
		}
	}
	if plain != nil {
		return append(out, plain...)
	}
	return appendFrame(out, op, payload)
}

func appendFrame(out []byte, op byte, payload []byte) []byte {
	var head [10]byte
	putHeader(head[:], op, len(payload))
	out = append(out, head[:headerLen(len(payload))]...)
	return append(out, payload...)
}

// inflate expands a message to at most limit bytes.
func inflate(data []byte, limit int) ([]byte, error) {
	r := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(r)
	src := io.MultiReader(bytes.NewReader(data), bytes.NewReader([]byte(endTail)))
	if err := r.(flate.Resetter).Reset(src, nil); err != nil {
		return nil, errProtocol
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	switch {
	case err != nil:
		return nil, errProtocol
	case len(out) > limit:
		return nil, ErrTooLarge
	}
	return out, nil
}
