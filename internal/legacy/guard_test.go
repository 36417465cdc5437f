package legacy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	gosession "github.com/googollee/go-socket.io/engineio/session"
	"github.com/googollee/go-socket.io/parser"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// Packets that end the session. None of them may be seen by go-socket.io, which dies of some.
var broken = []string{
	// Trap 1: a count that is allocated before anything is read, on any type.
	`21999999999999-["x"]`, `51999999999999-["x"]`, `518446744073709551615-["x"]`, `550000000-["x"]`, `511-["x"]`,
	`01-/admin,`, `11-`, `31-0[]`, `61999999999999-0[]`,
	`5["x"]`, `5-["x"]`, `51["x"]`, `5x1-["x"]`, `5-1-["x"]`, `5 1-["x"]`, `6[]`, `51`, `51-`, `51-["x"`,
	// Trap 2: what encoding/json takes for a placeholder.
	`2["x",{"_placeholder":true,"num":0}]`, `2["x",{"_PlaceHolder":true,"NUM":7}]`, `50-["x",{"_placeholder":true,"num":0}]`,
	`51-["x",{"_placeholder":true,"num":5}]`, `51-["x",{"_placeholder":true,"num":-1}]`, `51-["x",{"_placeholder":true,"num":0.5}]`,
	`51-["x",{"_placeholder":true,"num":1e0}]`, `51-["x",{"_placeholder":true,"num":"0"}]`, `51-["x",{"_placeholder":true,"num":null}]`,
	`51-["x",{"_placeholder":true}]`, `51-["x"]`, `51-["x",{"_placeholder":true,"num":0,"num":9}]`, `51-["x",{"_placeholder":true,"num":0,"x":1}]`,
	`52-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`, `51-["x",{"\u005fplaceholder":true,"num":0}]`,
	`51-["x",{"_placeholder":true,"num":0},{"_PLACEHOLDER":true,"num":0}]`, `51-["x",{"_placeholder":true,"num":99999999999999999999}]`,
	`51-["x",{"_placeholder":true,"num":0},[{"a":{"\u005FPlaceholder":true,"nUm":7}}]]`,
	// Trap 4: events without a name of their own.
	`2"two"]`, `2[null,"three"]`, `2[]`, `2`, `2[1]`, `2[{}]`, `2[["x"]]`, `2{}`, `2null`, `2"x"`, `2["x"`, `2["x"]]`, `2["x"],`, `2["x",]`, `2['x']`,
	// Trap 5: digits before the namespace.
	`25/admin,["x"]`, `25-/admin,["x"]`,
	// Types, and what is no text.
	``, `4"x"`, `4`, `7`, `9`, `x`, ` 2["x"]`, "\x00", `:`, `2["x` + "\xff" + `"]`, `2["x` + "\x00" + `"]`, "2\ufeff[\"x\"]",
	`3`, `3[]`, `3/admin,[]`, `31`, `31{}`, `31null`, `31"x"`, `3-1[]`,
	`0{`, `0/admin,{`, `1x`, `2/admin["x"]`, `2/admin`, `2["x"]5`, `2["x",01]`, `2["x",NaN]`, `2["x",undefined]`,
}

func TestGuardCloses(t *testing.T) {
	t.Parallel()
	for _, in := range broken {
		g := guard{limits: testLimits}
		if p, err := g.Text([]byte(in)); err == nil {
			t.Errorf("%q: passed: %+v", in, p)
		}
	}
}

func TestGuardRewrites(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`0/admin`:                       `0/admin,`,
		`0/admin,`:                      `0/admin,`,
		`0/admin?token=x`:               `0/admin,`,
		`0/admin?a=b&c=d,`:              `0/admin,`,
		"0/admin,[]\n":                  `0/admin,`, // as go-socket.io's own client has it
		`0`:                             `0`,
		`0/?a=b`:                        `0`,
		`1`:                             `1`,
		`1/admin,`:                      `1/admin,`,
		`1/admin`:                       `1/admin,`,
		`2["x"]`:                        `2["e","x",[]]`,
		`2["x",1,[2,"a,]"],{"b":null}]`: `2["e","x",[1,[2,"a,]"],{"b":null}]]`,
		` 2["x"]`[1:]:                   `2["e","x",[]]`,
		"2 [ \"x\" ,\t1 , { } ]\n":      `2["e","x",[1,{ }]]`,
		`2["a,b]",1]`:                   `2["e","a,b]",[1]]`, // trap 3
		`2["\u0061\"",1]`:               `2["e","\u0061\"",[1]]`,
		`2["",1e999]`:                   `2["e","",[1e999]]`, // trap 10
		`217["x"]`:                      `2["e","x",[]]`,
		`2/admin,17["x"]`:               `2/admin,["e","x",[]]`,
		`50-["x"]`:                      `2["e","x",[]]`,
		`50-/admin,3["x"]`:              `2/admin,["e","x",[]]`,
		`30[]`:                          `30[[]]`,
		`312[1,"2"]`:                    `312[[1,"2"]]`,
		`3007[]`:                        `37[[]]`,
		`3/admin,12[null]`:              `3/admin,12[[null]]`,
		`60-5[1]`:                       `35[[1]]`,
	} {
		g := guard{limits: testLimits}
		p, err := g.Text([]byte(in))
		if err != nil || p == nil {
			t.Errorf("%q: %v", in, err)
		} else if string(p.canonical) != want {
			t.Errorf("%q: %q, not %q", in, p.canonical, want)
		}
	}
}

func TestGuardReads(t *testing.T) {
	t.Parallel()
	g := guard{limits: testLimits}
	read := func(in string) *packet {
		t.Helper()
		p, err := g.Text([]byte(in))
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		return p
	}
	if p := read(`0/admin?token=a%2Cb`); p.namespace != "/admin" || p.query != "token=a%2Cb" {
		t.Errorf("%+v", p)
	}
	if p := read(`218446744073709551615["x"]`); p.strange || p.id != 1<<64-1 {
		t.Errorf("%+v", p)
	}
	if p := read(`218446744073709551616["x"]`); !p.strange { // trap 5: wraps to 0
		t.Errorf("%+v", p)
	}
	if p := read(`0/` + strings.Repeat("a", maxNamespace)); !p.tooLong {
		t.Error("a long namespace")
	}
	if p := read(`0/a?` + strings.Repeat("a", maxQuery+1)); !p.tooLong {
		t.Error("a long query")
	}
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "error", "newListener", `remove\u004cistener`} {
		if p := read(`2["` + name + `"]`); !p.reserved {
			t.Errorf("%s is not reserved", name)
		}
	}
	if p := read(`2["ping"]`); p.reserved {
		t.Error("ping is reserved")
	}
	deep := func(n int) string { return `2["x",` + strings.Repeat("[", n) + strings.Repeat("]", n) + `]` }
	if p := read(deep(testLimits.Depth)); p.tooDeep {
		t.Error("the limit of depth is too deep")
	}
	if p := read(deep(testLimits.Depth + 1)); !p.tooDeep || string(p.canonical) != `2["e","x",[]]` {
		t.Errorf("too deep: %+v", p)
	}
	if p := read(deep(100_000)); !p.tooDeep {
		t.Error("100,000 deep")
	}
}

func TestGuardAttachments(t *testing.T) {
	t.Parallel()
	header := []byte(`52-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	g := guard{limits: testLimits}
	if p, err := g.Text(header); p != nil || err != nil {
		t.Fatalf("%v %v", p, err)
	}
	buf := []byte("one")
	if p, err := g.Binary(buf); p != nil || err != nil {
		t.Fatalf("%v %v", p, err)
	}
	copy(buf, "XXX") // the session's from the return on
	p, err := g.Binary([]byte("two"))
	if err != nil || p == nil || string(bytes.Join(p.attachments, []byte{'|'})) != "one|two" {
		t.Fatalf("%+v %v", p, err)
	}
	if string(p.canonical) != `2["e","x",[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]]` {
		t.Errorf("%s", p.canonical)
	}
	if _, err := g.Binary([]byte("three")); !errors.Is(err, errAttachment) {
		t.Errorf("one attachment too many: %v", err)
	}
	if _, err := g.Text(header); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Text([]byte(`2["x"]`)); !errors.Is(err, errAttachment) {
		t.Errorf("text where an attachment is due: %v", err)
	}
}

func TestGuardBounds(t *testing.T) {
	t.Parallel()
	limits := testLimits
	limits.Payload = 100
	header := []byte(`52-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	g := guard{limits: limits}
	_, _ = g.Text(header)
	if _, err := g.Binary(make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Binary(make([]byte, 20)); !errors.Is(err, engineio.ErrTooLarge) {
		t.Errorf("attachments beyond the limit: %v", err)
	}
	g = guard{limits: limits}
	if _, err := g.Text([]byte(`2["` + strings.Repeat("x", 100) + `"]`)); !errors.Is(err, engineio.ErrTooLarge) {
		t.Errorf("text beyond the limit: %v", err)
	}
}

// frames is a FrameReader over one canonical packet, as a pipe gives it.
type frames struct{ text []byte }

func (f *frames) NextReader() (gosession.FrameType, io.ReadCloser, error) {
	if f.text == nil {
		return 0, nil, io.EOF
	}
	r := &reader{}
	r.Reset(f.text)
	f.text = nil
	return gosession.TEXT, r, nil
}

var (
	eventTypes = []reflect.Type{reflect.TypeFor[string](), reflect.TypeFor[list]()} // of the handler in register
	ackTypes   = []reflect.Type{reflect.TypeFor[list]()}                            // of the callback in emit
)

// FuzzGuard: whatever passes the guard, go-socket.io's parser takes without a panic, and reads as the client
// meant it.
func FuzzGuard(f *testing.F) {
	for _, in := range broken {
		f.Add([]byte(in), []byte("attachment"))
	}
	for _, in := range []string{
		`0`, `0/admin?token=x,`, `1/admin,`, `2["hello",1,"zwei",{"drei":3},null]`, `2/admin,17["a,b]","\ud83d\ude00"]`, `312[1,"2"]`,
		`51-["x",{"_placeholder":true,"num":0}]`, `52-/a,7["x",{"num":1,"_placeholder":true},[{"_placeholder" : true, "num": 0}]]`,
		`61-1[{"_placeholder":true,"num":0}]`, `2["\ud800",1e999,-0.0,""]`, `2["connect"]`, `399999999999999999999[]`,
		`2["x",` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `]`,
		`1/?`, `2/a?b,1["x"]`,
	} {
		f.Add([]byte(in), []byte{1, 2, 3})
	}
	f.Fuzz(func(t *testing.T, text, attachment []byte) {
		g := guard{limits: testLimits}
		p, err := g.Text(text)
		for n := 0; err == nil && p == nil; n++ {
			if n > testLimits.Attachments {
				t.Fatal("more attachments than are allowed")
			}
			p, err = g.Binary(attachment)
		}
		if err != nil || p.canonical == nil {
			return
		}
		if len(p.canonical) > 2*len(text)+64 {
			t.Fatalf("%d bytes became %d", len(text), len(p.canonical))
		}
		differ(t, text, p)
	})
}

// differ decodes p by go-socket.io and its source by encoding/json, and compares.
func differ(t *testing.T, text []byte, p *packet) {
	d := parser.NewDecoder(&frames{p.canonical})
	var h parser.Header
	event := "from the packet before" // trap 4
	if err := d.DecodeHeader(&h, &event); err != nil {
		t.Fatalf("%q as %q: %v", text, p.canonical, err)
	}
	namespace := h.Namespace
	if namespace == "" {
		namespace = "/"
	}
	if byte(h.Type)+'0' != p.kind || namespace != p.namespace || h.Query != "" {
		t.Fatalf("%q as %q: header %+v", text, p.canonical, h)
	}
	if p.kind == typeConnect || p.kind == typeDisconnect {
		return
	}
	var want []json.RawMessage
	if err := json.Unmarshal(body(text), &want); err != nil && !p.tooDeep {
		t.Fatalf("%q passed: %v", text, err)
	}
	types := ackTypes
	if p.kind == typeEvent {
		types = eventTypes
	}
	values, err := d.DecodeArgs(types)
	if err != nil || len(values) != len(types) {
		t.Fatalf("%q as %q: %v", text, p.canonical, err)
	}
	got := values[len(values)-1].Interface().(list)
	if p.kind == typeAck && (h.ID != p.id || !h.NeedAck) {
		t.Fatalf("%q as %q: id %d", text, p.canonical, h.ID)
	}
	if p.kind == typeEvent {
		if event != canonicalEvent || h.NeedAck {
			t.Fatalf("%q as %q: event %q, ack %v", text, p.canonical, event, h.NeedAck)
		}
		if p.tooDeep {
			return
		}
		if name := values[0].String(); name != unquote(want[0]) {
			t.Fatalf("%q as %q: name %q", text, p.canonical, name)
		}
		want = want[1:]
	}
	same := slices.EqualFunc(got.elems, want, func(a string, b json.RawMessage) bool { return a == string(b) })
	if !same {
		t.Fatalf("%q as %q: %q, not %q", text, p.canonical, got.elems, want)
	}
	if a := got.args(p); checkAttachments(a) != nil {
		t.Fatalf("%q: %v", text, checkAttachments(a))
	}
}

// body is the JSON of an event or ack.
func body(text []byte) []byte {
	rest := text[1:]
	if text[0] == typeBinaryEvent || text[0] == typeBinaryAck {
		_, rest, _ = bytes.Cut(rest, []byte{'-'})
	}
	if rest[0] == '/' {
		_, rest, _ = bytes.Cut(rest, []byte{','})
	}
	return bytes.TrimLeft(rest, "0123456789")
}

// checkAttachments wants every attachment to be one that socketio.Args can decode.
func checkAttachments(a socketio.Args) error {
	var all []byte
	for _, v := range a.Values {
		all = append(append(all, v...), ',')
	}
	for i := range a.Attachments {
		if !strings.Contains(strings.ReplaceAll(string(all), " ", ""), `"num":`+strconv.Itoa(i)) && !bytes.ContainsAny(all, "\n\t\r") {
			return errors.New("an attachment that nothing stands for")
		}
	}
	return nil
}
