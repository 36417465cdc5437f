// Package chattest is a Socket.IO client for tests of what is built on package chat. It talks to an
// http.Handler in memory: no port, no real network, so that it also works in a bubble of testing/synctest.
//
//	c := chattest.Dial(t, hub, chattest.Auth(map[string]string{"token": "ann"}))
//	c.Emit("cursor", Cursor{X: 1})
//	var text string
//	c.Expect("alert").Decode(0, &text)
//
// The client speaks Socket.IO 5 over Engine.IO 4, as socket.io-client 3 and 4 do. A method that cannot do
// what it is for fails the test; those that wait do so for five seconds (Timeout) at most. Methods are for
// the goroutine of the test unless they say otherwise. What was dialled is closed when the test ends.
package chattest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
)

// A DialError says that a connection was refused, by the server (Status) or by the namespace, as a client's
// connect_error tells it.
type DialError struct {
	Status  int             // of HTTP; 0: it came as far as the namespace
	Message string          // of connect_error, or the body of the answer
	Data    json.RawMessage // data of connect_error; nil: none
}

func (e *DialError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("chattest: status %d: %s", e.Status, e.Message)
	}
	return "chattest: connect_error: " + e.Message
}

// Dial connects a client to the hub. h may as well be a mux with a hub at /socket.io/.
func Dial(t testing.TB, h http.Handler, opts ...Option) *Client {
	t.Helper()
	c, err := TryDial(t, h, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TryDial is Dial for connections that may be refused: then the error is a *DialError.
func TryDial(t testing.TB, h http.Handler, opts ...Option) (*Client, error) {
	t.Helper()
	o := newOptions(opts)
	c := &Client{t: t, o: o, server: serve(h, o.remoteAddr), answers: map[string]func(Args) []any{}, changed: make(chan struct{})}
	t.Cleanup(c.cleanup)
	c.pid, c.offset = o.pid, o.offset
	if err := c.connect(); err != nil {
		return nil, err
	}
	return c, nil
}

var errTimeout = errors.New("chattest: no answer in time")
