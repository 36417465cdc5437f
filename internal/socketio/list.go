package socketio

import "encoding/json"

// List checks a packet's JSON as internal/legacy receives it: text must be an array in which each of n
// attachments is stood for once. It gives the elements, which are parts of text. tooDeep is an array with a
// value deeper than the limit; its placeholders are not checked.
func List(text []byte, n int, limits Limits) (elems []json.RawMessage, tooDeep, ok bool) {
	s, err := scan(text)
	if err != nil || text[space(text, 0)] != '[' {
		return nil, false, false
	}
	tooDeep = s.depth > limits.Depth+1
	if !tooDeep && checkPlaceholders(text, n) != nil {
		return nil, false, false
	}
	return elements(text, s.elems), tooDeep, true
}

// Elements cuts an array that is known to be valid JSON into its elements.
func Elements(array []byte) []json.RawMessage {
	s, err := scan(array)
	if err != nil {
		return nil
	}
	return elements(array, s.elems)
}

// Valid tells whether text is one JSON value within the limit of depth, as List has it.
func Valid(text []byte, limits Limits) bool {
	s, err := scan(text)
	return err == nil && s.depth <= limits.Depth+1
}
