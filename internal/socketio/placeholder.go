package socketio

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

var errPlaceholder = errors.New("invalid placeholder")

// placeholders walks valid JSON and calls found for each placeholder, in order. Only
// {"_placeholder":true,"num":N} is one, in either order of its members, with any white space, N a plain
// integer. An object that could be taken for a placeholder and is not one (a spelling by escapes, another
// case, one member more, a number that is none) is an error: receivers read such things in different ways.
func placeholders(text []byte, found func(start, end, num int)) error {
	for i := 0; i < len(text); {
		switch text[i] {
		case '{':
			if end, num := placeholder(text, i); end > 0 {
				found(i, end, num)
				i = end
				continue
			}
			i++
		case '"':
			end := stringEnd(text, i)
			if claims(text, i, end) {
				return errPlaceholder
			}
			i = end
		default:
			i++
		}
	}
	return nil
}

// claims tells whether the string is a key that reads as _placeholder, with the value true.
func claims(text []byte, start, end int) bool {
	i := space(text, end)
	if i >= len(text) || text[i] != ':' {
		return false
	}
	if i = space(text, i+1); text[i] != 't' {
		return false
	}
	key := text[start:end]
	if len(key) == len(`"_placeholder"`) && !bytes.EqualFold(key, []byte(`"_placeholder"`)) {
		return false // no room for an escape
	}
	return strings.EqualFold(unquote(key), "_placeholder")
}

// placeholder matches one at the brace at i. No match: end is 0.
func placeholder(text []byte, i int) (end, num int) {
	m := matcher{text: text, i: i + 1}
	flag, count := false, false
	for range 2 {
		switch {
		case !flag && m.token(`"_placeholder"`) && m.token(":") && m.token("true"):
			flag = true
		case !count && m.token(`"num"`) && m.token(":") && m.number(&num):
			count = true
		default:
			return 0, 0
		}
		if !m.token(",") {
			break
		}
	}
	if !flag || !count || !m.token("}") {
		return 0, 0
	}
	return m.i, num
}

type matcher struct {
	text []byte
	i    int
}

func (m *matcher) token(t string) bool {
	i := space(m.text, m.i)
	if !bytes.HasPrefix(m.text[i:], []byte(t)) {
		return false
	}
	m.i = i + len(t)
	return true
}

func (m *matcher) number(n *int) bool {
	i := space(m.text, m.i)
	end := digits(m.text, i)
	v, err := strconv.ParseUint(string(m.text[i:end]), 10, 31)
	if err != nil || end < len(m.text) && (m.text[end] == '.' || m.text[end] == 'e' || m.text[end] == 'E') {
		return false
	}
	*n, m.i = int(v), end
	return true
}

// checkPlaceholders wants each of n attachments stood for once.
func checkPlaceholders(text []byte, n int) error {
	used, count, bad := make([]bool, n), 0, false
	err := placeholders(text, func(_, _, num int) {
		if num >= n || used[num] {
			bad = true
			return
		}
		used[num] = true
		count++
	})
	if err != nil || bad || count != n {
		return errPlaceholder
	}
	return nil
}
