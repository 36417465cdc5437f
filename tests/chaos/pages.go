package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// A client of the plan that clients/main.mjs runs by.
type client struct {
	User       string   `json:"user"`
	URL        string   `json:"url"`
	Version    int      `json:"version"` // of socket.io-client: 4 (4.8) or 2 (2.5)
	Transports []string `json:"transports"`
	Rooms      []string `json:"rooms"`
	Group      int      `json:"group"`
	Token      string   `json:"token,omitempty"`   // of the roll-out's pages, which are stock: see open in clients/page.mjs
	Address    string   `json:"address,omitempty"` // that it connects from
	After      int      `json:"after,omitempty"`   // when it connects first, milliseconds
	Tab        string   `json:"tab,omitempty"`     // one of several of its user's; empty: the only one
	Guest      bool     `json:"guest,omitempty"`   // writes nothing, and goes for good before the end
}

const (
	clientsCount = 50
	groupsCount  = 10
	legacyEvery  = 5 // each fifth client is a 2.5
)

// cast is who takes part: 50 clients, of 4.8 and 2.5, over all transports, each in the lobby and one of four other rooms.
func cast(url func(group int) string) []client {
	transports := [][]string{{"websocket"}, {"polling", "websocket"}, {"polling", "websocket"}, {"polling"}}
	clients := make([]client, clientsCount)
	for i := range clients {
		c := &clients[i]
		c.Group, c.Version = i%groupsCount, 4
		if (i/groupsCount+i)%legacyEvery == 0 {
			c.Version = 2
		}
		c.User = fmt.Sprintf("u%02d", i)
		c.URL = url(c.Group)
		c.Transports = transports[(i/groupsCount+i)%len(transports)]
		c.Rooms = []string{"lobby", fmt.Sprintf("room-%d", i%4)}
	}
	return clients
}

// pages is the Node process with all clients.
type pages struct {
	clients int
	cmd     *exec.Cmd
	in      io.WriteCloser
	done    chan error // how reading its records ended

	mu      sync.Mutex // guards all below
	records []record
	state   record
	news    chan struct{} // of size 1: a state has come
	read    *record       // the newcomer has read all
	told    bool          // all have told who is in their rooms
}

// startPages runs clients, of which the first has the number first. Its files in dir have suffix in their names.
func startPages(dir, suffix string, seed uint64, lobby float64, first int, clients []client) (*pages, error) {
	plan, err := json.Marshal(map[string]any{"seed": uint32(seed), "lobby": lobby, "first": first, "clients": clients})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "plan"+suffix+".json")
	if err := os.WriteFile(file, plan, 0o600); err != nil {
		return nil, err
	}
	raw, err := os.Create(filepath.Join(dir, "records"+suffix+".jsonl"))
	if err != nil {
		return nil, err
	}
	stderr, err := os.Create(filepath.Join(dir, "pages"+suffix+".log"))
	if err != nil {
		return nil, err
	}
	p := &pages{clients: len(clients), done: make(chan error, 1), news: make(chan struct{}, 1)}
	p.cmd = exec.Command("node", "clients/main.mjs", file)
	p.cmd.Stderr = stderr
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
	go func() {
		err := readRecords(io.TeeReader(out, raw), p.take)
		p.done <- err
		close(p.done)
		_ = raw.Close()
		_ = stderr.Close()
	}()
	return p, nil
}

func (p *pages) take(r record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.Kind {
	case "state":
		p.state = r
	case "read":
		p.read = &r
	case "told":
		p.told = true
	default:
		p.records = append(p.records, r)
		return
	}
	select {
	case p.news <- struct{}{}:
	default:
	}
}

func (p *pages) tell(command string, args ...any) error {
	_, err := fmt.Fprintln(p.in, append([]any{command}, args...)...)
	return err
}

// wait waits until the pages' state is as wanted. The error says how it was last.
func (p *pages) wait(limit time.Duration, what string, ok func(state record, read *record) bool) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		p.mu.Lock()
		state, read := p.state, p.read
		p.mu.Unlock()
		if ok(state, read) {
			return nil
		}
		select {
		case <-p.news:
		case err := <-p.done:
			return errors.Join(errors.New("the pages' process has ended; its log says why"), err)
		case <-deadline.C:
			return fmt.Errorf("%s: not after %v: %d messages queued, %d of %d clients connected, %d rooms behind",
				what, limit, state.Queued, state.Connected, p.clients, state.Behind)
		}
	}
}

func (p *pages) taken() []record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.records
}

func (p *pages) end() {
	_ = p.in.Close() // which ends it
	for range p.done {
	}
	_ = p.cmd.Wait() // how it ended has no meaning any more
}
