package postgres

// Queries are those whose plans a test looks at, with their parameters.
var Queries = map[string]struct {
	SQL  string
	Args []any
}{
	"up":     {pageUp, []any{"/", "lobby", int64(1000), maxSeq, int64(51)}},
	"down":   {pageDown, []any{"/", "lobby", int64(0), int64(2000), int64(51)}},
	"newest": {pageDown, []any{"/", "lobby", int64(0), maxSeq, int64(51)}},
}
