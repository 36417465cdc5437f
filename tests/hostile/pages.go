package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// pages are honest clients of the npm package, in one Node process.
type pages struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	ready  chan struct{}
	exited chan struct{}
	felt   *felt

	mu   sync.Mutex // guards all below
	last []page
	err  error // how the process ended
}

// A page is what one of them says of itself.
type page struct {
	User, Transport  string
	First, Seq       int64
	View             uint32
	Heard, Own, Open int
	Retries, Pings   int
	Gap              float64 // ms, the longest without a ping
	Disconnects      []string
	Wrong            string
}

const pageEvery = time.Second

func startPages(addr string, n int, f *felt) (*pages, error) {
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = sign(goodClaims(fmt.Sprintf("page-%d", i)), "HS256", secret)
	}
	plan, err := json.Marshal(map[string]any{"url": "http://" + addr, "tokens": tokens, "every": pageEvery.Milliseconds()})
	if err != nil {
		return nil, err
	}
	p := &pages{cmd: exec.Command("node", "clients/pages.mjs", string(plan)), ready: make(chan struct{}), exited: make(chan struct{}), felt: f}
	p.cmd.Stderr = os.Stderr
	endWithUs(p.cmd)
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.follow(out)
	select {
	case <-p.ready:
		return p, nil
	case <-p.exited:
		return nil, fmt.Errorf("the pages' process ended at once: %w", p.err)
	case <-time.After(30 * time.Second):
		return nil, errors.Join(errors.New("the pages do not connect"), p.end())
	}
}

func (p *pages) follow(out io.Reader) {
	defer close(p.exited)
	in := bufio.NewScanner(out)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var said struct {
			Kind         string
			Deliveries   int
			Acks, Delays []float64
			Pages        []page
		}
		if err := json.Unmarshal(in.Bytes(), &said); err != nil {
			p.err = err
			break
		}
		p.felt.both(func(x *feeling) {
			x.Deliveries += said.Deliveries
			for _, ms := range said.Acks {
				x.Ack.add(time.Duration(ms * 1e6))
			}
			for _, ms := range said.Delays {
				x.Delay.add(time.Duration(ms * 1e6))
			}
		})
		p.mu.Lock()
		p.last = said.Pages
		p.mu.Unlock()
		if said.Kind == "ready" {
			close(p.ready)
		}
	}
	p.err = errors.Join(p.err, p.cmd.Wait())
}

func (p *pages) list() []page {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// top is the last entry that one of them has seen.
func (p *pages) top() uint64 {
	n := int64(0)
	for _, x := range p.list() {
		n = max(n, x.Seq)
	}
	return uint64(n)
}

func (p *pages) tell(word string) error {
	_, err := fmt.Fprintln(p.in, word)
	return err
}

// end closes their connections.
func (p *pages) end() error {
	_ = p.in.Close() // which ends it
	<-p.exited
	return p.err
}
