package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/pprof/profile"
)

const (
	secret = "the hostile test's secret, of 32 bytes and more"
	issuer = "https://sign-in.example"
)

// The probe's two files, and the lines that call them.
var (
	//go:embed probe/main.go.txt
	probeMain []byte
	//go:embed probe/engineio.go.txt
	probeEngine []byte
)

const (
	top        = "../.."
	production = top + "/examples/production"
)

// A change puts a line into a source file behind another, of which there has to be one.
type change struct{ file, behind, line string }

var changes = []change{
	{production + "/main.go", "\tserver := &http.Server{\n", "\t\tConnContext: labelled,\n"},
	{top + "/internal/engineio/flush.go", "\n\t\tfor i, s := range w.list {\n", "\t\t\tprobeLabel(s)\n"},
}

// build makes the binary of examples/production in dir: its own sources, with the changes and a file beside each. They tell by a label whom a goroutine works
// for, and answer at a second address how many there are.
func build(dir string) (string, error) {
	texts := map[string][]byte{production + "/zz_probe.go": probeMain, top + "/internal/engineio/zz_probe.go": probeEngine}
	for _, c := range changes {
		source, err := os.ReadFile(c.file)
		if err != nil {
			return "", err
		}
		if bytes.Count(source, []byte(c.behind)) != 1 {
			return "", fmt.Errorf("%s has no single %q for the probe", c.file, c.behind)
		}
		texts[c.file] = bytes.Replace(source, []byte(c.behind), []byte(c.behind+c.line), 1)
	}
	overlay := map[string]string{}
	for name, text := range texts {
		real, err := filepath.Abs(name)
		if err != nil {
			return "", err
		}
		file := filepath.Join(dir, strconv.Itoa(len(overlay))+".go")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return "", err
		}
		overlay[real] = file
	}
	replace, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, replace, 0o600); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "production")
	cmd := exec.Command("go", "build", "-overlay", file, "-o", bin, ".")
	cmd.Dir = production
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

// A server is the process under attack.
type server struct {
	addr, probe string
	cmd         *exec.Cmd
	exited      chan struct{}
	err         error // after exited
}

func startServer(bin, dir string, connects int, env ...string) (*server, error) {
	old, err := filepath.Glob(filepath.Join(dir, "chat.db*"))
	if err != nil {
		return nil, err
	}
	for _, file := range old { // message_ids begin anew
		if err := os.Remove(file); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.Command(bin), exited: make(chan struct{})}
	s.cmd.Env = append(append(os.Environ(), "ADDR=127.0.0.1:0", "JWT_SECRET="+secret, "JWT_ISSUER="+issuer, "AUTH=jwt", "DRAIN=10s"), env...)
	if connects > 0 {
		s.cmd.Env = append(s.cmd.Env, "CONNECTS_PER_SECOND="+strconv.Itoa(connects))
	}
	s.cmd.Stderr, s.cmd.Stdout = w, w
	endWithUs(s.cmd)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	_ = w.Close()
	ready := make(chan struct{})
	go s.follow(r, log, ready)
	select {
	case <-ready:
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("the server ended at once: %w", s.err)
	case <-time.After(30 * time.Second):
		return nil, errors.Join(errors.New("the server does not listen"), s.stop())
	}
}

// follow writes the log to a file, and closes ready when both addresses are known.
func (s *server) follow(r, log *os.File, ready chan struct{}) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if s.addr == "" {
			var l struct{ Msg, Addr string }
			_ = json.Unmarshal(line, &l) // the runtime writes other lines
			switch l.Msg {
			case "probe":
				s.probe = l.Addr
			case "listening":
				s.addr = l.Addr
				close(ready)
			}
		}
		_, _ = log.Write(line)
		if err != nil {
			break
		}
	}
	_, _ = r.Close(), log.Close()
	s.err = s.cmd.Wait()
	close(s.exited)
}

// stop asks it to end; it has to, with status 0.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
		return errors.New("the server did not end when it was asked to")
	}
	return s.err
}

// usage is what the process holds at a moment, memory in bytes. Heap and Stacks are of objects; after a collection only of those that live.
type usage struct {
	At         time.Duration // since the run began
	CPU        time.Duration // used until then
	Waited     time.Duration // for a core, all threads together
	RSS        int64
	Mapped     int64 // of RSS: pages of files, the program's own first of all
	Files      int
	Goroutines int
	Heap       int64
	Stacks     int64
	Profiler   int64 // what the test's own profiles take
	Unused     int64 // between the heap's objects
	Free       int64 // of the heap, to be used again or given back to the system
	Runtime    int64 // all that the Go runtime has and has not given back. The rest of RSS is mapped, or SQLite's
}

func (s *server) usage(collect bool) (u usage, err error) {
	url := "http://" + s.probe + "/state"
	if collect {
		url += "?gc=1"
	}
	client := http.Client{Timeout: patience}
	res, err := client.Get(url)
	if err != nil {
		return u, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&u); err != nil {
		return u, err
	}
	pid := s.cmd.Process.Pid
	if u.CPU, err = cpuOf(pid); err != nil {
		return u, err
	}
	u.Waited = waitedBy(pid)
	if u.RSS, u.Mapped, err = residentOf(pid); err != nil {
		return u, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	u.Files = len(files)
	return u, err
}

// A recording is a CPU profile that runs.
type recording struct {
	enough io.Closer
	done   chan struct{}
	data   []byte
	err    error
}

func (s *server) record() *recording {
	r, w := io.Pipe()
	rec := &recording{enough: w, done: make(chan struct{})}
	go func() {
		defer close(rec.done)
		res, err := http.Post("http://"+s.probe+"/cpu", "application/octet-stream", r)
		if err != nil {
			rec.err = err
			return
		}
		defer res.Body.Close()
		rec.data, rec.err = io.ReadAll(res.Body)
	}()
	return rec
}

// shares is the CPU time of a profile, by whom it was spent for.
type shares struct {
	Honest, Attack time.Duration // of their connections: goroutines, and writes to them
	Save           time.Duration // of the Hub's own goroutines, which save and hand on
	Rest           time.Duration // collector, scheduler, the probe
	Samples        int
}

func (r *recording) end() (s shares, err error) {
	_ = r.enough.Close()
	<-r.done
	if r.err != nil {
		return s, r.err
	}
	p, err := profile.ParseData(r.data)
	if err != nil {
		return s, err
	}
	for _, x := range p.Sample {
		s.Samples += int(x.Value[0])
		*s.of(x) += time.Duration(x.Value[1])
	}
	return s, nil
}

// of finds where a sample belongs. Goroutines that serve all inherit a label from whoever was first, so that their functions go before it.
func (s *shares) of(x *profile.Sample) *time.Duration {
	for _, at := range x.Location {
		for _, l := range at.Line {
			if l.Function == nil {
				continue
			}
			switch name := l.Function.Name; {
			case strings.HasSuffix(name, "(*journal).batch"), strings.HasSuffix(name, "(*journal).reader"), strings.HasPrefix(name, "database/sql.(*DB).connection"):
				return &s.Save
			case strings.HasSuffix(name, "runtime.gcBgMarkWorker"):
				return &s.Rest
			}
		}
	}
	switch from := x.Label["from"]; {
	case len(from) == 0:
		return &s.Rest
	case from[0] == "honest":
		return &s.Honest
	}
	return &s.Attack
}
