//go:build unix

package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
	log    *tail
}

// startTimeout is for one start, with the reading of what is on the disk, and for one end.
const startTimeout = 30 * time.Second

func serve(cmd *exec.Cmd, ready string) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	dieWithParent(cmd.SysProcAttr)
	p := &process{cmd: cmd, exited: make(chan struct{}), log: &tail{mark: ready, ready: make(chan struct{})}}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the process is told when the thread that started it ends, so that one has to last
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		err := cmd.Start()
		if started <- err; err == nil {
			p.log.read(stdout)
			_ = cmd.Wait() // how it ended is in the log
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	select {
	case <-p.log.ready:
		return p, nil
	case <-p.exited:
		return nil, fmt.Errorf("redistest: redis-server did not start:\n%s", p.log.text())
	case <-time.After(startTimeout):
		return nil, errors.Join(fmt.Errorf("redistest: redis-server is not ready after %v:\n%s", startTimeout, p.log.text()), p.end(syscall.SIGKILL))
	}
}

func (p *process) end(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(startTimeout):
		_ = p.cmd.Process.Kill() // the error below says it
		<-p.exited
		return fmt.Errorf("redistest: redis-server did not end on %v:\n%s", sig, p.log.text())
	}
}

// tail keeps the last lines of a log.
type tail struct {
	mark  string        // in the line that says that the server is ready
	ready chan struct{} // closed by that line

	mu    sync.Mutex // guards lines
	lines []string
}

const tailLines = 100

func (t *tail) read(from io.Reader) {
	in := bufio.NewScanner(from)
	in.Buffer(nil, 1<<20)
	said := false
	for in.Scan() {
		t.mu.Lock()
		t.lines = append(t.lines, in.Text())
		t.lines = t.lines[max(0, len(t.lines)-tailLines):]
		t.mu.Unlock()
		if !said && strings.Contains(in.Text(), t.mark) {
			said = true
			close(t.ready)
		}
	}
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
