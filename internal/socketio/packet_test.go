package socketio

import (
	"strings"
	"testing"

	"github.com/parleychat/chat/internal/engineio"
)

func TestReadHeader(t *testing.T) {
	t.Parallel()
	type want struct {
		typ    byte
		n      int
		ns     string
		id     uint64
		hasID  bool
		tooBig bool
		data   string
	}
	for text, w := range map[string]want{
		`0`:                               {typ: '0', ns: "/"},
		`0{"token":"1"}`:                  {typ: '0', ns: "/", data: `{"token":"1"}`},
		`0/admin`:                         {typ: '0', ns: "/admin"},
		`0/admin,`:                        {typ: '0', ns: "/admin"},
		`0/admin?x=1&y=2,{}`:              {typ: '0', ns: "/admin", data: `{}`},
		`1`:                               {typ: '1', ns: "/"},
		`1/admin,`:                        {typ: '1', ns: "/admin"},
		`2["a"]`:                          {typ: '2', ns: "/", data: `["a"]`},
		`212["a"]`:                        {typ: '2', ns: "/", id: 12, hasID: true, data: `["a"]`},
		`2/admin,0["a"]`:                  {typ: '2', ns: "/admin", hasID: true, data: `["a"]`},
		`29223372036854775807["a"]`:       {typ: '2', ns: "/", id: 1<<63 - 1, hasID: true, data: `["a"]`},
		`29223372036854775808["a"]`:       {typ: '2', ns: "/", hasID: true, tooBig: true, data: `["a"]`},
		`218446744073709551616["a"]`:      {typ: '2', ns: "/", hasID: true, tooBig: true, data: `["a"]`},
		`2000000000000000000000001["a"]`:  {typ: '2', ns: "/", hasID: true, tooBig: true, data: `["a"]`},
		`30[]`:                            {typ: '3', ns: "/", hasID: true, data: `[]`},
		`51-["a",{}]`:                     {typ: '2', n: 1, ns: "/", data: `["a",{}]`},
		`52-/admin,7["a"]`:                {typ: '2', n: 2, ns: "/admin", id: 7, hasID: true, data: `["a"]`},
		`61-7[1]`:                         {typ: '3', n: 1, ns: "/", id: 7, hasID: true, data: `[1]`},
		`50-["a"]`:                        {typ: '2', ns: "/", data: `["a"]`},
		`510-["a"]`:                       {typ: '2', n: 10, ns: "/", data: `["a"]`},
		`511-["a"]`:                       {},
		`51999999999999-["x"]`:            {},
		`518446744073709551615-["x"]`:     {},
		`518446744073709551617-["x"]`:     {},
		`500000000000000000000000001-[1]`: {},
		`5-["a"]`:                         {},
		`5["a"]`:                          {},
		`5`:                               {},
		`51`:                              {},
		`5-1-["a"]`:                       {},
		`51.5-["a"]`:                      {},
		`21-["a"]`:                        {},
		``:                                {},
		`4{"message":"x"}`:                {},
		`7["a"]`:                          {},
		`abc`:                             {},
		"\x00":                            {},
		`0null`:                           {},
		`0[]`:                             {},
		`0"x"`:                            {},
		`012{}`:                           {},
		`1{}`:                             {},
		`11`:                              {},
		`2`:                               {},
		`21`:                              {},
		`2{}`:                             {},
		`2null`:                           {},
		`2"a"`:                            {},
		`2abc["a"]`:                       {},
		`2-1["a"]`:                        {},
		`3[]`:                             {},
		`31{}`:                            {},
		`31`:                              {},
	} {
		h, err := readHeader([]byte(text), 10)
		if w.typ == 0 {
			if err == nil {
				t.Errorf("%s passed: %+v", text, h)
			}
			continue
		}
		got := want{h.typ, h.attachments, string(h.namespace), h.id, h.hasID, h.idTooBig, string(h.data)}
		if err != nil || got != w {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, w)
		}
	}
}

func TestReadBody(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 64) + strings.Repeat("]", 64)
	for _, c := range []struct{ text, want string }{
		{`2["a"]`, `a`},
		{`2["a",1]`, `a|1`},
		{`2 ["a",1]`, ``},
		{`2[ "a" , 1 , {"b": [1,2]} ]`, `a|1|{"b": [1,2]}`},
		{`2["\u0061\n","x,]"]`, "a\n|\"x,]\""},
		{`2["",null]`, `|null`},
		{`2["a",` + deep + `]`, `a|` + deep},
		{`2["a",[` + deep + `]]`, `a!`},
		{`2["a",[` + deep + `]`, ``},
		{`30[]`, ``},
		{`30[1,"b"]`, `|1|"b"`},
		{`30["b"]`, `|"b"`},
		{`2[]`, ``}, {`2[1]`, ``}, {`2[null,"a"]`, ``}, {`2[{}]`, ``}, {`2["a"`, ``}, {`2["a",]`, ``}, {`2["a"]]`, ``}, {`2["a",1e]`, ``},
		{`51-["a"]`, ``}, {`51-["a",{"_placeholder":true,"num":1}]`, ``}, {`51-[{"_placeholder":true,"num":0}]`, ``},
		{`51-["a",{"_placeholder":true,"num":0}]`, `a|{"_placeholder":true,"num":0}`},
		{`2["a",{"_placeholder":true,"num":7}]`, `a|{"_placeholder":true,"num":7}`},
	} {
		h, err := readHeader([]byte(c.text), 10)
		var b body
		if err == nil {
			b, err = readBody(&h, 64)
		}
		got := b.name
		for _, v := range b.values {
			got += "|" + string(v)
		}
		if b.tooDeep {
			got += "!"
		}
		if bad := c.want == "" && c.text != `30[]`; (err != nil) != bad || !bad && got != c.want {
			t.Errorf("%.40s: %.40s, %v; want %.40s", c.text, got, err, c.want)
		}
	}
}

// What is kept must not change when the session reads on into the same bytes.
func TestReadBodyCopies(t *testing.T) {
	t.Parallel()
	text := []byte(`2["name",{"a":1}]`)
	h, _ := readHeader(text, 10)
	b, err := readBody(&h, 64)
	clear(text)
	if err != nil || b.name != "name" || string(b.values[0]) != `{"a":1}` {
		t.Fatalf("%q %q %v", b.name, b.values, err)
	}
}

func FuzzPacket(f *testing.F) {
	for _, s := range []string{
		`0`, `0/a,{"x":1}`, `1/a`, `2["a",1]`, `2/a?q=1,12["a",{"b":[]}]`, `3/a,1[]`, `52-/a,1["a",{"_placeholder":true,"num":1},{"num":0,"_placeholder":true}]`,
		`61-4[{"_placeholder":true,"num":0}]`, `51999999999999-["x"]`, `518446744073709551615-["x"]`, `299999999999999999999["a"]`, `2[["a"]]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := readHeader(text, 10)
		if err != nil {
			return
		}
		if h.typ == typeConnect {
			if a, err := readAuth(h.data, 64); err == nil && len(h.data) > 0 {
				if _, err := scan(a.rest); err != nil {
					t.Fatalf("auth %q of %q", a.rest, text)
				}
			}
			return
		}
		if h.typ == typeDisconnect {
			return
		}
		b, err := readBody(&h, 64)
		if err != nil || b.tooDeep || h.idTooBig || h.typ == typeEvent && reserved(b.name) {
			return
		}
		args := Args{Values: b.values}
		for range h.attachments {
			args.Attachments = append(args.Attachments, []byte{1, 2})
		}
		for i := range args.Values {
			if _, err := args.Any(i); err != nil && !strings.Contains(err.Error(), "cannot unmarshal number") {
				t.Fatalf("%q: %v", text, err)
			}
		}
	})
}

func TestPackets(t *testing.T) {
	t.Parallel()
	id := uint64(12)
	one, _ := Encode(1)
	binary, _ := Encode("x", []byte{1}, []byte{2, 3})
	for _, c := range []struct {
		p    *engineio.Packet
		want string
		n    int
	}{
		{EventPacket("/", "a", Encoded{}, nil, ""), `2["a"]`, 0},
		{EventPacket("/", "a\"\n<é\xff", one, nil, ""), `2["a\"\u000a<é\ufffd",1]`, 0},
		{EventPacket("/admin", "a", one, &id, ""), `2/admin,12["a",1]`, 0},
		{EventPacket("/admin", "a", one, nil, "e.7"), `2/admin,["a",1,"e.7"]`, 0},
		{EventPacket("/", "a", Encoded{}, nil, "e.7"), `2["a","e.7"]`, 0},
		{EventPacket("/admin", "a", binary, &id, ""), `52-/admin,12["a","x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, 2},
		{AckPacket("/", 3, Encoded{}), `33[]`, 0},
		{AckPacket("/admin", 3, one), `3/admin,3[1]`, 0},
		{AckPacket("/", 3, binary), `62-3["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, 2},
		{controlPacket(typeDisconnect, "/", nil), `1`, 0},
		{controlPacket(typeDisconnect, "/admin", nil), `1/admin,`, 0},
	} {
		if got := string(c.p.Text()); got != c.want || len(c.p.Attachments()) != c.n {
			t.Errorf("%s with %d, want %s", got, len(c.p.Attachments()), c.want)
		}
	}
}

func BenchmarkReadEvent(b *testing.B) {
	text := []byte(`2["chat_message","` + strings.Repeat("x", 64) + `"]`)
	b.ReportAllocs()
	for b.Loop() {
		h, _ := readHeader(text, 10)
		if _, err := readBody(&h, 64); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEventPacket(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		args, _ := Encode(map[string]string{"text": "hello"})
		EventPacket("/", "new_message", args, nil, "")
	}
}
