package engineio

import (
	"net/url"
	"testing"
)

func FuzzQuery(f *testing.F) {
	for _, q := range []string{"", "EIO=4&transport=polling&t=abc", "transport=websocket&EIO=3&b64=1", "sid=a%20b+c&sid=second", "j", "&&=&j=;&EIO=%zz&EIO=4", "%45IO=4"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		want, _ := url.ParseQuery(raw)
		q := query(raw)
		for _, name := range []string{"EIO", "transport", "sid", "j", "b64", ""} {
			if q.get(name) != want.Get(name) || q.has(name) != want.Has(name) {
				t.Fatalf("%q in %q: %q %v, not %q %v", name, raw, q.get(name), q.has(name), want.Get(name), want.Has(name))
			}
		}
	})
}
