package socketio

import "encoding/json"

// List checks a packet's JSON as internal/legacy receives it: text must be an array of values no deeper than limits.Depth in which
// each of n attachments is stood for once. It gives the elements, which are parts of text; ok tells whether all that holds.
func List(text []byte, n int, limits Limits) (elems []json.RawMessage, ok bool) {
	s, err := scan(text)
	if err != nil || s.depth > limits.Depth+1 {
		return nil, false
	}
	if text[space(text, 0)] != '[' || checkPlaceholders(text, n) != nil {
		return nil, false
	}
	return elements(text, s.elems), true
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
