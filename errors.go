package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
)

// ErrClosed is what an emit or a post on a Hub returns after Shutdown.
var ErrClosed = errors.New("chat: hub is shut down")

// ErrDisconnected is what a call to a client returns when the client has left.
var ErrDisconnected = errors.New("chat: client has disconnected")

// ErrNoAck returned by a handler leaves the event without an answer of any kind: for pages that take no ack
// for a no, and try again.
var ErrNoAck = errors.New("chat: no ack")

// A Code tells a page what kind of failure it met.
type Code string

// The codes that a Hub uses itself. A host may use others of its own.
const (
	InvalidPayload Code = "INVALID_PAYLOAD"
	UnknownEvent   Code = "UNKNOWN_EVENT"
	Unauthorized   Code = "UNAUTHORIZED"
	TokenExpired   Code = "TOKEN_EXPIRED"
	Forbidden      Code = "FORBIDDEN"
	NotFound       Code = "NOT_FOUND"
	NotMember      Code = "NOT_MEMBER"
	RateLimited    Code = "RATE_LIMITED"
	TooLarge       Code = "TOO_LARGE"
	Rejected       Code = "REJECTED"
	SlowConsumer   Code = "SLOW_CONSUMER"
	Unavailable    Code = "UNAVAILABLE"
	Internal       Code = "INTERNAL"
)

// An Error is the only kind of error whose text a browser gets to see, in an ack ({"ok":false,"error":{…}}),
// in the event "error", or as the data of a connect_error. Any other error that a handler or a hook returns
// reaches it as Internal and goes to the log.
type Error struct {
	Code    Code
	Message string
	Data    map[string]any // further fields of the JSON object; "code" and "message" in it are ignored
}

// Errorf makes an Error of a code and a text. Use Rejected, or a code of the host's own, where none of the
// Hub's fits.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return "chat: " + string(e.Code) + ": " + e.Message }

// MarshalJSON makes {"code":…,"message":…} with the fields of Data beside them.
func (e *Error) MarshalJSON() ([]byte, error) {
	fields := make(map[string]any, len(e.Data)+2)
	maps.Copy(fields, e.Data)
	fields["code"], fields["message"] = e.Code, e.Message
	return json.Marshal(fields)
}

// visible is what a page may see of err; ok is false where that is less than the log should hold.
func visible(err error) (e *Error, ok bool) {
	if errors.As(err, &e) && e != nil {
		return e, true
	}
	return &Error{Code: Internal, Message: "internal error"}, false
}

// eventShown is how many bytes of an event's name an error, and the log, repeat. The name is the client's, and may be as
// long as a payload.
const eventShown = 128

func shown(event string) string {
	if len(event) > eventShown {
		event = strings.ToValidUTF8(event[:eventShown], "")
	}
	return event
}

// forEvent is e with the name of the event that failed, if it is of one, as the event "error" has it.
func (e *Error) forEvent(event string) *Error {
	if event == "" {
		return e
	}
	data := maps.Clone(e.Data)
	if data == nil {
		data = make(map[string]any, 1)
	}
	data["event"] = shown(event)
	return &Error{Code: e.Code, Message: e.Message, Data: data}
}
