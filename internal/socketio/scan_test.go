package socketio

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

var scanTexts = []string{
	``, ` `, `[]`, `{}`, `null`, `true`, `fals`, `"a"`, `"a`, `"\u00zz"`, `"\x"`, "\"\x01\"", `"\ud800"`, "\"\xff\"", `"\u12`, `"\`,
	`0`, `-`, `-0`, `01`, `1.`, `1.5e+3`, `1e`, `1e999`, `.5`, `+1`, `1 2`, `[1,]`, `[,1]`, `[1 2]`, `{"a"}`, `{"a":}`, `{"a":1,}`,
	`{"a":1 "b":2}`, `{a:1}`, `{1:2}`, `[1}`, `{"a":[1,{"b":[]}],"c":{}}`, ` [ 1 , "x" , { "y" : [ ] } ] `, `]`, `}`, `[`, `{`, `{]`, `[}`,
	`["a",{"_placeholder":true,"num":0}]`, `[[[[[[]]]]]]`, `["a"]x`, "[\"a\"]\x00", `[nullx]`, `[truefalse]`, `[-]`, `{"a":1}}`,
}

func FuzzScan(f *testing.F) {
	for _, t := range scanTexts {
		f.Add([]byte(t))
	}
	f.Add([]byte(strings.Repeat("[", 300) + strings.Repeat("]", 300)))
	f.Add([]byte(strings.Repeat(`{"a":[`, 200) + strings.Repeat(`]}`, 200)))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := scan(text)
		if got.depth > 10000 {
			return // the bound of encoding/json
		}
		if valid := json.Valid(text); valid != (err == nil) {
			t.Fatalf("valid: %v, ours: %v: %q", valid, err, text)
		}
		var array []json.RawMessage
		if err != nil || json.Unmarshal(text, &array) != nil || array == nil {
			return
		}
		if len(array) != got.elems {
			t.Fatalf("%d elements, ours %d: %q", len(array), got.elems, text)
		}
		for i, e := range elements(text, got.elems) {
			if !bytes.Equal(e, bytes.TrimSpace(array[i])) {
				t.Fatalf("element %d is %q, ours %q: %q", i, array[i], e, text)
			}
		}
	})
}

func TestScanDepth(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 63, 64, 65, 255, 256, 257, 1000, 100_000} {
		text := strings.Repeat("[", n) + "1" + strings.Repeat("]", n)
		if got, err := scan([]byte(text)); err != nil || got.depth != n {
			t.Errorf("depth %d: %d, %v", n, got.depth, err)
		}
		if _, err := scan([]byte(text + "]")); err == nil {
			t.Errorf("depth %d: one bracket more passed", n)
		}
		if n > 0 {
			if _, err := scan([]byte(text[:len(text)-1] + "}")); err == nil {
				t.Errorf("depth %d: the wrong bracket passed", n)
			}
		}
	}
}

func TestPlaceholders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		n    int
		ok   bool
	}{
		{`["x",{"_placeholder":true,"num":0}]`, 1, true},
		{`["x",{ "num" : 0 , "_placeholder" : true }]`, 1, true},
		{`["x",{"a":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":0}]`, 2, true},
		{`["x",{"_placeholder":false,"num":7},{"_placeholder":1},{"_placeholder":true,"num":0}]`, 1, true},
		{`["x","_placeholder",true,{"_placeholder":true,"num":0}]`, 1, true},
		{`["x",{"_placeholder":true,"num":0}]`, 2, false},
		{`["x"]`, 1, false},
		{`["x",{"_placeholder":true,"num":1}]`, 1, false},
		{`["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`, 2, false},
		{`["x",{"_placeholder":true,"num":-1}]`, 1, false},
		{`["x",{"_placeholder":true,"num":0.0}]`, 1, false},
		{`["x",{"_placeholder":true,"num":0e0}]`, 1, false},
		{`["x",{"_placeholder":true,"num":"0"}]`, 1, false},
		{`["x",{"_placeholder":true,"num":null}]`, 1, false},
		{`["x",{"_placeholder":true,"num":99999999999999999999}]`, 1, false},
		{`["x",{"_placeholder":true}]`, 1, false},
		{`["x",{"_placeholder":true,"num":0,"num":0}]`, 1, false},
		{`["x",{"_placeholder":true,"num":0,"x":1}]`, 1, false},
		{`["x",{"_placeholder":false,"_placeholder":true,"num":0}]`, 1, false},
		{`["x",{"\u005fplaceholder":true,"num":0}]`, 1, false},
		{`["x",{"_PlaceHolder":true,"num":0}]`, 1, false},
		{`["x",{"_placeholder":true,"num":0},{"\u005Fplaceholder":true}]`, 1, false},
	} {
		if err := checkPlaceholders([]byte(c.text), c.n); (err == nil) != c.ok {
			t.Errorf("%s with %d: %v", c.text, c.n, err)
		}
	}
}

func FuzzPlaceholders(f *testing.F) {
	f.Add([]byte(`["x",{"_placeholder":true,"num":0}]`))
	f.Add([]byte(`["x",{"a":{"num":1,"_placeholder":true}},{"_placeholder":true,"num":0}]`))
	f.Add([]byte(`[{"\u005fplaceholder":true,"num":0}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var v any
		if json.Unmarshal(text, &v) != nil {
			return
		}
		found := 0
		if placeholders(text, func(start, end, num int) {
			found++
			var p struct {
				Placeholder bool `json:"_placeholder"`
				Num         int  `json:"num"`
			}
			if err := json.Unmarshal(text[start:end], &p); err != nil || !p.Placeholder || p.Num != num {
				t.Fatalf("%q is no placeholder of %d: %+v, %v", text[start:end], num, p, err)
			}
		}) != nil {
			return
		}
		// A browser sees what we see, short of what a duplicate key hides.
		if n := countPlaceholders(v); n > found {
			t.Fatalf("a browser sees %d placeholders, we see %d: %q", n, found, text)
		}
	})
}

func countPlaceholders(v any) int {
	n := 0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += countPlaceholders(e)
		}
	case map[string]any:
		if v["_placeholder"] == true {
			return 1
		}
		for _, e := range v {
			n += countPlaceholders(e)
		}
	}
	return n
}
