package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// Disconnect within Event: Closed waits for the Event to return.
func TestDisconnectWithinEvent(t *testing.T) {
	b := &backend{event: func(c *client, e socketio.Event) {
		c.link.Disconnect(false)
		time.Sleep(time.Second)
	}}
	inBubble(t, b, func(w *world) {
		c := w.join()
		w.send(`42["leave"]`, `42["late"]`)
		time.Sleep(2 * time.Second)
		w.expect("41")
		if got := c.reasons(); got != "[server namespace disconnect]" || len(c.events) != 1 {
			w.Error(got, len(c.events))
		}
	})
}

func TestDisconnectWithinEnter(t *testing.T) {
	for _, nobody := range []bool{false, true} {
		b := &backend{nobody: nobody}
		if !nobody {
			b.enter = func(l socketio.Link) { l.Disconnect(false) }
		}
		inBubbleNamed(t, fmt.Sprint(nobody), b, func(w *world) {
			w.send("40")
			w.expect(`40{"sid":"sid1"}`, `42["auth",{}]`, `41`)
			want := "[server namespace disconnect]"
			if nobody {
				want = "[]"
			}
			if got := b.last().reasons(); got != want {
				w.Error(got)
			}
			b.enter, b.nobody = nil, false
			w.send("40")
			w.expect(`40{"sid":"sid2"}`, `42["auth",{}]`)
		})
	}
}

// A client may answer before Enter has returned to the connection: nothing of it is lost.
func TestEventsDuringEnter(t *testing.T) {
	release := make(chan struct{})
	b := &backend{enter: func(socketio.Link) { <-release }}
	inBubble(t, b, func(w *world) {
		release = make(chan struct{}) // of the bubble
		w.send("40")
		w.expect(`40{"sid":"sid1"}`, `42["auth",{}]`)
		w.send(`42["message",1]`)
		w.expect()
		close(release)
		w.expect(`42["message-back",1]`)
	})
}

func TestSessionEndsDuringEnter(t *testing.T) {
	var release chan struct{}
	b := &backend{enter: func(socketio.Link) { <-release }}
	inBubble(t, b, func(w *world) {
		release = make(chan struct{})
		w.send("40")
		w.expect(`40{"sid":"sid1"}`, `42["auth",{}]`)
		w.Close()
		synctest.Wait()
		if w.srv.Len() != 1 || b.last().reasons() != "[]" {
			w.Error(w.srv.Len(), b.last().reasons())
		}
		close(release)
		synctest.Wait()
		if got := b.last().reasons(); got != "[transport close]" || w.srv.Len() != 0 {
			w.Error(got)
		}
	})
}

func TestSessionEndsDuringAuthorize(t *testing.T) {
	var ended error
	b := &backend{authorize: func(ctx context.Context, _ *socketio.ConnectRequest) *socketio.ConnectError {
		<-ctx.Done()
		ended = ctx.Err()
		return nil
	}}
	inBubble(t, b, func(w *world) {
		w.send("40", "40", `42["message"]`)
		w.expect()
		w.wantDropped("CONNECT to a namespace joined already", "packet to a namespace not joined")
		w.Close()
		synctest.Wait()
		if !errors.Is(ended, context.Canceled) || b.voided.Load() != 1 || len(b.clients) != 0 {
			w.Error(ended, b.voided.Load())
		}
	})
}

func TestClientLeavesDuringAuthorize(t *testing.T) {
	b := &backend{authorize: func(ctx context.Context, _ *socketio.ConnectRequest) *socketio.ConnectError {
		<-ctx.Done()
		return nil
	}}
	inBubble(t, b, func(w *world) {
		w.send("40", "41")
		w.expect()
		w.wantDropped()
		if b.voided.Load() != 1 || len(b.clients) != 0 {
			w.Error(b.voided.Load())
		}
	})
}

func TestTooManyNamespacesAtOnce(t *testing.T) {
	b := &backend{authorize: func(ctx context.Context, _ *socketio.ConnectRequest) *socketio.ConnectError {
		<-ctx.Done()
		return &socketio.ConnectError{}
	}}
	inBubble(t, b, func(w *world) {
		for i := range 101 {
			w.send(fmt.Sprintf("40/custom%d", i))
		}
		w.expect(`44/custom100,{"message":"too many namespaces at once"}`)
	})
}

// An auth that does not look at its context must not let one session gather goroutines.
func TestLeavingDoesNotEvadeTheBound(t *testing.T) {
	var release chan struct{}
	b := &backend{authorize: func(context.Context, *socketio.ConnectRequest) *socketio.ConnectError {
		<-release
		return nil
	}}
	inBubble(t, b, func(w *world) {
		release = make(chan struct{})
		for range 100 {
			w.send("40", "41")
		}
		w.expect()
		w.send("40")
		w.expect(`44{"message":"too many namespaces at once"}`)
		close(release)
		synctest.Wait()
		if n := b.voided.Load(); n != 100 {
			w.Error(n)
		}
	})
}

func TestConnectTimeout(t *testing.T) {
	b := &backend{}
	inBubble(t, b, func(w *world) {
		time.Sleep(9 * time.Second)
		w.send("40/random")
		w.expect(`44/random,{"message":"Invalid namespace"}`)
		time.Sleep(2 * time.Second)
		w.expect("closed")
	})
}

func TestConnectTimeoutAfterTheLastLeft(t *testing.T) {
	inBubble(t, &backend{}, func(w *world) {
		c := w.join()
		time.Sleep(20 * time.Second)
		w.expect()
		c.link.Disconnect(false)
		w.expect("41")
		time.Sleep(9 * time.Second)
		w.expect("2")
		w.send("3")
		time.Sleep(2 * time.Second)
		w.expect("closed")
	})
}

// Who goes on sending after the disconnect packet is not read for the whole of the connect timeout.
func TestStrays(t *testing.T) {
	inBubble(t, &backend{}, func(w *world) {
		c := w.join()
		c.link.Disconnect(false)
		w.expect("41")
		packet := `42["message","` + strings.Repeat("x", 50<<10) + `"]`
		for range 5 {
			w.send(packet)
		}
		w.send(`42[not JSON`) // nobody looks
		w.expect()
		w.send(packet)
		w.expect("closed")
		if got := c.reasons(); got != "[server namespace disconnect]" {
			t.Error(got)
		}
	})
}

// The bound is for those who have no namespace.
func TestStraysBesideANamespace(t *testing.T) {
	inBubble(t, &backend{}, func(w *world) {
		w.join()
		for range 20 {
			w.send(`42/custom,["message","` + strings.Repeat("x", 50<<10) + `"]`)
		}
		w.send(`42["message","alive"]`)
		w.expect(`42["message-back","alive"]`)
	})
}
