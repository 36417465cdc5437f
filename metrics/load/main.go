// Command load puts a Hub under a minute of load, scrapes its metrics each second and draws them:
//
//	go run ./load -out ../docs/metrics.svg
//
// The Hub is a process of its own, so that go_* and process_* are the server's alone. The run fails if a line of the drawing never moved.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"
)

func main() {
	out := flag.String("out", "metrics.svg", "the drawing")
	clients := flag.Int("clients", 200, "connections")
	second := flag.Duration("second", time.Second, "how long a second of the plan takes, and how often is scraped")
	serving := flag.Bool("serve", false, "be the server (what the command starts itself)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := func() error { return measure(ctx, *out, *clients, *second) }
	if *serving {
		run = serve
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// measure runs the plan against a server of its own and draws what the server said meanwhile.
func measure(ctx context.Context, out string, clients int, second time.Duration) (err error) {
	addr, end, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := newScraper("http://"+addr+"/metrics", second)
	scraped := make(chan error, 1)
	go func() { scraped <- s.run(ctx) }()
	phases, err := newCrowd(addr, clients, second).run(ctx)
	stop()
	if err := errors.Join(err, <-scraped); err != nil {
		return err
	}
	panels := panels(s.scrapes)
	if err := moved(panels); err != nil {
		return err
	}
	return os.WriteFile(out, []byte(draw(panels, phases, len(s.scrapes))), 0o644)
}

// startServer runs this program as the server. end closes its stdin, upon which it shuts down, and waits for it.
func startServer(ctx context.Context) (addr string, end func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-serve")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	end = func() error { return errors.Join(in.Close(), cmd.Wait()) }
	addr, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("the server says nothing: %w", err), end())
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return strings.TrimSpace(addr), end, nil
}
