package main

import (
	"encoding/binary"
	"encoding/json"
)

var framePing = frame([]byte("2"))

func openPacket(sid string) []byte {
	return []byte(`0{"sid":"` + sid + `","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)
}

// frame returns payload as a whole text frame of a server (unmasked).
func frame(payload []byte) []byte {
	b := make([]byte, 0, len(payload)+4)
	b = append(b, 0x81)
	if n := len(payload); n < 126 {
		b = append(b, byte(n))
	} else {
		b = append(b, 126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return append(b, payload...)
}

// event decodes what a client sent and frames it anew, once for everybody: as
// a host's handler would, which gets a value and emits a value.
func event(p []byte) (out []byte, ok bool) {
	var args []json.RawMessage
	if err := json.Unmarshal(p[2:], &args); err != nil || len(args) < 2 {
		return nil, false
	}
	var name, text string
	if json.Unmarshal(args[0], &name) != nil || json.Unmarshal(args[1], &text) != nil || name != "msg" {
		return nil, false
	}
	enc, err := json.Marshal([2]string{name, text})
	if err != nil || len(enc) > 60000 {
		return nil, false
	}
	return frame(append([]byte("42"), enc...)), true
}
