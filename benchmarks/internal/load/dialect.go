package load

import (
	"bytes"
	"fmt"
	"strings"
)

// A dialect is what a server wants to hear, above WebSocket frames.
type dialect interface {
	// path is the request target of the handshake.
	path() string
	// hello is sent after the handshake; nil if the server speaks first.
	hello() []byte
	// take looks at one text frame. It returns an answer to send, how many
	// deliveries the frame holds, and whether the connection is now joined.
	take(c *conn, payload []byte) (answer []byte, deliveries int, joined bool)
	// event is the text frame that broadcasts text; seq differs for each.
	event(text string, seq int) []byte
}

// Dialects lists the names that a Load takes.
var Dialects = []string{"eio4", "eio3", "long", "chat", "log", "centrifuge", "plain"}

func dialectOf(name string) (dialect, error) {
	switch name {
	case "eio4":
		return eio{version: 4}, nil
	case "eio3":
		return eio{version: 3}, nil
	case "long":
		return long{eio{version: 4}}, nil
	case "chat":
		return chatMessage{eio{version: 4}}, nil
	case "log":
		return joiner{eio{version: 4}}, nil
	case "centrifuge":
		return centrifuge{}, nil
	case "plain":
		return plain{}, nil
	}
	return nil, fmt.Errorf("load: no dialect %q", name)
}

// eio is Socket.IO over Engine.IO: 5 over 4, or 2 over 3. In version 4 the
// client asks for the namespace and the server pings; in version 3 the server
// connects the client unasked and the client pings, which it may leave out for
// less than the server's timeout (25 s and more in all that are measured).
type eio struct{ version int }

var (
	packetEvent   = []byte(`42["msg"`)
	packetConnect = []byte("40")
)

func (d eio) path() string {
	return fmt.Sprintf("/socket.io/?EIO=%d&transport=websocket", d.version)
}

func (d eio) hello() []byte { return nil }

func (d eio) take(_ *conn, p []byte) (answer []byte, deliveries int, joined bool) {
	switch {
	case bytes.HasPrefix(p, packetEvent):
		return nil, 1, false
	case len(p) == 0:
		return nil, 0, false
	case p[0] == '0' && d.version == 4:
		return packetConnect, 0, false
	case p[0] == '2' && d.version == 4:
		return []byte("3"), 0, false
	case bytes.HasPrefix(p, packetConnect):
		return nil, 0, true
	}
	return nil, 0, false
}

func (d eio) event(text string, _ int) []byte {
	return []byte(`42["msg","` + text + `"]`)
}

// long is eio with as many bytes in an event as an entry of the log has, which tells what the bytes cost from what saving costs.
type long struct{ eio }

const entryFields = 280 // bytes of an entry beside its text

func (l long) event(text string, seq int) []byte {
	return l.eio.event(text+strings.Repeat("x", entryFields), seq)
}

// centrifuge is its JSON protocol: several replies may share a frame, one a
// line. The server subscribes each client to the channel on connect.
type centrifuge struct{}

var (
	centrifugePush    = []byte(`"pub":{`)
	centrifugeConnect = []byte(`"connect":{`)
)

func (centrifuge) path() string  { return "/connection/websocket" }
func (centrifuge) hello() []byte { return []byte(`{"id":1,"connect":{}}`) }

func (centrifuge) take(c *conn, p []byte) (answer []byte, deliveries int, joined bool) {
	if string(p) == "{}" {
		return []byte("{}"), 0, false
	}
	if !c.joined && bytes.Contains(p, centrifugeConnect) {
		return nil, 0, true
	}
	return nil, bytes.Count(p, centrifugePush), false
}

func (centrifuge) event(text string, seq int) []byte {
	return fmt.Appendf(nil, `{"id":%d,"publish":{"channel":"bench","data":"%s"}}`, seq+2, text)
}

// plain is a text frame and nothing above it: for the comparison of WebSocket
// libraries. The server says "hi" when the connection has joined.
type plain struct{}

func (plain) path() string  { return "/" }
func (plain) hello() []byte { return nil }

func (plain) take(c *conn, p []byte) (answer []byte, deliveries int, joined bool) {
	if !c.joined {
		return nil, 0, string(p) == "hi"
	}
	return nil, 1, false
}

func (plain) event(text string, _ int) []byte { return []byte(text) }
