package engineio

import (
	"net/url"
	"strings"
)

// A query is the raw query of a URL. Of its parameters few are looked at, once each: to make a map of all of them
// costs more than the rest of a request's checks.
type query string

// find is the first value of a parameter. Pairs that url.ParseQuery would refuse are passed over, as there.
func (q query) find(name string) (value string, ok bool) {
	for rest := string(q); rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if pair == "" || strings.Contains(pair, ";") {
			continue
		}
		key, val, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(key)
		if err != nil || key != name {
			continue
		}
		if val, err = url.QueryUnescape(val); err == nil {
			return val, true
		}
	}
	return "", false
}

func (q query) get(name string) string {
	value, _ := q.find(name)
	return value
}

func (q query) has(name string) bool {
	_, ok := q.find(name)
	return ok
}
