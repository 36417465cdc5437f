package socketio

import (
	"encoding/json"
	"errors"
)

var errTooDeep = errors.New("the auth object is nested too deep")

type auth struct {
	rest        json.RawMessage
	pid, offset string
}

// readAuth takes pid and offset out of a CONNECT's object.
func readAuth(data []byte, depth int) (auth, error) {
	if len(data) == 0 {
		return auth{}, nil
	}
	info, err := scan(data)
	if err != nil {
		return auth{}, err
	}
	if info.depth > depth {
		return auth{}, errTooDeep
	}
	var a auth
	a.rest = append(make([]byte, 0, len(data)), '{')
	for i := space(data, 1); data[i] == '"'; {
		key := data[i:stringEnd(data, i)]
		value := space(data, space(data, i+len(key))+1)
		end := skip(data, value)
		text := data[value:end]
		switch name := unquote(key); {
		case name == "pid":
			a.pid = plainString(text)
		case name == "offset":
			a.offset = plainString(text)
		default:
			if len(a.rest) > 1 {
				a.rest = append(a.rest, ',')
			}
			a.rest = append(a.rest, data[i:end]...)
		}
		if i = space(data, end); data[i] == ',' {
			i = space(data, i+1)
		}
	}
	a.rest = append(a.rest, '}')
	return a, nil
}

// plainString gives a string's text, and nothing for another value.
func plainString(text []byte) string {
	if text[0] != '"' {
		return ""
	}
	return unquote(text)
}
