package chat

import (
	"encoding/json"
	"reflect"
	"testing"
)

// The quick way and encoding/json must never disagree.
func FuzzScanMessage(f *testing.F) {
	for _, text := range []string{
		`{"text":"hello","room":"lobby","message_id":"m1"}`,
		`{ "text" : "a b" , "meta" : {"a":[1,{"b":"}"}],"c":null} , "reply_to" : "x" }`,
		`{"text":"esc\\n"}`, `{"text":"\\u00e9"}`, `{"Text":"upper"}`, `{"text":null}`, `{"text":1}`, `{}`, `{"meta":null}`, `{"meta":1 }`, `{"meta":"x"}`,
		`{"other":"y","text":"z"}`, `{"other":{"text":"in"},"text":"out"}`, `{"text":"a","text":"b"}`, `{"meta":[1,2],"meta":{"a":1}}`, `{"t\\u0065xt":"a"}`,
		`{"meta":"a\\"b","text":"c"}`, `{"text":"é 😀"}`, `{"meta":[[],[{}]],"x":true}`, `{"meta":-1.5e3,"text":""}`, `{"ſ":1,"meſſage_id":"k","text":"long s"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) || len(raw) == 0 || raw[0] != '{' {
			return
		}
		quick, ok := scanMessage(string(raw))
		if !ok {
			return
		}
		var want messagePayload
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("%s: encoding/json says %v", raw, err)
		}
		if !reflect.DeepEqual(quick, want) {
			t.Fatalf("%s: got %+v, want %+v", raw, quick, want)
		}
	})
}

func TestScanMessageIsQuick(t *testing.T) {
	t.Parallel()
	p, ok := scanMessage(`{"text":"hello","room":"lobby","message_id":"m1","meta":{"a":[1,"x"]}}`)
	if want := (messagePayload{Text: "hello", Room: "lobby", MessageID: "m1", Meta: json.RawMessage(`{"a":[1,"x"]}`)}); !ok || !reflect.DeepEqual(p, want) {
		t.Fatalf("%v %+v", ok, p)
	}
}
