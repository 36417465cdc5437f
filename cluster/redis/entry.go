package redis

import (
	"encoding/binary"
	"errors"
)

// An entry of a stream has one field, whose value is publications one after the other: the length of each as an unsigned varint, and its bytes.
const (
	entryField = "p"
	entryMost  = 64 << 10 // bytes of an entry, unless one publication alone has more
)

func appendPublication(entry, data []byte) []byte {
	return append(binary.AppendUvarint(entry, uint64(len(data))), data...)
}

var errEntry = errors.New("chat/redis: an entry that is none of this version's")

// publications calls f with each publication of an entry. Nothing is called for an entry that is malformed.
func publications(entry []byte, f func(data []byte)) error {
	for rest := entry; len(rest) > 0; {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > uint64(len(rest)-used) {
			return errEntry
		}
		rest = rest[used+int(n):]
	}
	for len(entry) > 0 {
		n, used := binary.Uvarint(entry)
		end := used + int(n)
		f(entry[used:end:end])
		entry = entry[end:]
	}
	return nil
}
