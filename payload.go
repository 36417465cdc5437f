package chat

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// scanMessage reads the payload of a chat_message as pages mostly write it: fields of these very names, texts without escapes. It is not ok for any
// other, which encoding/json then reads, or refuses. raw is an object, and valid JSON. What it gives is part of raw, but for Meta.
//
// It is there because the general way was a tenth of what a message costs.
func scanMessage(raw string) (p messagePayload, ok bool) {
	s := scanner{raw[1:]}
	for {
		switch s.next() {
		case '}':
			return p, true
		case ',':
			s.skip(1)
			continue
		case '"':
		default:
			return p, false
		}
		name, ok := s.text()
		if !ok || s.next() != ':' {
			return p, false
		}
		s.skip(1)
		s.next()
		if !s.field(&p, name) {
			return p, false
		}
	}
}

// scanner is what is left of a JSON text that is valid.
type scanner struct{ b string }

func (s *scanner) skip(n int) { s.b = s.b[n:] }

// next skips white space and gives the byte that follows; 0 at the end.
func (s *scanner) next() byte {
	s.b = strings.TrimLeft(s.b, " \t\r\n")
	if len(s.b) == 0 {
		return 0
	}
	return s.b[0]
}

// text takes a string that has no escapes. What it gives is part of the text.
func (s *scanner) text() (string, bool) {
	if len(s.b) == 0 || s.b[0] != '"' {
		return "", false
	}
	end := strings.IndexByte(s.b[1:], '"')
	if end < 0 || strings.IndexByte(s.b[1:1+end], '\\') >= 0 {
		return "", false
	}
	t := s.b[1 : 1+end]
	s.skip(end + 2)
	return t, true
}

// field takes the value of a field.
func (s *scanner) field(p *messagePayload, name string) bool {
	var to *string
	switch name {
	case "text":
		to = &p.Text
	case "room":
		to = &p.Room
	case "message_id":
		to = &p.MessageID
	case "reply_to":
		to = &p.ReplyTo
	case "meta":
		p.Meta = s.value()
		return p.Meta != nil
	default:
		return !anyCase(name) && s.value() != nil
	}
	t, ok := s.text()
	*to = t
	return ok && utf8.ValidString(t)
}

// anyCase: encoding/json takes a field's name in letters of either case.
func anyCase(name string) bool {
	for _, field := range []string{"text", "room", "message_id", "reply_to", "meta"} {
		if strings.EqualFold(name, field) {
			return true
		}
	}
	return false
}

// value takes any value, and gives a copy of its text; nil where that is left to encoding/json.
func (s *scanner) value() json.RawMessage {
	depth := 0
	for i := 0; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\': // in a string
			return nil
		case '"':
			end := strings.IndexByte(s.b[i+1:], '"')
			if end < 0 || strings.IndexByte(s.b[i+1:i+1+end], '\\') >= 0 {
				return nil
			}
			i += end + 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
			if depth < 0 { // the object's own
				return s.cut(i)
			}
		case ',':
			if depth == 0 {
				return s.cut(i)
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return s.cut(i + 1)
		}
	}
	return nil
}

func (s *scanner) cut(n int) json.RawMessage {
	v := json.RawMessage(strings.TrimRight(s.b[:n], " \t\r\n"))
	s.skip(n)
	return v
}

// unpack has a copy of each text where the one that they are parts of holds much else: they are kept for long, and by their own lengths.
func (p *messagePayload) unpack(size int) {
	const little = 256
	if size <= len(p.Text)+len(p.MessageID)+len(p.ReplyTo)+little {
		return
	}
	for _, t := range []*string{&p.Text, &p.Room, &p.MessageID, &p.ReplyTo} {
		*t = strings.Clone(*t)
	}
}
