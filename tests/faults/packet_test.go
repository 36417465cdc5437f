package faults_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parleychat/chat"
)

// An outcome is what a case must come to.
type outcome struct {
	closed  bool   // otherwise the connection stays
	polite  bool   // closed by the client's own wish: over polling that is answered 200
	answer  string // how the packet begins that answers, where one does
	dropped int64  // by how much Stats.Dropped must grow at least
}

var (
	closes = outcome{closed: true}
	stays  = outcome{}
	drops  = outcome{dropped: 1}
)

func answers(prefix string) outcome { return outcome{answer: prefix} }

// invalid is the answer to an event with ack 1 and a bad payload.
var invalid = answers(`431[{"ok":false,"error":{"code":"INVALID_PAYLOAD"`)

// A fault is what one connected client sends.
type fault struct {
	name   string
	frames []frame
	want   outcome
	old    *outcome // what the 1.x and 2.x clients get instead
	log    string   // what the log must then hold
}

func texts(data ...string) []frame {
	frames := make([]frame, len(data))
	for i, d := range data {
		frames[i] = text4(d)
	}
	return frames
}

func (f fault) legacy(want outcome) fault {
	f.old = &want
	return f
}

func (f fault) logs(text string) fault {
	f.log = text
	return f
}

func of(name string, want outcome, data ...string) fault {
	return fault{name: name, want: want, frames: texts(data...)}
}

// withBinary is a text and one attachment, and more texts.
func withBinary(name string, want outcome, text string, more ...string) fault {
	frames := []frame{text4(text), binary4("\x01\x02")}
	return fault{name: name, want: want, frames: append(frames, texts(more...)...)}
}

func TestPackets(t *testing.T) {
	ways(t, func(t *testing.T, p protocol, w way) {
		s := newSite(t, chat.WithTimeouts(chat.Timeouts{Connect: time.Second}))
		for _, group := range [][]fault{countFaults, placeholderFaults, attachmentFaults, frameFaults, eventFaults, payloadFaults, ackFaults, connectFaults(), handlerFaults} {
			for _, f := range group {
				t.Run(f.name, func(t *testing.T) {
					s.survives(t, 4*mega+16*f.size(), func(t *testing.T) { f.run(t, s, p, w) })
				})
			}
		}
	})
}

// size is what is sent; the client's side of the test makes some copies of it, too.
func (f *fault) size() (n uint64) {
	for _, f := range f.frames {
		n += uint64(len(f.data))
	}
	return n
}

func (f *fault) run(t *testing.T, s *site, p protocol, w way) {
	c := dial(t, s, p, w)
	defer c.close()
	want := f.want
	if p == legacy && f.old != nil {
		want = *f.old
	}
	s.logs.take()
	dropped := s.hub.Stats().Dropped
	status, err := c.wire.write(f.frames...)
	if w == overPolling && err != nil {
		t.Fatal(err)
	}
	if want.closed {
		if w == overPolling && status != 400 && !(want.polite && status == 200) {
			t.Errorf("status %d, want 400", status)
		}
		c.closed(t)
		return
	}
	if w == overPolling && status != 200 {
		t.Errorf("status %d, want 200", status)
	}
	if want.answer != "" {
		c.expect(t, want.answer)
	}
	c.alive(t)
	if got := s.hub.Stats().Dropped - dropped; got < want.dropped {
		t.Errorf("%d packets counted as dropped, want %d", got, want.dropped)
	}
	if log := s.logs.take(); !strings.Contains(log, f.log) {
		t.Errorf("the log does not hold %q:\n%s", f.log, log)
	}
}

// big is nearly what one message may hold.
const big = 900_000 / slow

// countFaults announce attachments beyond measure.
var countFaults = []fault{
	of("count giant", closes, `451999999999999-["x"]`),
	of("count giant, known event", closes, `451999999999999-["echo"]`),
	of("count giant, plain event", closes, `421999999999999-["x"]`),
	of("count giant, ack", closes, `461999999999999-1["x"]`),
	of("count giant, connect", closes, `401999999999999-`),
	of("count 2^64-1", closes, `4518446744073709551615-["x"]`),
	of("count 2^64", closes, `4518446744073709551616-["x"]`),
	of("count 2^63", closes, `459223372036854775808-["x"]`),
	of("count 2^32+1", closes, `454294967297-["x"]`),
	of("count 50000000", closes, `4550000000-["x"]`),
	of("count 999999999", closes, `45999999999-["x"]`),
	of("count 11", closes, `4511-["x"]`),
	of("count missing", closes, `45-["x"]`),
	of("count negative", closes, `45-1-["x"]`),
	of("count without dash", closes, `451["x"]`),
	of("count alone", closes, `451`),
	of("count of very many digits", closes, `45`+strings.Repeat("0", big)+`1-["x"]`),
}

const hole = `{"_placeholder":true,"num":%s}`

func placeholderFault(num string) fault {
	return withBinary("placeholder number "+num, closes, `451-["bin",`+fmt.Sprintf(hole, num)+`]`)
}

var placeholderFaults = []fault{
	placeholderFault("5"),
	placeholderFault("1"),
	placeholderFault("-1"),
	placeholderFault("0.5"),
	placeholderFault(`"0"`),
	placeholderFault("null"),
	placeholderFault("18446744073709551616"),
	placeholderFault("1e0"),
	withBinary("placeholder missing", closes, `451-["bin",1]`),
	withBinary("placeholder used twice", closes, `451-["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`),
	withBinary("placeholder in other case", closes, `451-["bin",{"_PlaceHolder":true,"NUM":7}]`),
	withBinary("placeholder in escapes", closes, `451-["bin",{"\u005fplaceholder":true,"num":7}]`),
	withBinary("placeholder with duplicate keys", closes, `451-["bin",{"_placeholder":true,"num":0,"num":7}]`),
	of("placeholder in a plain event", answers(`431[{"_placeholder":true,"num":0}]`), `421["bin",{"_placeholder":true,"num":0}]`).legacy(closes),
	of("placeholder 9 in a plain event", answers(`431[{"_placeholder":true,"num":9}]`), `421["bin",{"_placeholder":true,"num":9}]`).legacy(closes),
	of("placeholder with no attachments", answers(`431[{"_placeholder":true,"num":0}]`), `450-1["bin",{"_placeholder":true,"num":0}]`).legacy(closes),
	of("placeholder -1 in a plain event", stays, `42["bin",{"_placeholder":true,"num":-1}]`).legacy(closes),
	of("placeholder null in a plain event", stays, `42["bin",{"_placeholder":true,"num":null}]`).legacy(closes),
}

var attachmentFaults = []fault{
	withBinary("attachment good", answers(`461-1[{"_placeholder":true,"num":0}]`), `451-1["bin",{"_placeholder":true,"num":0}]`),
	of("text where an attachment is due", closes, `451-["bin",{"_placeholder":true,"num":0}]`, `42["echo",1]`),
	{name: "binary out of turn", want: closes, frames: []frame{binary4("\x01\x02")}},
	{name: "binary empty, out of turn", want: closes, frames: []frame{binary4("")}},
	{name: "binary after a plain event", want: closes, frames: []frame{text4(`42["echo",1]`), binary4("x")}},
	{name: "attachment too many", want: closes, frames: []frame{text4(`451-["bin",{"_placeholder":true,"num":0}]`), binary4("a"), binary4("b")}},
	withBinary("ack with attachment, unknown", drops, `461-999[{"_placeholder":true,"num":0}]`),
	withBinary("event with attachment to a namespace not joined", drops, `451-/admin,["bin",{"_placeholder":true,"num":0}]`),
}

var frameFaults = []fault{
	of("message empty", closes, "4"),
	of("frame empty", closes, ""),
	of("packet type 9", closes, "9"),
	of("packet type a", closes, "a"),
	of("packet open", closes, `0{"sid":"x"}`),
	of("packet NUL", closes, "\x00"),
	of("packet type 7 of Socket.IO", closes, `47["x"]`),
	of("packet type a of Socket.IO", closes, `4a["x"]`),
	of("packet CONNECT_ERROR", closes, `44{"message":"x"}`),
	of("packet NUL of Socket.IO", closes, "4\x00"),
	of("event with a NUL byte", closes, "42[\"echo\",\"\x00\"]"),
	of("event with an escaped NUL byte", answers(`431["\u0000"]`), `421["echo","\u0000"]`),
	of("noop", stays, "6"),
	of("ping of a client", closes, "2").legacy(stays),
	of("pong of a client", stays, "3").legacy(closes),
	of("close", closesByItself, "1"),
}

// closesByItself is what the client asks for.
var closesByItself = outcome{closed: true, polite: true}

var eventFaults = []fault{
	of("event object", closes, `42{"a":1}`),
	of("event nothing", closes, `42`),
	of("event string", closes, `42"echo"`),
	of("event null", closes, `42null`),
	of("event empty array", closes, `42[]`),
	of("event name number", closes, `42[1,2]`),
	of("event name null", closes, `42[null,"x"]`),
	of("event name object", closes, `42[{"a":1}]`),
	of("event name array", closes, `42[["echo"]]`),
	of("event name without bracket", closes, `42"two"]`),
	of("event after junk", closes, `42x["echo"]`),
	of("event before junk", closes, `42["echo"]x`),
	of("event twice", closes, `42["echo"]["echo"]`),
	of("event reserved connect", drops, `421["connect"]`),
	of("event reserved disconnect", drops, `421["disconnect","x"]`),
	of("event reserved disconnecting", drops, `42["disconnecting"]`),
	of("event reserved connect_error", drops, `42["connect_error",{}]`),
	of("event reserved newListener", drops, `42["newListener",1]`),
	of("event reserved in escapes", drops, `42["\u0063onnect"]`),
	of("event name with a comma", answers(`431[{"ok":false,"error":{"code":"UNKNOWN_EVENT"`), `421["a,b","x"]`),
	of("event name empty", answers(`431[{"ok":false,"error":{"code":"UNKNOWN_EVENT"`), `421[""]`),
	of("event name of a payload's length", answers(`42["error",{"code":"UNKNOWN_EVENT"`), `42["`+strings.Repeat("n", big)+`"]`),
	of("event name of a payload's length that must be escaped", answers(`42["error",{"code":"UNKNOWN_EVENT"`), `42["`+strings.Repeat("<", big)+`"]`),
	of("event name of a payload's length with ack", answers(`431[{"ok":false,"error":{"code":"UNKNOWN_EVENT"`), `421["`+strings.Repeat("é", big/2)+`"]`),
	of("event unknown", answers(`42["error",{"code":"UNKNOWN_EVENT"`), `42["nobody","x"]`),
	of("event __proto__", answers(`431[{"ok":false,"error":{"code":"UNKNOWN_EVENT"`), `421["__proto__",{"__proto__":1}]`),
	of("event to a namespace not joined", drops, `42/admin,["echo"]`),
	of("event to an unknown namespace", drops, `42/nowhere,["echo"]`),
}

var payloadFaults = []fault{
	of("payload missing", answers(`431[{"ok":true}]`), `421["typed"]`),
	of("payload of a wrong type", invalid, `421["typed",{"N":"x"}]`),
	of("payload array", invalid, `421["typed",[1]]`),
	of("payload string", invalid, `421["typed","x"]`),
	of("payload null", stays, `421["typed",null]`),
	of("payload 1e999", invalid, `421["typed",{"F":1e999}]`),
	of("payload 1e999 as any", stays, `421["echo",1e999]`),
	of("payload fraction", invalid, `421["typed",{"N":0.5}]`),
	of("payload beyond 64 bits", invalid, `421["typed",{"N":99999999999999999999}]`),
	of("payload without ack", answers(`42["error",{"code":"INVALID_PAYLOAD"`), `42["typed",{"N":"x"}]`),
	of("payload truncated", closes, `42["typed",{"N":`),
	of("payload truncated string", closes, `42["typed","abc`),
	of("payload NaN", closes, `42["typed",{"F":NaN}]`),
	of("payload trailing comma", closes, `42["typed",]`),
	of("payload lone surrogate", stays, `421["echo","\ud800"]`),
	of("message missing", invalid, `421["chat_message"]`),
	of("message null", invalid, `421["chat_message",null]`),
	of("message number", invalid, `421["chat_message",7]`),
	of("message empty", invalid, `421["chat_message",""]`),
	of("message with text null", invalid, `421["chat_message",{"text":null}]`),
	of("message with text object", invalid, `421["chat_message",{"text":{}}]`),
	of("message with a bad room", invalid, `421["chat_message",{"text":"x","room":"a b"}]`),
	of("message with a key too long", invalid, `421["chat_message",{"text":"x","message_id":"`+strings.Repeat("k", 200)+`"}]`),
	of("message too long", answers(`431[{"ok":false,"error":{"code":"TOO_LARGE"`), `421["chat_message","`+strings.Repeat("x", 8001)+`"]`),
	of("message to a room not joined", answers(`431[{"ok":false,"error":{"code":"NOT_MEMBER"`), `421["chat_message",{"text":"x","room":"other"}]`),
	of("message with duplicate keys", answers(`431[{"ok":true`), `421["chat_message",{"text":"a","text":"b","TEXT":"c","room":"other","room":"lobby"}]`),
	of("message with a text that must be escaped", answers(`431[{"ok":true`), `421["chat_message","`+strings.Repeat(`\u0000`, 8000)+`"]`),
	of("message with meta of a payload's length", answers(`431[{"ok":false,"error":{"code":"TOO_LARGE"`), `421["chat_message",{"text":"x","meta":"`+strings.Repeat("m", big)+`"}]`),
	of("join number", invalid, `421["join_room",7]`),
	of("join nothing", invalid, `421["join_room"]`),
	of("join a bad name", invalid, `421["join_room",{"room":"../../x"}]`),
	of("leave null", invalid, `421["leave_room",null]`),
	of("history both ends", invalid, `421["history",{"after":1,"before":2}]`),
	of("history negative", invalid, `421["history",{"after":-1}]`),
	of("history 2^64-1", answers(`431[{"ok":true,"entries":[]`), `421["history",{"after":18446744073709551615}]`),
	of("history before 0", answers(`431[{"ok":true,"entries":[]`), `421["history",{"before":0}]`),
	of("history limit beyond measure", answers(`431[{"ok":true`), `421["history",{"limit":9223372036854775807}]`),
	of("history limit negative", answers(`431[{"ok":true`), `421["history",{"limit":-9223372036854775808}]`),
	of("typing string", invalid, `421["typing","yes"]`),
	of("nested 5,000 deep, echoed", answers(`431[{"ok":false,"error":{"code":"INVALID_PAYLOAD"`), `421["echo",`+deep(5_000)+`]`),
	of("nested 5,000 deep, broadcast", answers(`42["error",{"code":"INVALID_PAYLOAD"`), `42["bcast",`+deep(5_000)+`]`),
	of("nested 100,000 deep", invalid, `421["echo",`+deep(100_000)+`]`),
	of("nested 100,000 deep, objects", invalid, `421["echo",`+strings.Repeat(`{"a":`, 100_000)+`1`+strings.Repeat(`}`, 100_000)+`]`),
	of("nested 60 deep", answers(`431[[[[`), `421["echo",`+deep(60)+`]`),
	of("nested as deep as can be, not closed", closes, `42["echo",`+strings.Repeat("[", big/2)),
}

func deep(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

var ackFaults = []fault{
	of("ack unknown", drops, `43999[]`),
	of("ack 0, never asked for", drops, `430["x"]`),
	of("ack beyond 64 bits", drops, `4399999999999999999999999[]`),
	of("ack 2^64", drops, `4318446744073709551616[]`),
	of("ack of very many digits", drops, `43`+strings.Repeat("9", big)+`[]`),
	of("ack without id", closes, `43["x"]`),
	of("ack no array", closes, `431{"a":1}`),
	of("ack nothing", closes, `431`),
	of("ack negative", closes, `43-1[]`),
	of("ack nested deep", drops, `431[`+deep(1_000)+`]`),
	of("event with an ack id beyond 64 bits", drops, `4299999999999999999999999["echo",1]`),
	of("event with the ack id 2^63-1", answers(`439223372036854775807[1]`), `429223372036854775807["echo",1]`),
	of("event with an ack id of zeros", answers(`431[1]`), `42000000000000000001["echo",1]`),
	of("event with a negative ack id", closes, `42-1["echo"]`),
}

func connectFaults() []fault {
	long := "/" + strings.Repeat("n", big)
	return []fault{
		of("connect with broken auth", closes, `40{"a":`),
		of("connect with auth of an array", closes, `40[1]`).legacy(drops),
		of("connect with auth of a string", closes, `40"x"`).legacy(drops),
		of("connect with auth null", closes, `40null`).legacy(drops),
		of("connect with auth 1e999", closes, `401e999`),
		of("connect with an ack id", closes, `4012{"a":1}`).legacy(drops),
		of("connect twice", drops, `40`),
		of("connect twice with auth", drops, `40{"a":1,"a":2}`),
		of("connect, namespace unknown", answers(`44/nowhere,{"message":"Invalid namespace"}`), `40/nowhere,`).legacy(answers(`44/nowhere,"Invalid namespace"`)),
		of("connect, namespace unknown without comma", answers(`44/nowhere,{"message":"Invalid namespace"}`), `40/nowhere`).legacy(answers(`44/nowhere,"Invalid namespace"`)),
		of("connect, namespace with a query", answers(`44/nowhere,{"message":"Invalid namespace"}`), `40/nowhere?a=b,`).legacy(answers(`44/nowhere,"Invalid namespace"`)),
		of("connect, namespace //", answers(`44//,{"message":"Invalid namespace"}`), `40//,`).legacy(answers(`44//,"Invalid namespace"`)),
		of("connect, namespace of a payload's length", drops, `40`+long+`,`),
		of("connect, namespace of a payload's length without comma", drops, `40`+long),
		of("connect, query of a payload's length", answers(`44/nowhere,{"message":"Invalid namespace"}`), `40/nowhere?`+long+`,`).legacy(drops),
		of("connect, auth nested deep", answers(`44{"message":"the auth object is nested too deep"`), `40{"a":`+deep(5_000)+`}`).legacy(closes),
		of("connect and leave 100 times", stays, strings.Split(strings.Repeat("40/admin,\x1e41/admin,\x1e", 100)+"6", "\x1e")...),
		of("disconnect with data", closes, `41{"a":1}`).legacy(closesByItself), // by the connect timeout
		of("disconnect from a namespace not joined", drops, `41/admin,`),
		of("disconnect from an unknown namespace", drops, `41/nowhere,`),
	}
}

var internal = answers(`431[{"ok":false,"error":{"code":"INTERNAL"`)

var handlerFaults = []fault{
	of("handler panics", internal, `421["boom",1]`).logs("faults_test"),
	of("handler panics without ack", answers(`42["error",{"code":"INTERNAL"`), `42["boom",1]`).logs("goroutine"),
	of("handler dereferences nothing", internal, `421["nilmap"]`).logs("nil map"),
}
