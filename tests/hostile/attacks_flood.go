package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// Floods come from members with good tokens, each of an address of its own, who come back at once when they are thrown out, as the same user.
const (
	flooders = 16
	volley   = 50                    // frames at once
	breath   = 10 * time.Millisecond // and the time to the next
)

// flood sends volleys of what frame gives, the n-th of one connection each.
func flood(name, what string, must []string, frame func(n int) []byte) attack {
	return attack{name: "flood: " + name, what: fmt.Sprintf("%d members: %s; %d at once, each %v", flooders, what, volley, breath), must: append(must, "joined"), run: func(w *world) {
		w.crowd(w.size(flooders), 20*time.Millisecond, func(i int) {
			c := w.member(i, authOf(w.account(i)))
			if c == nil {
				return
			}
			w.pour(c, frame)
		})
	}}
}

// events is frame for one event after another, each with an ack.
func events(event func(n int) string) func(int) []byte {
	return func(n int) []byte { return appendFrame(nil, ws.OpText, []byte(event(n))) }
}

func (w *world) pour(c *webSocket, frame func(n int) []byte) {
	over := make(chan struct{})
	w.go1(func() {
		defer close(over)
		w.answers(c)
		_ = c.Close()
	})
	sent := 0
	var b []byte
	for w.Err() == nil {
		b = b[:0]
		for range volley {
			b = append(b, frame(sent)...)
			sent++
		}
		_ = c.SetWriteDeadline(time.Now().Add(patience))
		if _, err := c.Write(b); err != nil {
			break
		}
		w.add("sent", volley)
		w.sleep(time.Duration(float64(breath) / w.scale))
	}
	select {
	case <-over:
	case <-w.Done():
	case <-time.After(patience):
	}
	_ = c.Close()
	<-over
}

// answers counts what a member is told, until its connection ends.
func (w *world) answers(c *webSocket) {
	got := map[string]int{}
	defer func() {
		for k, n := range got {
			w.add(k, n)
		}
	}()
	for {
		op, b, err := c.next()
		switch {
		case err != nil:
			if w.Err() == nil {
				got["closed by the server"]++
			}
			return
		case op == ws.OpClose:
			got[fmt.Sprintf("close frame %d", closeCode(b))]++
		case op == ws.OpPong:
			got["pong"]++
		case op != ws.OpText:
		case string(b) == "2":
			_ = c.text("3") // which fails when it is over
		case bytes.HasPrefix(b, []byte("41")):
			got["disconnect packet"]++
		case bytes.HasPrefix(b, []byte(`42["error"`)):
			got["error "+codeIn(b)]++
		case bytes.HasPrefix(b, []byte("44")):
			got["connect_error "+codeIn(b)]++
		case bytes.HasPrefix(b, []byte("43")) && bytes.Contains(b, []byte(`"ok":true`)):
			got["ack ok"]++
		case bytes.HasPrefix(b, []byte("43")):
			got["ack "+codeIn(b)]++
		}
	}
}

var limited = []string{"ack RATE_LIMITED", "disconnect packet"}

var floods = []attack{
	flood("chat_message", "chat_message of 100 characters", limited, events(func(n int) string {
		return fmt.Sprintf(`42%d["chat_message",{"room":"chat","text":"%s"}]`, n, strings.Repeat("flood ", 17))
	})),
	flood("chat_message without acks", "chat_message without an ack", []string{"error RATE_LIMITED", "disconnect packet"}, events(func(int) string {
		return `42["chat_message","flood"]`
	})),
	flood("long chat_message", "chat_message of 7,900 characters", limited, events(func(n int) string {
		return fmt.Sprintf(`42%d["chat_message",{"text":"%s"}]`, n, strings.Repeat("x", 7900))
	})),
	flood("join_room", "join_room of ever new names", limited, events(func(n int) string {
		return fmt.Sprintf(`42%d["join_room",{"room":"r%d.%d"}]`, n, n, time.Now().UnixNano())
	})),
	flood("leave_room", "join_room and leave_room of one room", limited, events(func(n int) string {
		return fmt.Sprintf(`42%d["%s",{"room":"coming-and-going"}]`, n, []string{"join_room", "leave_room"}[n%2])
	})),
	flood("typing", "typing, on and off", limited, events(func(n int) string {
		return fmt.Sprintf(`42%d["typing",{"room":"chat","on":%t}]`, n, n%2 == 0)
	})),
	flood("history", "history of the largest pages", limited, events(func(n int) string {
		return fmt.Sprintf(`42%d["history",{"room":"chat","after":%d,"limit":200}]`, n, n%1000)
	})),
	flood("refresh_auth", "refresh_auth with tokens that are signed by another", []string{"ack UNAUTHORIZED", "ack RATE_LIMITED"}, events(func(n int) string {
		return fmt.Sprintf(`42%d["refresh_auth",%s]`, n, tokenAuth(foreign))
	})),
	flood("unknown events", "events that there are not", []string{"ack UNKNOWN_EVENT", "ack RATE_LIMITED"}, events(func(n int) string {
		return fmt.Sprintf(`42%d["event-%d",{"a":[1,2,3]}]`, n, n)
	})),
	flood("acks", "acks that nobody asked for, and now and then an event behind them, which has to be answered", []string{"ack ok"}, events(func(n int) string {
		if n%1000 == 999 {
			return fmt.Sprintf(`42%d["typing",{"room":"chat","on":%t}]`, n, n%2000 == 999)
		}
		return fmt.Sprintf(`43%d[{"ok":true}]`, n)
	})),
	flood("binary", "binary events with attachments, and binary frames that belong to nothing", []string{"closed by the server"}, func(n int) []byte {
		if n%40 == 39 {
			return appendFrame(nil, ws.OpBinary, bytes.Repeat([]byte{0xff, 0}, 100))
		}
		b := appendFrame(nil, ws.OpText, fmt.Appendf(nil, `451-%d["blob",{"_placeholder":true,"num":0}]`, n))
		return appendFrame(b, ws.OpBinary, bytes.Repeat([]byte{0xff, 0}, 500))
	}),
	flood("junk", "text that is no packet", []string{"closed by the server"}, func(n int) []byte {
		return appendFrame(nil, ws.OpText, []byte([]string{"42[", "9", "4", "42{}", `42["`, "4599-[]", "\x00"}[n%7]))
	}),
	flood("pings", "pings of WebSocket", []string{"pong"}, func(int) []byte { return appendFrame(nil, ws.OpPing, []byte("are you there")) }),
	flood("namespaces", "CONNECTs to namespaces that there are not", []string{"connect_error no code"}, events(func(n int) string { return fmt.Sprintf("40/space-%d,{}", n) })),
}

var foreign = sign(goodClaims("attacker"), "HS256", "a secret that is not the server's, and long enough")
