package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/benchmarks/internal/load"
)

// planned are two pages in the middle of the room, as pageQuery has them.
func planned(n uint64) []chat.PageQuery {
	after, before := n/2, n/2+load.PageSize
	return []chat.PageQuery{pageQuery(load.Place{After: &after}), pageQuery(load.Place{Before: &before})}
}

// pageNames are those of planned.
var pageNames = []string{"after", "before"}

// queries is a pgx.QueryTracer that keeps the last query: what the store runs
// is what is explained, whatever it comes to be.
type queries struct {
	mu   sync.Mutex
	last pgx.TraceQueryStartData
}

func (q *queries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = d
	return ctx
}

func (q *queries) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func postgresPlans(ctx context.Context, dsn string, s chat.Store, seen *queries, n uint64) (out []QueryPlan, err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	for i, page := range planned(n) {
		if _, _, err := s.Page(ctx, page); err != nil {
			return nil, err
		}
		seen.mu.Lock()
		query := seen.last
		seen.mu.Unlock()
		rows, err := conn.Query(ctx, "EXPLAIN (ANALYZE, BUFFERS) "+query.SQL, query.Args...)
		if err != nil {
			return nil, err
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, err
		}
		out = append(out, QueryPlan{Page: pageNames[i], SQL: query.SQL, Plan: strings.Join(lines, "\n")})
	}
	return out, nil
}

// sqlitePlans explains the queries that store/sqlite has in its constants
// pageUp and pageDown. Its driver tells nobody what it runs, so they are read
// from the source.
func (b *bench) sqlitePlans(ctx context.Context, path string) (out []QueryPlan, err error) {
	texts, err := constants(filepath.Join(b.root, "../store/sqlite"), "pageUp", "pageDown")
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	for i, name := range pageNames {
		rows, err := db.QueryContext(ctx, "EXPLAIN QUERY PLAN "+texts[i], "/", load.Room(0), 1, 1000, load.PageSize+1)
		if err != nil {
			return nil, err
		}
		var lines []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				return nil, errors.Join(err, rows.Close())
			}
			lines = append(lines, detail)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
		out = append(out, QueryPlan{Page: name, SQL: texts[i], Plan: strings.Join(lines, "\n")})
	}
	return out, nil
}

// constants are values of string constants of the package in dir. Imports are
// not looked up: the constants need none.
func constants(dir string, names ...string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	conf := types.Config{Error: func(error) {}, Importer: noImports{}}
	pkg, _ := conf.Check(dir, fset, files, nil) // it has errors, of the imports
	var out []string
	for _, name := range names {
		c, ok := pkg.Scope().Lookup(name).(*types.Const)
		if !ok || c.Val().Kind() != constant.String {
			return nil, fmt.Errorf("no string constant %s in %s", name, dir)
		}
		out = append(out, constant.StringVal(c.Val()))
	}
	return out, nil
}

type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) { return nil, errors.New("not looked up") }
