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

// appendPublications appends the publications of an entry; none of one that is malformed.
func appendPublications(to [][]byte, entry []byte) ([][]byte, error) {
	before := len(to)
	for len(entry) > 0 {
		n, used := binary.Uvarint(entry)
		if used <= 0 || n > uint64(len(entry)-used) {
			return to[:before], errEntry
		}
		end := used + int(n)
		to = append(to, entry[used:end:end])
		entry = entry[end:]
	}
	return to, nil
}
