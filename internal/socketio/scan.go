package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

var errJSON = errors.New("invalid JSON")

// scanned is what one pass over a JSON text tells of it.
type scanned struct {
	depth int // of nesting; a scalar has none
	elems int // of the outermost array
}

// scan validates text, one JSON value with white space around it, as encoding/json.Valid does, and without
// its bound of depth. It neither recurses nor allocates for anything that nests less than 256 deep, since it
// runs on a session's small stack; beyond that it needs one bit a level, so at most an eighth of the text.
func scan(text []byte) (scanned, error) {
	var (
		out   scanned
		st    nest
		i     = space(text, 0)
		state = wantValue
	)
	for i >= 0 && i < len(text) {
		c := text[i]
		switch state {
		case wantElem: // or the end of an array just begun
			if c == ']' {
				i, state = i+1, st.pop()
				break
			}
			if st.depth == 1 {
				out.elems = 1
			}
			state = wantValue
			continue
		case wantValue:
			switch c {
			case '{', '[':
				st.push(c == '{')
				out.depth = max(out.depth, st.depth)
				i, state = i+1, wantElem
				if c == '{' {
					state = wantMember
				}
			default:
				i, state = scalar(text, i), st.after()
			}
		case wantMember, wantKey:
			if c == '}' && state == wantMember {
				i, state = i+1, st.pop()
				break
			}
			if c != '"' {
				return out, errJSON
			}
			i, state = stringEnd(text, i), wantColon
		case wantColon:
			if c != ':' {
				return out, errJSON
			}
			i, state = i+1, wantValue
		case wantCommaOrBracket, wantCommaOrBrace:
			object := state == wantCommaOrBrace
			switch {
			case c == ',' && object:
				state = wantKey
			case c == ',':
				state = wantValue
				if st.depth == 1 {
					out.elems++
				}
			case c == '}' && object, c == ']' && !object:
				state = st.pop()
			default:
				return out, errJSON
			}
			i++
		case wantNothing:
			return out, errJSON
		}
		if i < 0 {
			return out, errJSON
		}
		i = space(text, i)
	}
	if state != wantNothing {
		return out, errJSON
	}
	return out, nil
}

// What scan expects next.
const (
	wantValue = iota
	wantElem
	wantMember
	wantKey
	wantColon
	wantCommaOrBracket
	wantCommaOrBrace
	wantNothing
)

// nest remembers, a bit a level, whether an open bracket is an object's.
type nest struct {
	depth int
	low   [4]uint64
	high  []uint64
}

func (n *nest) word() *uint64 {
	w := (n.depth - 1) / 64
	if w < len(n.low) {
		return &n.low[w]
	}
	w -= len(n.low)
	if w == len(n.high) {
		n.high = append(n.high, 0)
	}
	return &n.high[w]
}

func (n *nest) push(object bool) {
	n.depth++
	w, bit := n.word(), uint64(1)<<((n.depth-1)%64)
	if *w &^= bit; object {
		*w |= bit
	}
}

// pop closes the innermost bracket; like after, it gives scan's next state.
func (n *nest) pop() int {
	n.depth--
	return n.after()
}

func (n *nest) after() int {
	if n.depth == 0 {
		return wantNothing
	}
	if *n.word()>>((n.depth-1)%64)&1 == 1 {
		return wantCommaOrBrace
	}
	return wantCommaOrBracket
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// scalar gives the end of the string, number or literal that starts at i, or -1.
func scalar(b []byte, i int) int {
	switch b[i] {
	case '"':
		return stringEnd(b, i)
	case 't':
		return literalEnd(b, i, "true")
	case 'f':
		return literalEnd(b, i, "false")
	case 'n':
		return literalEnd(b, i, "null")
	default:
		return numberEnd(b, i)
	}
}

func literalEnd(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < 0x20:
			return -1
		case c == '\\':
			if i = escapeEnd(b, i); i < 0 {
				return -1
			}
		}
	}
	return -1
}

// escapeEnd gives the last byte of the escape that starts at i, or -1.
func escapeEnd(b []byte, i int) int {
	if i++; i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i
	case 'u':
		if len(b)-i < 5 {
			return -1
		}
		for _, c := range b[i+1 : i+5] {
			if !hex(c) {
				return -1
			}
		}
		return i + 4
	}
	return -1
}

func hex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func numberEnd(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	start := i
	if i = digits(b, i); i == start || b[start] == '0' && i > start+1 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		start = i + 1
		if i = digits(b, start); i == start {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		start = i
		if i = digits(b, i); i == start {
			return -1
		}
	}
	return i
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

// The functions below take text that scan has passed.

// skip gives the end of the value that starts at i.
func skip(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		default:
			i++
			if depth == 0 {
				for i < len(b) && !ends(b[i]) {
					i++
				}
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// ends tells whether c ends a number or literal.
func ends(c byte) bool { return c == ',' || c == ']' || c == '}' || c <= ' ' }

// elements cuts an array of n elements into them.
func elements(array []byte, n int) []json.RawMessage {
	if n == 0 {
		return nil
	}
	out := make([]json.RawMessage, 0, n)
	for i := space(array, 0) + 1; len(out) < n; i++ { // past the bracket, then past each comma
		i = space(array, i)
		end := skip(array, i)
		out = append(out, array[i:end:end])
		i = space(array, end)
	}
	return out
}

// unquote gives the text of a JSON string.
func unquote(quoted []byte) string {
	raw := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw)
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return string(raw) // not reached: the string is valid
	}
	return s
}
