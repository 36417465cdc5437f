package forward

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

var testKey = bytes.Repeat([]byte("k"), 32)

func someProof() *proof {
	return &proof{method: "POST", target: "/socket.io/?sid=node22.abc", client: "192.0.2.1:99", from: "node11", to: "node22", at: time.Unix(1_800_000_000, 0)}
}

func TestProof(t *testing.T) {
	t.Parallel()
	p := someProof()
	value := p.sign(testKey)
	got, err := verify(testKey, value, p.method, p.target, p.to, p.at)
	if err != nil || *got != *p {
		t.Fatalf("%+v, %v", got, err)
	}
	change := func(i int, part string) string {
		parts := strings.Split(value, ".")
		parts[i] = part
		return strings.Join(parts, ".")
	}
	for name, c := range map[string]struct {
		key                       []byte
		value, method, target, to string
		later                     time.Duration
		want                      error
	}{
		"another key":             {key: bytes.Repeat([]byte("x"), 32), want: ErrProof},
		"another method":          {method: "GET", want: ErrProof},
		"another target":          {target: p.target + "x", want: ErrProof},
		"another client":          {value: change(4, "MTkyLjAuMi4y"), want: ErrProof},
		"another sender":          {value: change(1, "node33"), want: ErrProof},
		"another receiver's name": {value: change(2, "node33"), to: "node33", want: ErrProof},
		"replayed elsewhere":      {to: "node33", want: ErrOtherNode},
		"another time":            {value: change(3, "1800000001"), want: ErrProof},
		"another version":         {value: change(0, "2"), want: ErrProof},
		"replayed later":          {later: clockSkew + time.Second, want: ErrStale},
		"from the future":         {later: -clockSkew - time.Second, want: ErrStale},
		"a clock that is behind":  {later: -clockSkew},
		"empty":                   {value: ".", want: ErrProof},
		"no code":                 {value: change(5, ""), want: ErrProof},
		"half a code":             {value: value[:len(value)-20], want: ErrProof},
		"more":                    {value: value + ".", want: ErrProof},
		"long":                    {value: change(4, strings.Repeat("A", proofMost)), want: ErrProof},
	} {
		if c.key == nil {
			c.key = testKey
		}
		for _, d := range []struct{ is, or *string }{{&c.value, &value}, {&c.method, &p.method}, {&c.target, &p.target}, {&c.to, &p.to}} {
			if *d.is == "" {
				*d.is = *d.or
			}
		}
		if _, err := verify(c.key, c.value, c.method, c.target, c.to, p.at.Add(c.later)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// No two proofs have the same code because of where one part ends and the next begins.
func TestProofParts(t *testing.T) {
	t.Parallel()
	a, b := someProof(), someProof()
	a.method, a.target = "GET", "/x"
	b.method, b.target = "GET/", "x"
	if bytes.Equal(a.code(testKey), b.code(testKey)) {
		t.Error("two proofs, one code")
	}
}

func FuzzProof(f *testing.F) {
	p := someProof()
	good := p.sign(testKey)
	f.Add(good)
	f.Add("1.a.b.0..")
	f.Add("1.a.b.-9223372036854775808.QQ.QQ")
	f.Add(strings.Repeat(".", 100))
	f.Fuzz(func(t *testing.T, value string) {
		got, err := verify(testKey, value, p.method, p.target, p.to, p.at)
		if err == nil && *got != *p {
			t.Fatalf("%q passes: %+v", value, got)
		}
		if parsed, _, ok := parseProof(value); ok && parsed.at.Unix() == p.at.Unix() && value == good && err != nil {
			t.Fatal(err)
		}
	})
}
