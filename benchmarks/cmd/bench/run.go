package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/parleychat/chat/benchmarks/internal/load"
)

const (
	startLimit = 20 * time.Second
	stopLimit  = 3 * time.Second
	loadLimit  = 4 * time.Minute
)

// once measures one plan on a fresh server in a process of its own, with the
// load in another.
func (b *bench) once(ctx context.Context, s server, p load.Plan) (load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	srv, err := b.start(ctx, s, p.Mode == "idle")
	if err != nil {
		return load.Result{}, err
	}
	defer srv.stop()
	p.PID, p.Addr, p.Dialect = srv.cmd.Process.Pid, srv.addr, s.dialect
	return b.load(ctx, p)
}

func (b *bench) load(ctx context.Context, p load.Plan) (load.Result, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "load"),
		"-mode", p.Mode, "-pid", strconv.Itoa(p.PID), "-addr", p.Addr, "-dialect", p.Dialect,
		"-members", strconv.Itoa(p.Members), "-inflight", strconv.Itoa(p.InFlight),
		"-rooms", strconv.Itoa(p.Rooms), "-db", strconv.Itoa(p.DB), "-entries", strconv.FormatUint(p.Entries, 10),
		"-rate", strconv.Itoa(p.Rate), "-warm", p.Warm.String(), "-time", p.Time.String())
	var r load.Result
	err := jsonOf(cmd, &r)
	return r, err
}

// running is a server's process.
type running struct {
	cmd  *exec.Cmd
	addr string
	log  *os.File
}

// start returns once the server has said where it listens. What it writes to
// its standard error goes to a file beside its binary.
func (b *bench) start(ctx context.Context, s server, noroom bool) (*running, error) {
	argv := append(b.expand(s.argv), "-addr", "127.0.0.1:0")
	if noroom {
		argv = append(argv, "-noroom")
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = b.root
	log, err := os.Create(filepath.Join(b.bin, s.name+".log"))
	if err != nil {
		return nil, err
	}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &running{cmd: cmd, log: log}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		addr, ok := strings.CutPrefix(strings.TrimSpace(text), "listening ")
		if !ok {
			r.stop()
			return nil, fmt.Errorf("%s said %q and not where it listens", s.name, text)
		}
		r.addr = addr
		return r, nil
	case <-time.After(startLimit):
		r.stop()
		return nil, fmt.Errorf("%s did not start in %s", s.name, startLimit)
	}
}

// stop ends the process by its own id.
func (r *running) stop() {
	r.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		r.cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(stopLimit):
		r.cmd.Process.Kill()
		<-done
	}
	r.log.Close()
}
