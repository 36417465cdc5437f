// Package engineio is the server side of Engine.IO, protocol versions 4 and 3: handshake, long polling,
// WebSocket, upgrade, heartbeat, and the session with its outbox. It knows nothing of Socket.IO but that a
// message is text followed by a number of binary messages.
package engineio

import (
	"errors"
	"net/http"
	"time"
)

// A Config holds the settings of a Server. The root package fills in every field; there are no defaults here.
type Config struct {
	Tag            string // of the process in its cluster: session ids begin with it and a dot. Empty: they do not
	PingInterval   time.Duration
	PingTimeout    time.Duration
	UpgradeTimeout time.Duration // a WebSocket that does not probe by then is dropped, the session stays on polling. One that has, has a heartbeat's time, if that is longer
	WriteTimeout   time.Duration // one write to a WebSocket, or to a poll's response
	MaxPayload     int           // bytes of one incoming message, or of one POST body
	Outbox         int           // bytes queued for one session
	Pending        int           // sessions that are not settled (see Session.Settle): a handshake beyond ends one of the origin that has most, or the oldest of all; 0: no bound. Where its own has most, and none is older than a second, it is refused with 503
	PendingEach    int           // of those, of one origin: a handshake beyond is refused with 429; 0: no bound
	Probes         int           // upgrades not completed, of all sessions: one beyond is refused, its session goes on by polling; 0: no bound
	Legacy         bool          // serve EIO=3
	LegacyUpgrades bool          // offer websocket in the handshake of EIO=3 polling sessions
	Compression    bool          // permessage-deflate (RFC 7692), no context takeover
	GzipFrom       int           // polling responses of at least so many bytes are compressed when the client takes gzip; 0: never

	// Accept is asked for each handshake, before anything is answered, on the request's goroutine. The
	// session can be sent to from then on; what is sent follows the open packet. An error refuses: a *Refusal
	// with its status and body, anything else with 500. r must not be kept.
	Accept func(s *Session, r *http.Request) (Handler, error)

	// Origin is whom a handshake counts for in Pending and PendingEach. r must not be kept. nil: all are one.
	Origin func(r *http.Request) string

	// Limited is told of each refusal by Pending, PendingEach or Probes (LimitPending, LimitPendingEach, LimitProbes), on the
	// request's goroutine. r must not be kept. nil: nobody.
	Limited func(r *http.Request, what string)
}

// A Refusal is an answer to a handshake that is not accepted.
type Refusal struct {
	Status  int
	Header  http.Header // optional, e.g. Retry-After
	Code    int         // of the Engine.IO error body {"code":…,"message":…}
	Message string
}

func (r *Refusal) Error() string { return r.Message }

// A Handler takes what comes in on one session. It may be a Farewell.
type Handler interface {
	// Text and Binary take a message, in the order of arrival, one at a time. They run on the goroutine that
	// reads the session and may block it (which is the back pressure against a flood: heartbeats are not
	// missed meanwhile). data is the session's and valid until the return only. An error closes the session
	// with ReasonParse, ErrTooLarge with ReasonTooLarge.
	Text(data []byte) error
	Binary(data []byte) error
	// Closed is called once, after the last Text or Binary has returned, on a goroutine of its own: never
	// from within Send or Close. unsent are the tags, in order, of the packets with a Tag that were never
	// handed to the connection whole.
	Closed(reason Reason, unsent []uint64)
}

// ErrTooLarge is returned by a Handler for a message that is too large together with others.
var ErrTooLarge = errors.New("engineio: message is too large")

// A Reason says why a session ended. The texts are those of Socket.IO's disconnect event where it has one.
type Reason string

const (
	ReasonTransportClose Reason = "transport close" // the client closed, or its connection broke
	ReasonTransportError Reason = "transport error" // the protocol was violated, a poll was given up, a write failed
	ReasonPingTimeout    Reason = "ping timeout"
	ReasonParse          Reason = "parse error"
	ReasonForced         Reason = "forced close" // Close was called
	ReasonShutdown       Reason = "server shutting down"
	ReasonTooLarge       Reason = "payload too large"
	ReasonSlowConsumer   Reason = "slow consumer" // the outbox overflowed, or a write did not end in WriteTimeout
)
