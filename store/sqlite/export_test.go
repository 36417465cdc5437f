package sqlite

// Queries are those whose plans a test looks at.
var Queries = map[string]string{"up": pageUp, "down": pageDown, "of a user": written}

// Hold runs f while nobody can write.
func Hold(s *Store, f func()) {
	w := <-s.writer
	defer func() { s.writer <- w }()
	f()
}
