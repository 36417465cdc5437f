package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// An attack is what its process does until its time is over. It leaves nothing behind: whatever it has open is closed then.
type attack struct {
	name string
	what string // for people
	run  func(w *world)
	// must are answers that have to come: without them it has not met what it is to meet.
	must []string
	// never are answers that must not come.
	never []string
	// inTime are those that take longer than the short form does.
	inTime []string
	// front are those of them that nginx keeps from coming: it holds on to what is slow, closes behind a 400, and buffers more than the time is enough for.
	front []string
	// lasts is for an attack that has to wait for something, at length only.
	lasts time.Duration
}

// A world is what an attack has.
type world struct {
	context.Context
	addr  string
	net   int
	scale float64 // of counts; 1 at length

	open atomic.Int64 // connections
	most atomic.Int64
	next atomic.Int64 // user names
	all  sync.WaitGroup

	mu     sync.Mutex // guards all below
	counts map[string]int
	conns  map[net.Conn]struct{}
}

// size is a number of the long form, for this one.
func (w *world) size(n int) int { return max(1, int(float64(n)*w.scale)) }

func (w *world) count(what string) { w.add(what, 1) }

func (w *world) add(what string, n int) {
	w.mu.Lock()
	w.counts[what] += n
	w.mu.Unlock()
}

// go1 runs do as one of the attack's own.
func (w *world) go1(do func()) { w.all.Go(do) }

// crowd runs do for n attackers at once, again and again until the time is over, at most each pace.
func (w *world) crowd(n int, pace time.Duration, do func(i int)) {
	for i := range n {
		w.go1(func() {
			for w.Err() == nil {
				do(i)
				w.sleep(pace)
			}
		})
	}
}

func (w *world) sleep(d time.Duration) {
	select {
	case <-w.Done():
	case <-time.After(d):
	}
}

// address is one of 200 of this attack's.
func (w *world) address(i int) string { return fmt.Sprintf("127.0.%d.%d", w.net, 1+i%200) }

// dial connects; the connection is closed at the end of the attack, if not before.
func (w *world) dial(from string) (net.Conn, error) {
	c, err := dialFrom(from, w.addr)
	if err != nil {
		w.count("dial failed")
		return nil, err
	}
	w.count("connections")
	n := w.open.Add(1)
	for m := w.most.Load(); n > m && !w.most.CompareAndSwap(m, n); m = w.most.Load() {
	}
	t := &tracked{Conn: c, w: w}
	w.mu.Lock()
	w.conns[t] = struct{}{}
	w.mu.Unlock()
	if w.Err() != nil {
		_ = t.Close()
	}
	return t, nil
}

// tracked is a connection of a world.
type tracked struct {
	net.Conn
	w    *world
	once sync.Once
}

func (t *tracked) Close() error {
	t.once.Do(func() {
		t.w.open.Add(-1)
		t.w.mu.Lock()
		delete(t.w.conns, t)
		t.w.mu.Unlock()
	})
	return t.Conn.Close()
}

func (w *world) closeAll() {
	w.mu.Lock()
	list := slices.Collect(maps.Keys(w.conns))
	w.mu.Unlock()
	for _, c := range list {
		_ = c.Close()
	}
}

// account is the same user each time.
func (w *world) account(i int) string { return fmt.Sprintf("attacker-%d-%d", w.net, i) }

// user is one that has not been before.
func (w *world) user() string { return fmt.Sprintf("attacker-%d-%d", os.Getpid(), w.next.Add(1)) }

// A told is what an attack's process says at its end.
type told struct {
	Counts map[string]int
	Most   int // connections at once
	CPU    time.Duration
}

func (t told) String() string {
	var parts []string
	for _, k := range slices.SortedFunc(maps.Keys(t.Counts), func(a, b string) int {
		if n := t.Counts[b] - t.Counts[a]; n != 0 {
			return n
		}
		return strings.Compare(a, b)
	}) {
		parts = append(parts, fmt.Sprintf("%s %d", k, t.Counts[k]))
	}
	return strings.Join(parts, ", ")
}

// attackAs is the variable that makes the program be an attack's process.
const attackAs = "HOSTILE_ATTACK"

// niceness of attackers: they share the machine's cores with the server, and on the internet have their own.
const niceness = 10

// runAttack is all of an attack's process: NAME ADDR DURATION SCALE are its arguments, what it tells goes to out.
func runAttack(args []string, out io.Writer) error {
	if len(args) != 4 {
		return errors.New("an attack wants a name, an address, a duration and a scale")
	}
	i := slices.IndexFunc(attacks, func(a attack) bool { return a.name == args[0] })
	lasts, err := time.ParseDuration(args[2])
	scale, err2 := strconv.ParseFloat(args[3], 64)
	if i < 0 || err != nil || err2 != nil {
		return fmt.Errorf("attack %q: %w", args, errors.Join(err, err2))
	}
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, niceness); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lasts)
	defer cancel()
	w := &world{Context: ctx, addr: args[1], net: i + 1, scale: scale, counts: map[string]int{}, conns: map[net.Conn]struct{}{}}
	attacks[i].run(w)
	<-ctx.Done()
	w.closeAll()
	w.all.Wait()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(told{w.counts, int(w.most.Load()), time.Duration(used.Utime.Nano() + used.Stime.Nano())})
}

// launch runs an attack in a process of its own, and returns what waits for its end.
func launch(a attack, addr string, lasts time.Duration, scale float64) (wait func() (told, error), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, a.name, addr, lasts.String(), strconv.FormatFloat(scale, 'g', -1, 64))
	cmd.Env = append(os.Environ(), attackAs+"=1")
	cmd.Stderr = os.Stderr
	endWithUs(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() (t told, err error) {
		late := time.AfterFunc(lasts+30*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		err = json.NewDecoder(out).Decode(&t)
		return t, errors.Join(err, cmd.Wait())
	}, nil
}
