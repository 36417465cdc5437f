// Package socketio is the server side of Socket.IO, protocol version 5: packets, namespaces, acks, binary. It
// knows nothing of rooms and messages; it speaks pid and offset and asks the package above for the rest.
//
// The interfaces between a protocol's connection and the hub are here too, since internal/legacy, which
// serves the versions before, fills them as well: above them there is one kind of client.
package socketio

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/parleychat/chat/internal/engineio"
)

// Backend is the hub, as a connection sees it.
type Backend interface {
	// Known tells whether a namespace exists. The name begins with a slash and has no query.
	Known(namespace string) bool
	// Authorize decides on a CONNECT to a known namespace. It may block (auth runs in it), until ctx ends,
	// which it does with the session. A
	// *ConnectError refuses; it is sent to the client.
	Authorize(ctx context.Context, req *ConnectRequest) (Ticket, *ConnectError)
	// Enter makes a client of what was authorized. First of all it calls link.Accepted, then anything may be
	// sent by the link. It does not block. nil: the hub took nobody in after all, and has called
	// link.Disconnect or closed the session.
	Enter(t Ticket, link Link) Socket
	// Dropped counts a packet that the protocol lets pass and nobody takes: an unknown ack id, an event to a
	// namespace not joined, a reserved event name.
	Dropped(what string)
}

// Ticket is the hub's own; what Authorize gave is handed to Enter once, or to Void.
type Ticket interface {
	// Void gives the ticket back: its client went away before Enter.
	Void()
}

// A ConnectRequest is a CONNECT packet and where it came from.
type ConnectRequest struct {
	Namespace string
	Handshake *Handshake
	Auth      json.RawMessage // the auth object without pid and offset; nil where the client sent none
	PID       string          // of connection state recovery; empty: none asked for
	Offset    string
	Query     url.Values // query of the namespace (protocol 4 and before: "/admin?a=b"); nil: none
	Protocol  int        // of Socket.IO: 5, or 4 for what goes through internal/legacy
}

// Handshake is what stays of the handshake's HTTP request until auth has run.
type Handshake struct {
	Request   *http.Request // of which only URL, Header, Host, RemoteAddr, TLS, and Context's values may be used; no body
	Transport string        // at the time of the handshake
	RequestID string        // of the handshake's request
}

// ConnectError refuses a CONNECT.
type ConnectError struct {
	Message string
	Data    any // JSON; nil: none

	// Later: there is nothing to tell but that the server goes away. A client that is refused stays away; with only its
	// transport closed it comes back to whoever serves the address next. While it is in another namespace there is no answer: the hub
	// closes the session when its turn comes.
	Later bool

	// End closes the session behind the answer: of one who asks again and again.
	End bool
}

// A Socket is one client of one namespace, as its connection sees it: the hub's end.
type Socket interface {
	// Event takes an event in the order of arrival, on the goroutine that reads the session; it may block as
	// back pressure only.
	Event(e Event)
	// Closed is called once, after the last Event: the client's packet DISCONNECT, Link.Disconnect, or the
	// session's end. It runs on the session's goroutine or on one of its own, never from within a method of
	// Link. unsent are the tags of the whole session, those of other namespaces among them; nil where the
	// session goes on.
	Closed(reason engineio.Reason, unsent []uint64)
}

// Reasons beside those of engineio.
const (
	ReasonClientDisconnect engineio.Reason = "client namespace disconnect"
	ReasonServerDisconnect engineio.Reason = "server namespace disconnect"
)

// An Event is what a client emitted. It owns its memory.
type Event struct {
	Name   string
	Args   Args
	ID     uint64 // of the ack that is asked for
	HasAck bool
	Size   int // bytes that it holds, for bounds

	// RequestID is the X-Request-Id of the POST that it came by; empty: it had none, or it came by WebSocket.
	RequestID string

	// TooDeep: a good packet whose arguments nest deeper than Limits.Depth. It has no Args; the sender is
	// owed an error.
	TooDeep bool
}

// Args are the arguments of an event or an ack: JSON texts in which {"_placeholder":true,"num":N} stands for
// Attachments[N]. The texts are valid JSON, within the limit of depth, and every placeholder is good (its
// number in range, each used once).
type Args struct {
	Values      []json.RawMessage
	Attachments [][]byte
}

// A Link is one client's way out: what the hub holds of a connection to a namespace.
type Link interface {
	// Accepted answers the CONNECT with sid, and with pid where it is not empty. (With protocol 4 that has
	// been answered before: it does nothing.)
	Accepted(sid, pid string)
	// Session takes ready packets made for the link's namespace, events as well as acks.
	Session() *engineio.Session
	// Call emits an event with an ack; reply is called at most once, on the goroutine that reads the session
	// (so it must not block), or never when the client does not answer. cancel forgets the call.
	Call(event string, args Encoded, reply func(Args)) (cancel func())
	// Disconnect sends the packet DISCONNECT for this namespace, after what is queued, and ends in
	// Socket.Closed with ReasonServerDisconnect. closeTransport ends the session as well.
	Disconnect(closeTransport bool)
}

// Limits bound what a connection takes.
type Limits struct {
	Depth       int // of nested JSON
	Attachments int // of one packet
	Payload     int // bytes of one packet, text and attachments together
}

// Encoded are arguments ready to be put into a packet: JSON texts joined by commas, without brackets, with
// placeholders numbered from 0, and the attachments. It is immutable and may be shared by packets.
type Encoded struct {
	JSON        []byte
	Attachments [][]byte
}

// Config is shared by the connections of a server.
type Config struct {
	Backend        Backend
	Limits         Limits
	ConnectTimeout time.Duration
	KeepHandshake  bool         // more than one namespace exists: the handshake stays for later CONNECTs
	Logger         *slog.Logger // nil: slog.Default()

	// Farewell gives the arguments of the event "error" that a client is sent, in each namespace that it has
	// joined, before its session ends with ReasonTooLarge or ReasonSlowConsumer. It must not block. nil: there is no such event.
	Farewell func(reason engineio.Reason) Encoded
}

// Farewells are the packets of an engineio.Farewell to a client of these namespaces.
func (c *Config) Farewells(reason engineio.Reason, namespaces []string) []*engineio.Packet {
	if c.Farewell == nil || len(namespaces) == 0 {
		return nil
	}
	args := c.Farewell(reason)
	packets := make([]*engineio.Packet, len(namespaces))
	for i, n := range namespaces {
		packets[i] = EventPacket(n, "error", args, nil, "")
	}
	return packets
}

// Log is the log to write to.
func (c *Config) Log() *slog.Logger {
	if c.Logger == nil {
		return slog.Default()
	}
	return c.Logger
}
