package nodewire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// toMsgpack makes MessagePack of one JSON value, with the attachments where their placeholders are.
func toMsgpack(text []byte, attachments [][]byte) ([]byte, error) {
	p := packer{dec: json.NewDecoder(bytes.NewReader(text)), attachments: attachments}
	p.dec.UseNumber()
	p.enc = msgpack.NewEncoder(&p.out)
	if err := p.value(0); err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); err != io.EOF {
		return nil, errTrailing
	}
	return p.out.Bytes(), nil
}

type packer struct {
	dec         *json.Decoder
	enc         *msgpack.Encoder // writes to out, at once
	out         bytes.Buffer
	attachments [][]byte
}

func (p *packer) value(depth int) error {
	t, err := p.dec.Token()
	if err != nil {
		return err
	}
	return p.token(t, depth)
}

func (p *packer) token(t json.Token, depth int) error {
	if depth > depthMost {
		return errDepth
	}
	switch t := t.(type) {
	case nil:
		return p.enc.EncodeNil()
	case bool:
		return p.enc.EncodeBool(t)
	case string:
		return p.enc.EncodeString(t)
	case json.Number:
		return p.number(t)
	case json.Delim:
		if t == '[' {
			return p.array(depth)
		}
		return p.object(depth)
	}
	return fmt.Errorf("unexpected JSON token %v", t)
}

// number: JavaScript has no integers beyond 2^53.
func (p *packer) number(n json.Number) error {
	if i, err := n.Int64(); err == nil && i <= 1<<53 && i >= -1<<53 {
		return p.enc.EncodeInt(i)
	}
	f, _ := n.Float64() // what is too large is an infinity, in JavaScript too
	if f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
		return p.enc.EncodeInt(int64(f))
	}
	return p.enc.EncodeFloat64(f)
}

func (p *packer) array(depth int) error {
	at := p.begin()
	n := 0
	for ; p.dec.More(); n++ {
		if err := p.value(depth + 1); err != nil {
			return err
		}
	}
	p.end(at, n, msgpcode.FixedArrayLow, msgpcode.Array32)
	_, err := p.dec.Token()
	return err
}

func (p *packer) object(depth int) error {
	at := p.begin()
	n, flag, num := 0, false, -1
	for ; p.dec.More(); n++ {
		key, err := p.dec.Token()
		if err != nil {
			return err
		}
		v, err := p.dec.Token()
		if err != nil {
			return err
		}
		switch key {
		case "_placeholder":
			flag = v == true
		case "num":
			num = p.attachment(v)
		}
		if err := p.token(key, depth+1); err != nil {
			return err
		}
		if err := p.token(v, depth+1); err != nil {
			return err
		}
	}
	if _, err := p.dec.Token(); err != nil {
		return err
	}
	if flag && n == 2 && num >= 0 {
		p.out.Truncate(at)
		return p.enc.EncodeBytes(p.attachments[num])
	}
	p.end(at, n, msgpcode.FixedMapLow, msgpcode.Map32)
	return nil
}

// attachment is the index that a placeholder's num gives; -1: none.
func (p *packer) attachment(v json.Token) int {
	n, ok := v.(json.Number)
	if !ok {
		return -1
	}
	i, err := n.Int64()
	if err != nil || i < 0 || i >= int64(len(p.attachments)) {
		return -1
	}
	return int(i)
}

// headLong is the length of the head of an array or object of any size.
const headLong = 5

// begin leaves room for the head of what has a number of members that is not yet known.
func (p *packer) begin() (at int) {
	at = p.out.Len()
	p.out.Write(make([]byte, headLong))
	return at
}

func (p *packer) end(at, n int, short, long byte) {
	b := p.out.Bytes()[at:]
	if n < 16 {
		b[0] = short | byte(n)
		copy(b[1:], b[headLong:])
		p.out.Truncate(p.out.Len() - headLong + 1)
		return
	}
	b[0] = long
	binary.BigEndian.PutUint32(b[1:], uint32(n))
}
