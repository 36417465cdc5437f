package socketio

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

type (
	blob      []byte
	myByte    byte
	odd       []myByte
	text      []byte // marshals itself
	inner     struct{ In []byte }
	Outer     struct{ Out []byte }
	recursive struct {
		B    []byte
		Next *recursive
		Kids []recursive
	}
	everything struct {
		inner
		*Outer
		A     any
		B     blob `json:"b"`
		O     odd
		T     text
		P     *[]byte
		M     map[string][]byte
		S     [][]byte
		Arr   [2][]byte
		N     []byte
		Empty []byte `json:",omitempty"`
		Skip  []byte `json:"-"`
		Raw   json.RawMessage
		When  time.Time
		own   []byte
	}
)

func (t text) MarshalText() ([]byte, error) { return []byte("text:" + string(t)), nil }

const ph0, ph1 = `{"_placeholder":true,"num":0}`, `{"_placeholder":true,"num":1}`

func TestEncode(t *testing.T) {
	t.Parallel()
	two := []byte{2}
	for _, c := range []struct {
		args []any
		json string
		bins string
	}{
		{nil, ``, ``},
		{[]any{nil, true, 1, int64(-2), uint64(3), 1.5, int8(4)}, `null,true,1,-2,3,1.5,4`, ``},
		{[]any{"<a>&\"\\\u2028\x01\xff"}, "\"<a>&\\\"\\\\\u2028\\u0001\\ufffd\"", ``},
		{[]any{struct{ A string }{"<&>"}}, `{"A":"<&>"}`, ``},
		{[]any{[]byte{1}}, ph0, "\x01"},
		{[]any{[]byte{}}, ph0, ""},
		{[]any{[]byte(nil), blob(nil)}, `null,null`, ``},
		{[]any{blob{1}, odd{2}}, ph0 + `,` + ph1, "\x01|\x02"},
		{[]any{text{'a'}, json.RawMessage(`{"a": 1}`), json.RawMessage(nil)}, `"text:a",{"a": 1},null`, ``},
		{[]any{[3]byte{1, 2, 3}}, `[1,2,3]`, ``},
		{[]any{map[string]any{"b": []byte{1}, "a": []any{two, "x"}}}, `{"a":[` + ph0 + `,"x"],"b":` + ph1 + `}`, "\x02|\x01"},
		{[]any{&two, two}, ph0 + `,` + ph1, "\x02|\x02"},
		{[]any{recursive{Kids: []recursive{{B: two}}}}, `{"B":null,"Next":null,"Kids":[{"B":` + ph0 + `,"Next":null,"Kids":null}]}`, "\x02"},
		{[]any{struct{ *inner }{&inner{two}}}, `{"In":` + ph0 + `}`, "\x02"},
		{[]any{struct{ inner }{inner{two}}}, `{"In":` + ph0 + `}`, "\x02"},
		{[]any{json.RawMessage("\"\xff\"")}, "\"\ufffd\"", ``},
		{[]any{json.RawMessage(`{"_placeholder":true,"num":7}`)}, `{"_placeholder":true,"num":7}`, ``},
	} {
		got, err := Encode(c.args...)
		bins := string(bytes.Join(got.Attachments, []byte("|")))
		if err != nil || string(got.JSON) != c.json || bins != c.bins {
			t.Errorf("%#v: %s %q %v; want %s %q", c.args, got.JSON, bins, err, c.json, c.bins)
		}
	}
}

func TestEncodeErrors(t *testing.T) {
	t.Parallel()
	loop := &recursive{B: []byte{1}}
	loop.Next, loop.Kids = loop, []recursive{{Next: loop}, {Next: loop}}
	ring := map[string]any{"b": []byte{1}}
	ring["self"] = ring
	for name, v := range map[string]any{
		"cycle": loop, "cyclic map": ring, "NaN": math.NaN(), "channel": make(chan int), "raw": json.RawMessage(`{`), "empty raw": json.RawMessage{},
		"placeholder beside bytes": []any{[]byte{1}, map[string]any{"_placeholder": true, "num": 5}},
		"nested raw":               struct{ R json.RawMessage }{json.RawMessage(`[`)},
	} {
		if got, err := Encode(v); err == nil {
			t.Errorf("%s: %s", name, got.JSON)
		}
	}
}

// Encode must write what encoding/json writes, but for the byte slices; and it must leave the value alone.
func TestEncodeEverything(t *testing.T) {
	t.Parallel()
	p := []byte("pointer")
	v := everything{
		inner: inner{[]byte("inner")}, Outer: &Outer{[]byte("outer")}, A: map[string]any{"x": []any{[]byte("any"), "s", nil}},
		B: blob("blob"), O: odd{'o'}, T: text("t"), P: &p, M: map[string][]byte{"k": []byte("map"), "n": nil}, S: [][]byte{[]byte("s0"), nil, {}},
		Arr: [2][]byte{[]byte("a0"), []byte("a1")}, Empty: []byte{}, Skip: []byte("skip"), Raw: json.RawMessage(`{"r":1}`),
		When: time.Unix(0, 0).UTC(), own: []byte("own"),
	}
	before, _ := json.Marshal(v)
	for _, x := range []any{v, &v} {
		got, err := Encode(x)
		if err != nil {
			t.Fatal(err)
		}
		a := Args{Values: []json.RawMessage{got.JSON}, Attachments: got.Attachments}
		if back := a.inline(got.JSON, ""); string(back) != string(before) {
			t.Errorf("not as encoding/json has it:\n%s\n%s", back, before)
		}
		if len(got.Attachments) != 11 {
			t.Errorf("%d attachments: %q", len(got.Attachments), got.Attachments)
		}
	}
	if after, _ := json.Marshal(v); string(after) != string(before) {
		t.Errorf("changed to %s", after)
	}
}

func TestEncodeCopiesBytes(t *testing.T) {
	t.Parallel()
	b := []byte("abc")
	got, _ := Encode(b)
	clear(b)
	if string(got.Attachments[0]) != "abc" {
		t.Fatal("the attachment is the caller's slice")
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	a := Args{
		Values: []json.RawMessage{
			[]byte(`{"B":{"num":1,"_placeholder":true},"A":[{"_placeholder":true,"num":0},"","YWI=",{"x":{"_placeholder":true,"num":2}}],"R":1}`),
			[]byte(`"YWI="`),
			[]byte(ph0),
		},
		Attachments: [][]byte{[]byte("ab"), []byte("cd"), {}},
	}
	wantAny := []any{[]byte("ab"), "", "YWI=", map[string]any{"x": []byte{}}}
	var typed struct {
		B blob
		A []any
		R int
	}
	if err := a.Decode(0, &typed); err != nil || string(typed.B) != "cd" || !reflect.DeepEqual(typed.A, wantAny) || typed.R != 1 {
		t.Errorf("%+v, %v", typed, err)
	}
	got, err := a.Any(0)
	if want := map[string]any{"B": []byte("cd"), "A": wantAny, "R": 1.0}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%#v, %v", got, err)
	}
	var b []byte
	var s string
	var raw json.RawMessage
	if err := a.Decode(2, &b); err != nil || string(b) != "ab" {
		t.Errorf("%q, %v", b, err)
	}
	if err := a.Decode(1, &b); err != nil || string(b) != "ab" {
		t.Errorf("base64 text: %q, %v", b, err)
	}
	if err := a.Decode(2, &s); err != nil || s != "YWI=" {
		t.Errorf("%q, %v", s, err)
	}
	if err := a.Decode(2, &raw); err != nil || string(raw) != `"YWI="` {
		t.Errorf("%s, %v", raw, err)
	}
	var beside struct {
		B struct {
			S string
			R json.RawMessage
		}
		X any
		M map[string]struct{ Y any }
		p any
	}
	a.Values[0] = []byte(`{"B":{"S":{"_placeholder":true,"num":0},"R":[{"_placeholder":true,"num":0}]},"X":{"_placeholder":true,"num":1},"M":{"k":{"Y":{"_placeholder":true,"num":1}}}}`)
	if err := a.Decode(0, &beside); err != nil || beside.B.S != "YWI=" || string(beside.B.R) != `["YWI="]` || string(beside.X.([]byte)) != "cd" || string(beside.M["k"].Y.([]byte)) != "cd" {
		t.Errorf("%+v, %v", beside, err)
	}
	if err := a.Decode(9, &s); err != nil || s != "YWI=" {
		t.Errorf("absent: %q, %v", s, err)
	}
	if err := a.Decode(0, nil); err == nil {
		t.Error("a nil target passed")
	}
}

// A nil interface in what an attachment came with has no element to look into.
func TestDecodeNullBesideAttachment(t *testing.T) {
	t.Parallel()
	a := Args{
		Values:      []json.RawMessage{[]byte(ph0), []byte("null"), []byte(`{"X":null,"L":[null]}`)},
		Attachments: [][]byte{[]byte("ab")},
	}
	if got, err := a.Any(1); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	var v struct{ X, Y, L any }
	if err := a.Decode(2, &v); err != nil || v.X != nil || v.Y != nil || !reflect.DeepEqual(v.L, []any{nil}) {
		t.Errorf("%+v, %v", v, err)
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte(`{"a":["b",null,1.5]}`), []byte("bin"))
	f.Add([]byte(`["",{"_placeholder":false}]`), []byte{})
	f.Add([]byte(`[{"_placeholder":true,"num":0}]`), []byte{0xff})
	f.Fuzz(func(t *testing.T, text, bin []byte) {
		var v any
		if json.Unmarshal(text, &v) != nil {
			return
		}
		want := []any{v, map[string]any{"bin": bin, "more": []any{bin, "x"}}, bin}
		got, err := Encode(want...)
		if err != nil {
			if strings.Contains(err.Error(), "placeholder") {
				return
			}
			t.Fatal(err)
		}
		h, err := readHeader(EventPacket("/", "e", got, nil, "").Text(), 10)
		if err != nil {
			t.Fatal(err)
		}
		b, err := readBody(&h, 20_000)
		if err != nil || len(b.values) != len(want) {
			t.Fatalf("%d values, %v: %s", len(b.values), err, h.data)
		}
		a := Args{Values: b.values, Attachments: got.Attachments}
		for i := range want {
			if back, err := a.Any(i); err != nil || !reflect.DeepEqual(back, want[i]) {
				t.Fatalf("%#v became %#v, %v", want[i], back, err)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	type message struct {
		Room, Text string
		Seq        int
	}
	for name, v := range map[string]any{"string": "hello there", "struct": message{"lobby", "hello there", 7}, "bytes": map[string]any{"file": make([]byte, 1000)}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Encode(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
