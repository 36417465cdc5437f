package chattest

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// A packet is a Socket.IO packet as it comes from the server.
type packet struct {
	kind        byte
	due         int // attachments that are to come
	namespace   string
	id          *uint64
	data        string
	attachments [][]byte
}

var errPacket = errors.New("the server sent an invalid packet")

func parsePacket(text string) (packet, error) {
	p := packet{namespace: "/"}
	if text == "" || text[0] < '0' || text[0] > '6' {
		return p, errPacket
	}
	p.kind, text = text[0], text[1:]
	if p.kind == '5' || p.kind == '6' {
		count, rest, ok := strings.Cut(text, "-")
		n, err := strconv.Atoi(count)
		if !ok || err != nil || n < 1 {
			return p, errPacket
		}
		p.due, text = n, rest
		p.kind -= '5' - '2'
	}
	if strings.HasPrefix(text, "/") {
		p.namespace, text, _ = strings.Cut(text, ",")
	}
	rest := strings.TrimLeft(text, "0123456789")
	if digits := text[:len(text)-len(rest)]; digits != "" {
		id, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return p, errPacket
		}
		p.id = &id
	}
	p.data = rest
	if rest != "" && !json.Valid([]byte(rest)) {
		return p, errPacket
	}
	return p, nil
}

// array gives the elements of a packet's data.
func (p *packet) array() ([]json.RawMessage, error) {
	var values []json.RawMessage
	if err := json.Unmarshal([]byte(p.data), &values); err != nil || values == nil {
		return nil, errPacket
	}
	return values, nil
}
