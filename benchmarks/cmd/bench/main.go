// Command bench measures what a chat server costs: it builds the servers, puts
// the same load on each in turn, prints the table and writes it down.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	only := flag.String("only", "", "servers to measure, with commas: bare, chat, node, centrifuge, zishang, gosocketio, python; with -log its parts: memory, sqlite, postgres, delivery")
	quick := flag.Bool("quick", false, "a short form, to see that it works; its figures mean little")
	libsOnly := flag.Bool("libs", false, "only the comparison of WebSocket libraries")
	logOnly := flag.Bool("log", false, "only the part of the log: what saving costs, with each store")
	draw := flag.Bool("draw", false, "measure nothing: write the report and the drawing from results.json")
	root := flag.String("root", ".", "the benchmarks' folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *root, *only, *quick, *libsOnly, *logOnly, *draw); err != nil {
		slog.Error("bench", "err", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root, only string, quick, libsOnly, logOnly, draw bool) error {
	if draw {
		r, err := readResults(filepath.Join(root, "results.json"))
		if err != nil {
			return err
		}
		return r.report(root)
	}
	b, err := newBench(root)
	if err != nil {
		return err
	}
	// Only a whole run may take the place of the last whole run.
	out := root
	if quick || libsOnly || logOnly || only != "" {
		out = b.bin
	}
	withLibs, withLog := only == "" && !logOnly, only == "" && !libsOnly || logOnly
	var chosen []server
	switch {
	case logOnly:
		b.logOnly, err = chooseLog(only)
	case !libsOnly:
		chosen, err = choose(servers, only)
	}
	if err != nil {
		return err
	}
	if quick {
		b.sizes, b.logSizes = quickSizes, quickLogSizes
	}
	if err := b.build(ctx, "./cmd/load", "load"); err != nil {
		return err
	}
	r := b.measure(ctx, chosen, withLibs, withLog)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.Command, r.Quick = "make -C benchmarks bench", quick
	if args := strings.Join(os.Args[1:], " "); args != "" {
		r.Command += ` ARGS="` + args + `"`
	}
	if err := r.write(filepath.Join(out, "results.json")); err != nil {
		return err
	}
	return r.report(out)
}

// report prints the table and writes the report and the drawing.
func (r *Results) report(dir string) error {
	fmt.Println(r.table())
	if err := os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(r.markdown()), 0o644); err != nil {
		return err
	}
	if len(r.Servers) > 0 {
		if err := os.WriteFile(filepath.Join(dir, "cost.svg"), []byte(r.svg()), 0o644); err != nil {
			return err
		}
	}
	if r.Log == nil {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "log.svg"), []byte(r.logSVG()), 0o644)
}

func newBench(root string) (*bench, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(root, ".out")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	return &bench{root: root, bin: bin, sizes: fullSizes, logSizes: fullLogSizes, began: time.Now()}, nil
}
