package redis

import (
	"encoding/binary"
	"errors"
	"time"
)

// A message on a channel is its kind, the sender's tag with its length before it, and what the kind says:
//
//	signal    signals, each with its length before it
//	changed   nothing: who is there has changed
//	ask       the question's number, how long the asker waits in ms (0: for ever), and the question
//	answered  the question's number, and the answer
//	refused   the question's number, and an error's text
//
// Numbers and lengths are unsigned varints.
const (
	kindSignal   = 's'
	kindChanged  = 'n'
	kindAsk      = 'q'
	kindAnswered = 'a'
	kindRefused  = 'e'
)

const tagMost = 64

func appendHead(b []byte, kind byte, tag string) []byte {
	b = append(b, kind, byte(len(tag)))
	return append(b, tag...)
}

var errMessage = errors.New("chat/redis: a message that is none of this version's")

func readHead(b []byte) (kind byte, tag string, rest []byte, err error) {
	if len(b) < 2 || b[1] > tagMost || len(b) < 2+int(b[1]) {
		return 0, "", nil, errMessage
	}
	end := 2 + int(b[1])
	return b[0], string(b[2:end]), b[end:], nil
}

func appendQuestion(tag string, number uint64, wait time.Duration, question []byte) []byte {
	b := appendHead(make([]byte, 0, len(question)+tagMost), kindAsk, tag)
	b = binary.AppendUvarint(b, number)
	b = binary.AppendUvarint(b, uint64(max(wait.Milliseconds(), 0)))
	return append(b, question...)
}

func readQuestion(b []byte) (number uint64, wait time.Duration, question []byte, err error) {
	number, b, err = readNumber(b)
	if err != nil {
		return 0, 0, nil, err
	}
	ms, b, err := readNumber(b)
	if err != nil {
		return 0, 0, nil, err
	}
	return number, time.Duration(min(ms, uint64(waitMost.Milliseconds()))) * time.Millisecond, b, nil
}

func appendAnswer(kind byte, tag string, number uint64, answer []byte) []byte {
	b := appendHead(make([]byte, 0, len(answer)+tagMost), kind, tag)
	b = binary.AppendUvarint(b, number)
	return append(b, answer...)
}

func readNumber(b []byte) (number uint64, rest []byte, err error) {
	number, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, errMessage
	}
	return number, b[n:], nil
}
