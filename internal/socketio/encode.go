package socketio

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"unicode/utf8"
)

// Encode makes JSON of args by encoding/json, HTML characters as they are. A []byte (or a slice type of bytes
// without a marshaler of its own) anywhere within becomes an attachment, a copy of it; a nil one is null. A
// json.RawMessage is put in as it stands. No argument gives no text.
func Encode(args ...any) (Encoded, error) {
	if len(args) == 0 {
		return Encoded{}, nil
	}
	e := encoder{buf: make([]byte, 0, 64)}
	for i, a := range args {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		if err := e.arg(a); err != nil {
			return Encoded{}, err
		}
	}
	return e.finish()
}

type encoder struct {
	buf   []byte
	bytes [][]byte // what the markers in buf stand for
}

func (e *encoder) arg(a any) error {
	switch a := a.(type) {
	case nil:
		e.buf = append(e.buf, "null"...)
	case string:
		e.buf = AppendString(e.buf, a)
	case bool:
		e.buf = strconv.AppendBool(e.buf, a)
	case int:
		e.buf = strconv.AppendInt(e.buf, int64(a), 10)
	case int64:
		e.buf = strconv.AppendInt(e.buf, a, 10)
	case uint64:
		e.buf = strconv.AppendUint(e.buf, a, 10)
	case json.RawMessage:
		return e.raw(a)
	default:
		if mayHoldBytes(reflect.TypeOf(a)) {
			m := marking{encoder: e}
			if v, changed := m.value(reflect.ValueOf(a)); changed {
				a = v.Interface()
			}
		}
		return e.json(a)
	}
	return nil
}

func (e *encoder) raw(text json.RawMessage) error {
	if text == nil {
		e.buf = append(e.buf, "null"...)
		return nil
	}
	if _, err := scan(text); err != nil {
		return errors.New("json.RawMessage holds no valid JSON")
	}
	e.buf = append(e.buf, text...)
	return nil
}

func (e *encoder) json(a any) error {
	w := bytes.NewBuffer(e.buf)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a); err != nil {
		return err
	}
	e.buf = w.Bytes()
	e.buf = e.buf[:len(e.buf)-1] // the encoder's newline
	return nil
}

// finish puts placeholders where the markers are.
func (e *encoder) finish() (Encoded, error) {
	// encoding/json lets pass what a json.RawMessage or a marshaler holds; a browser ends a WebSocket over
	// invalid UTF-8.
	if !utf8.Valid(e.buf) {
		e.buf = bytes.ToValidUTF8(e.buf, []byte("\ufffd"))
	}
	if len(e.bytes) == 0 {
		return Encoded{JSON: e.buf}, nil
	}
	out := Encoded{JSON: make([]byte, 0, len(e.buf))}
	for rest := e.buf; ; {
		i := bytes.Index(rest, markerPrefix)
		if i < 0 {
			out.JSON = append(out.JSON, rest...)
			break
		}
		out.JSON = append(out.JSON, rest[:i]...)
		out.JSON = append(out.JSON, `{"_placeholder":true,"num":`...)
		out.JSON = strconv.AppendInt(out.JSON, int64(len(out.Attachments)), 10)
		out.JSON = append(out.JSON, '}')
		out.Attachments = append(out.Attachments, bytes.Clone(e.bytes[markerIndex(rest[i:])]))
		rest = rest[i+markerText:]
	}
	// A value that looks like a placeholder, as a client may have sent it, would stand for somebody else's
	// attachment, or end the receiver's connection.
	if len(out.Attachments) > 0 && checkPlaceholders(out.JSON, len(out.Attachments)) != nil {
		return Encoded{}, errors.New("a value beside binary data looks like a placeholder of Socket.IO")
	}
	return out, nil
}

// A marker takes the place of a byte slice while encoding/json is at work: 18 random bytes that no value can
// guess, and 6 bytes of index. Both are multiples of three, so that each has a base64 text of its own.
const (
	nonceLen   = 18
	indexLen   = 6
	markerText = 1 + (nonceLen+indexLen)/3*4 + 1 // with the quotes
)

var nonce, markerPrefix = func() ([]byte, []byte) {
	n := make([]byte, nonceLen)
	rand.Read(n)
	return n, base64.StdEncoding.AppendEncode([]byte{'"'}, n)
}()

func marker(index int) []byte {
	m := make([]byte, nonceLen+indexLen)
	copy(m, nonce)
	for i := range indexLen {
		m[nonceLen+i] = byte(uint64(index) >> (8 * i))
	}
	return m
}

func markerIndex(text []byte) int {
	var raw [indexLen]byte
	_, _ = base64.StdEncoding.Decode(raw[:], text[len(markerPrefix):markerText-1]) // it is our own
	index := 0
	for i, b := range raw {
		index |= int(b) << (8 * i)
	}
	return index
}

// AppendString appends s as a JSON string; invalid UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		n := 1
		var escape []byte
		switch {
		case c == '"' || c == '\\':
			escape = []byte{'\\', c}
		case c < 0x20:
			escape = []byte{'\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15]}
		default:
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				escape = []byte(`\ufffd`)
			}
		}
		if escape != nil {
			dst = append(append(dst, s[start:i]...), escape...)
			start = i + n
		}
		i += n
	}
	return append(append(dst, s[start:]...), '"')
}
