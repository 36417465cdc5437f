package nodewire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// Node's servers tell each other MessagePack, a Hub has JSON with attachments. Either is made of the other without a Go value in between, so that the order of an
// object's members stays as it is.

// depthMost is how deep values may nest, in either direction.
const depthMost = 500

var (
	errDepth    = errors.New("values nest too deep")
	errTrailing = errors.New("bytes after the end")
)

// toJSON makes JSON of one MessagePack value. Each binary in it is replaced by a placeholder.
func toJSON(data []byte) (text []byte, attachments [][]byte, err error) {
	in := bytes.NewReader(data)
	u := unpacker{in: in, dec: msgpack.NewDecoder(in), out: make([]byte, 0, len(data)+len(data)/2)}
	if err := u.value(0); err != nil {
		return nil, nil, err
	}
	if in.Len() > 0 {
		return nil, nil, errTrailing
	}
	return u.out, u.attachments, nil
}

type unpacker struct {
	in          *bytes.Reader // read by dec without a buffer between them
	dec         *msgpack.Decoder
	out         []byte
	attachments [][]byte
}

func (u *unpacker) value(depth int) error {
	if depth > depthMost {
		return errDepth
	}
	code, err := u.dec.PeekCode()
	if err != nil {
		return err
	}
	switch {
	case code == msgpcode.Nil:
		u.out = append(u.out, "null"...)
		return u.dec.DecodeNil()
	case code == msgpcode.False || code == msgpcode.True:
		v, err := u.dec.DecodeBool()
		u.out = strconv.AppendBool(u.out, v)
		return err
	case code == msgpcode.Float || code == msgpcode.Double:
		v, err := u.dec.DecodeFloat64()
		u.float(v)
		return err
	case code == msgpcode.Uint64:
		v, err := u.dec.DecodeUint64()
		u.out = strconv.AppendUint(u.out, v, 10)
		return err
	case msgpcode.IsFixedNum(code) || code >= msgpcode.Uint8 && code <= msgpcode.Int64:
		v, err := u.dec.DecodeInt64()
		u.out = strconv.AppendInt(u.out, v, 10)
		return err
	case msgpcode.IsString(code):
		s, err := u.bytes()
		u.text(s)
		return err
	case msgpcode.IsBin(code):
		b, err := u.bytes()
		u.attach(b)
		return err
	case msgpcode.IsFixedArray(code) || code == msgpcode.Array16 || code == msgpcode.Array32:
		return u.array(depth)
	case msgpcode.IsFixedMap(code) || code == msgpcode.Map16 || code == msgpcode.Map32:
		return u.object(depth)
	case msgpcode.IsExt(code):
		return u.ext()
	}
	return fmt.Errorf("unknown MessagePack code %#x", code)
}

// float writes a number as JSON.stringify does: what is none is null.
func (u *unpacker) float(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		u.out = append(u.out, "null"...)
		return
	}
	text, _ := json.Marshal(v) // of a number it does not fail
	u.out = append(u.out, text...)
}

// text writes a string; invalid UTF-8 becomes U+FFFD.
func (u *unpacker) text(s []byte) {
	if plain(s) {
		u.out = append(append(append(u.out, '"'), s...), '"')
		return
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(string(s)) // of a string it does not fail
	u.out = append(u.out, bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})...)
}

func plain(s []byte) bool {
	for _, c := range s {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func (u *unpacker) attach(b []byte) {
	u.out = append(u.out, `{"_placeholder":true,"num":`...)
	u.out = strconv.AppendInt(u.out, int64(len(u.attachments)), 10)
	u.out = append(u.out, '}')
	u.attachments = append(u.attachments, b)
}

// bytes reads a string or a binary. What it claims to hold must be there before memory is taken for it.
func (u *unpacker) bytes() ([]byte, error) {
	n, err := u.dec.DecodeBytesLen()
	if err != nil {
		return nil, err
	}
	return u.take(n)
}

func (u *unpacker) take(n int) ([]byte, error) {
	if n < 0 || n > u.in.Len() {
		return nil, fmt.Errorf("%d bytes claimed, %d there", n, u.in.Len())
	}
	b := make([]byte, n)
	return b, u.dec.ReadFull(b)
}

func (u *unpacker) array(depth int) error {
	n, err := u.dec.DecodeArrayLen()
	if err != nil {
		return err
	}
	u.out = append(u.out, '[')
	for i := range n {
		if i > 0 {
			u.out = append(u.out, ',')
		}
		if err := u.value(depth + 1); err != nil {
			return err
		}
	}
	u.out = append(u.out, ']')
	return nil
}

func (u *unpacker) object(depth int) error {
	n, err := u.dec.DecodeMapLen()
	if err != nil {
		return err
	}
	u.out = append(u.out, '{')
	for i := range n {
		if i > 0 {
			u.out = append(u.out, ',')
		}
		if err := u.key(); err != nil {
			return err
		}
		u.out = append(u.out, ':')
		if err := u.value(depth + 1); err != nil {
			return err
		}
	}
	u.out = append(u.out, '}')
	return nil
}

func (u *unpacker) key() error {
	code, err := u.dec.PeekCode()
	switch {
	case err != nil:
		return err
	case msgpcode.IsString(code) || msgpcode.IsBin(code):
		s, err := u.bytes()
		u.text(s)
		return err
	case msgpcode.IsFixedNum(code) || code >= msgpcode.Uint8 && code <= msgpcode.Int64:
		v, err := u.dec.DecodeInt64()
		u.out = append(strconv.AppendInt(append(u.out, '"'), v, 10), '"')
		return err
	}
	return fmt.Errorf("MessagePack code %#x as an object's key", code)
}

// ext reads what MessagePack has no type for: a Date, and what notepack has made of undefined, of an ArrayBuffer and of a Date.
func (u *unpacker) ext() error {
	kind, n, err := u.dec.DecodeExtHeader()
	if err != nil {
		return err
	}
	b, err := u.take(n)
	if err != nil {
		return err
	}
	switch {
	case kind == -1:
		return u.date(b)
	case kind == 0 && n == 1:
		u.out = append(u.out, "null"...)
	case kind == 0 && n == 8:
		u.time(time.UnixMilli(int64(binary.BigEndian.Uint64(b))))
	case kind == 0:
		u.attach(b)
	default:
		return fmt.Errorf("unknown MessagePack extension %d", kind)
	}
	return nil
}

// date reads a timestamp: https://github.com/msgpack/msgpack/blob/master/spec.md#timestamp-extension-type
func (u *unpacker) date(b []byte) error {
	switch len(b) {
	case 4:
		u.time(time.Unix(int64(binary.BigEndian.Uint32(b)), 0))
	case 8:
		v := binary.BigEndian.Uint64(b)
		u.time(time.Unix(int64(v&(1<<34-1)), int64(v>>34)))
	case 12:
		u.time(time.Unix(int64(binary.BigEndian.Uint64(b[4:])), int64(binary.BigEndian.Uint32(b))))
	default:
		return fmt.Errorf("a timestamp of %d bytes", len(b))
	}
	return nil
}

// time writes what JSON.stringify makes of a Date.
func (u *unpacker) time(t time.Time) {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		u.out = append(u.out, "null"...)
		return
	}
	u.out = t.AppendFormat(append(u.out, '"'), `2006-01-02T15:04:05.000Z"`)
}
