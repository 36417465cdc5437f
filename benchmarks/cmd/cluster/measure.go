package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parleychat/chat/benchmarks/internal/proc"
	"github.com/parleychat/chat/internal/redistest"
)

// figures are of one window.
type figures struct {
	messages   int64 // acked
	deliveries int64 // to members other than the sender
	took       time.Duration
	server     time.Duration // CPU of all nodes
	redis      time.Duration // CPU of Redis
	commands   int64         // of Redis
	in, out    int64         // bytes of Redis's connections
	delays     []time.Duration
}

func (f figures) String() string {
	return fmt.Sprintf("%.0f deliveries/s, %.2f µs of CPU each, Redis %.2f; a message: %.1f commands, %.0f bytes in, %.0f out; delay %.1f ms, p99 %.1f",
		f.perSecond(), f.cpu(), f.redisCPU(), f.perMessage(f.commands), f.perMessage(f.in), f.perMessage(f.out), f.delay(0.5), f.delay(0.99))
}

func (f figures) perSecond() float64 { return float64(f.deliveries) / f.took.Seconds() }
func (f figures) cpu() float64       { return float64(f.server.Microseconds()) / float64(f.deliveries) }
func (f figures) redisCPU() float64  { return float64(f.redis.Microseconds()) / float64(f.deliveries) }

// delay is that of which a share of all were shorter, in ms.
func (f figures) delay(share float64) float64 {
	if len(f.delays) == 0 {
		return 0
	}
	return float64(f.delays[int(share*float64(len(f.delays)-1))]) / float64(time.Millisecond)
}

func (f figures) perMessage(n int64) float64 {
	return float64(n) / float64(f.messages)
}

type measuring struct {
	plan    plan
	cache   *redistest.Server
	nodes   []*node
	apart   bool // a room is on one node
	clients []*client
	counts  counts
	delays  delays
	readers sync.WaitGroup
}

func (m *measuring) run() (f figures, err error) {
	m.counts.failed = make(chan error, 1)
	if err := m.come(); err != nil {
		return f, err
	}
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for room := range m.plan.rooms {
		c := m.clients[room*m.plan.members+room%m.plan.members] // by turns on each node
		senders.Go(func() { m.talk(c, uint64(room), stop) })
	}
	wait := func(d time.Duration) error {
		select {
		case err := <-m.counts.failed:
			return err
		case <-time.After(d):
			return nil
		}
	}
	err = wait(m.plan.warm)
	var before, after figures
	if err == nil {
		before, err = m.read()
	}
	if err == nil {
		err = wait(m.plan.window)
	}
	if err == nil {
		after, err = m.read()
	}
	close(stop)
	senders.Wait()
	if err == nil {
		err = m.settle()
	}
	return after.less(before), err
}

// come has all clients join, room by room, each room's members on the nodes by turns, or the rooms.
func (m *measuring) come() error {
	for room := range m.plan.rooms {
		for i := range m.plan.members {
			at := i
			if m.apart {
				at = room
			}
			c, err := dial(m.nodes[at%len(m.nodes)].addr, fmt.Sprint("r", room), fmt.Sprintf("c%d-%d", room, i))
			if err != nil {
				return err
			}
			if i == (room+1)%m.plan.members { // the sender is the one before, on another node where there is one
				c.watch = &m.delays
			}
			m.clients = append(m.clients, c)
			m.readers.Go(func() {
				select {
				case m.counts.failed <- c.read(&m.counts): // it ends with the connection, at the end of the run too
				default:
				}
			})
			select {
			case <-c.joined:
			case err := <-m.counts.failed:
				return err
			case <-time.After(10 * time.Second):
				return errors.New("join_room was not answered")
			}
		}
	}
	return nil
}

// talk says one thing after the other, each when the last one's ack has come. At a rate it is as people are who know nothing of each other: the pauses are
// exponentially distributed, and what is due while an ack is waited for is said at once after it.
func (m *measuring) talk(c *client, seed uint64, stop chan struct{}) {
	random := rand.New(rand.NewPCG(seed, 0)) // the same pauses in each run
	for due := time.Now(); ; {
		if m.plan.rate > 0 {
			due = due.Add(time.Duration(random.ExpFloat64() * float64(time.Second) * float64(m.plan.rooms) / m.plan.rate))
			select {
			case <-time.After(time.Until(due)):
			case <-stop:
				return
			}
		}
		if c.say() != nil {
			return // the reader tells
		}
		select {
		case <-c.acked:
		case <-time.After(10 * time.Second):
			return // settle misses it
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// settle waits until every member has every entry.
func (m *measuring) settle() error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		behind := 0
		for room := range m.plan.rooms {
			members := m.clients[room*m.plan.members:][:m.plan.members]
			said := uint64(members[room%m.plan.members].said)
			for _, c := range members {
				if c.seq.Load() != said {
					behind++
				}
			}
		}
		if behind == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d members do not have everything", behind)
		}
	}
}

// read is what has come to pass until now. took is a time of day.
func (m *measuring) read() (f figures, err error) {
	f.delays = m.delays.take()
	f.messages, f.deliveries, f.took = m.counts.acks.Load(), m.counts.deliveries.Load(), time.Duration(time.Now().UnixNano())
	for _, n := range m.nodes {
		d, err := proc.CPU(n.cmd.Process.Pid)
		if err != nil {
			return f, err
		}
		f.server += d
	}
	info, err := m.cache.Do("INFO", "everything")
	if err != nil {
		return f, err
	}
	values := map[string]int64{}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			values[name] = n
		}
	}
	f.commands, f.in, f.out = values["total_commands_processed"], values["total_net_input_bytes"], values["total_net_output_bytes"]
	f.redis, err = proc.CPU(int(values["process_id"]))
	return f, err
}

func (f figures) less(b figures) figures {
	return figures{
		f.messages - b.messages, f.deliveries - b.deliveries, f.took - b.took, f.server - b.server, f.redis - b.redis, f.commands - b.commands, f.in - b.in, f.out - b.out, f.delays,
	}
}

func (m *measuring) end() {
	for _, n := range m.nodes {
		n.end()
	}
	for _, c := range m.clients {
		_ = c.conn.Close() // to end its reader
	}
	m.readers.Wait()
}
