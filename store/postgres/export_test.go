package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parleychat/chat/internal/storekit"
)

// Queries are those whose plans a test looks at, with their parameters.
var Queries = map[string]struct {
	SQL  string
	Args []any
}{
	"up":     {pageUp, []any{"/", "lobby", int64(1000), storekit.MaxSeq, int64(51)}},
	"down":   {pageDown, []any{"/", "lobby", int64(0), int64(2000), int64(51)}},
	"newest": {pageDown, []any{"/", "lobby", int64(0), storekit.MaxSeq, int64(51)}},
}

// Version is that of the tables.
var Version = len(migrations)

// OpenVersion opens a store as a program does that knows the tables up to a version only.
func OpenVersion(ctx context.Context, dsn string, version int) (*Store, error) {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return nil, err
	}
	s := &Store{pool: pool, owned: true}
	if err := s.migrate(ctx, migrations[:version]); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}
