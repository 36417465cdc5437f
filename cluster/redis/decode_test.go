package redis

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestPublications(t *testing.T) {
	t.Parallel()
	want := [][]byte{{}, []byte("a"), bytes.Repeat([]byte("b"), 200), {}}
	var entry []byte
	for _, p := range want {
		entry = appendPublication(entry, p)
	}
	got, err := appendPublications(want[:1:1], entry)
	if err != nil || !slices.EqualFunc(got, append(want[:1:1], want...), bytes.Equal) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"\x01", "\x00\x02a", "\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		if got, err := appendPublications(want[:1:1], []byte(bad)); !errors.Is(err, errEntry) || len(got) != 1 {
			t.Errorf("%q: %q, %v", bad, got, err)
		}
	}
}

// FuzzEntry checks that an entry is read whole or not at all, and that what was read makes up the entry, but for lengths that are written longer than they need be.
func FuzzEntry(f *testing.F) {
	f.Add([]byte("\x01a\x00\x02bc"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a"))
	f.Add([]byte("\x80\x00"))
	f.Fuzz(func(t *testing.T, entry []byte) {
		var again []byte
		all, err := appendPublications(nil, entry)
		for _, p := range all {
			again = appendPublication(again, p)
		}
		switch {
		case err != nil && again != nil:
			t.Errorf("%q: %v, after publications", entry, err)
		case err == nil && len(again) > len(entry):
			t.Errorf("%q became %q", entry, again)
		}
	})
}

// FuzzMessage checks that what any bytes are read as is read again from what it is written as.
func FuzzMessage(f *testing.F) {
	f.Add(appendQuestion("abcdef", 7, time.Second, []byte("?")))
	f.Add(appendAnswer(kindRefused, "abcdef", 1<<60, []byte("no")))
	f.Add(appendHead(nil, kindChanged, ""))
	f.Fuzz(func(t *testing.T, message []byte) {
		kind, tag, rest, err := readHead(message)
		if err != nil {
			return
		}
		if again := append(appendHead(nil, kind, tag), rest...); !bytes.Equal(again, message) {
			t.Errorf("%q became %q", message, again)
		}
		if number, wait, question, err := readQuestion(rest); err == nil {
			_, _, again, _ := readHead(appendQuestion(tag, number, wait, question))
			n, w, q, err := readQuestion(again)
			if err != nil || n != number || w != wait || !bytes.Equal(q, question) {
				t.Errorf("%d %v %q became %d %v %q, %v", number, wait, question, n, w, q, err)
			}
		}
	})
}

// FuzzReplies checks that no answer of Redis's, as far as its texts go, makes a panic.
func FuzzReplies(f *testing.F) {
	f.Add("1-2", "p", "\x01a", `{"Tag":"abcdef","Name":"abcdef.1","Address":""}`)
	f.Add("1700000000000", "", "", "{")
	f.Fuzz(func(t *testing.T, name, field, value, info string) {
		at, got, err := readEntry([]any{name, []any{field, value, "odd"}})
		if err == nil {
			if back, err := parseID(at.String()); err != nil || back != at {
				t.Errorf("%q became %v, %v", name, back, err)
			}
			if field == entryField && got != value {
				t.Errorf("%q, want %q", got, value)
			}
		}
		for _, entry := range []any{nil, name, []any{name}, []any{nil, nil}, []any{name, value}, []any{name, []any{1, nil}}} {
			_, _, _ = readEntry(entry)
		}
		for tag, n := range readNodes([]any{info, nil, 1}) {
			if tag == "" || n.Tag != tag {
				t.Errorf("%q is %+v", tag, n)
			}
		}
		if _, err := readTold([]any{int64(1), name, field, value, []any{info}}, ""); err == nil && !isNumber(name) {
			t.Errorf("%q is a time", name)
		}
	})
}

func isNumber(s string) bool {
	for i, r := range s {
		if (r < '0' || r > '9') && (i > 0 || r != '-' && r != '+') {
			return false
		}
	}
	return s != ""
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Option{
		WithPrefix(""), WithPrefix("{a}"), WithStreams(0), WithStreams(streamsMost + 1), WithTrim(0, time.Minute), WithTrim(1, 0), WithLease(time.Millisecond),
	} {
		s := settings{prefix: "chat", streams: 8, length: 1, age: 1, lease: time.Second}
		if err := s.validate(); err != nil {
			t.Fatal(err)
		}
		if o.apply(&s); s.validate() == nil {
			t.Errorf("%+v is valid", s)
		}
	}
	if _, err := New(nil); err == nil {
		t.Error("New without a client")
	}
}
