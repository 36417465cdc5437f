// Cluster measures what more nodes cost and bring: rooms whose members are spread over 1, 2 and 3 nodes on one PostgreSQL and one Redis. ../../README.md has the rules.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parleychat/chat/internal/pgtest"
	"github.com/parleychat/chat/internal/redistest"
)

type plan struct {
	rooms, members int
	rate           float64 // messages a second in all; 0: each room's sender as soon as it has its last ack
	warm, window   time.Duration
}

func main() {
	rooms := flag.Int("rooms", 20, "")
	members := flag.Int("members", 100, "of a room")
	rates := flag.String("rates", "100,500", "messages a second of the paced runs")
	window := flag.Duration("window", 15*time.Second, "of a measurement")
	rounds := flag.Int("rounds", 3, "of each run; the table has the medians")
	only := flag.String("only", "", "rows with `TEXT` in their names")
	out := flag.String("out", "", "write CLUSTER.md to `DIR`")
	flag.Parse()
	p := plan{rooms: *rooms, members: *members, warm: 2 * time.Second, window: *window}
	if err := run(p, *rates, *rounds, *only, *out); err != nil {
		log.Fatal(err)
	}
}

func run(p plan, rates string, rounds int, only, out string) error {
	plans := []plan{}
	for text := range strings.SplitSeq(rates, ",") {
		paced := p
		var err error
		if paced.rate, err = strconv.ParseFloat(text, 64); err != nil || paced.rate <= 0 {
			return fmt.Errorf("%q is no rate", text)
		}
		plans = append(plans, paced)
	}
	plans = append(plans, p)
	dir, err := os.MkdirTemp("", "bench-cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "node")
	if text, err := exec.Command("go", "build", "-o", binary, "./servers/cluster").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, text)
	}
	var all []*row
	for _, p := range plans {
		all = append(all, &row{plan: p, nodes: 1, alone: true}, &row{plan: p, nodes: 3, alone: true}, &row{plan: p, nodes: 1}, &row{plan: p, nodes: 2}, &row{plan: p, nodes: 3})
	}
	all = slices.DeleteFunc(all, func(r *row) bool { return !strings.Contains(r.name(), only) })
	for range rounds { // in turn, so that a noisy minute is not one row's
		for _, r := range all {
			f, err := r.measure(binary)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name(), err)
			}
			r.figures = append(r.figures, f)
			fmt.Println(r.name(), f)
		}
	}
	if only != "" {
		return nil
	}
	text := report(all)
	fmt.Print(text)
	if out != "" {
		return os.WriteFile(filepath.Join(out, "CLUSTER.md"), []byte(text), 0o644)
	}
	return nil
}

// A row is one kind of run.
type row struct {
	plan    plan
	nodes   int
	alone   bool // without Redis: each room is on one node
	figures []figures
}

func (r *row) load() string {
	if r.plan.rate > 0 {
		return fmt.Sprintf("%.0f messages/s", r.plan.rate)
	}
	return "saturated"
}

func (r *row) name() string {
	load := r.load()
	switch {
	case r.alone && r.nodes > 1:
		return fmt.Sprintf("%s, %d nodes that share nothing", load, r.nodes)
	case r.alone:
		return load + ", 1 node without Redis"
	case r.nodes == 1:
		return load + ", 1 node"
	}
	return fmt.Sprintf("%s, %d nodes", load, r.nodes)
}

// procs is a node's GOMAXPROCS: all nodes of a row have the machine's cores between them, as nodes with a limit of CPU would.
func (r *row) procs() int { return max(1, runtime.NumCPU()/r.nodes) }

// measure runs fresh servers of all kinds under one load.
func (r *row) measure(binary string) (f figures, err error) {
	pg, err := pgtest.Start("fsync=on")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, pg.Close()) }()
	cache, err := redistest.Start("appendonly yes", "appendfsync everysec")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	args := []string{"-db", pg.DSN("postgres")}
	if !r.alone {
		args = append(args, "-redis", "redis://"+cache.Addr())
	}
	m := &measuring{plan: r.plan, cache: cache, apart: r.alone}
	defer m.end()
	for range r.nodes {
		n, err := startNode(binary, args, r.procs())
		if err != nil {
			return f, err
		}
		m.nodes = append(m.nodes, n)
	}
	return m.run()
}

// A node is one server process.
type node struct {
	cmd  *exec.Cmd
	addr string
}

func startNode(binary string, args []string, procs int) (*node, error) {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(procs))
	cmd.Stderr = os.Stderr
	endWithUs(cmd)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	n := &node{cmd: cmd}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	n.addr = strings.TrimSpace(strings.TrimPrefix(line, "listening "))
	if err != nil {
		n.end()
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		res, err := http.Get("http://" + n.addr + "/readyz")
		if err == nil {
			_ = res.Body.Close() // only its status matters
			if res.StatusCode == http.StatusOK {
				return n, nil
			}
		}
		if time.Now().After(deadline) {
			n.end()
			return nil, fmt.Errorf("a node is not ready: %w", err)
		}
	}
}

func (n *node) end() {
	_ = n.cmd.Process.Kill() // how it ends is not what is measured
	_ = n.cmd.Wait()
}
