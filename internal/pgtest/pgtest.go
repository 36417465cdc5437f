//go:build unix

// Package pgtest starts a PostgreSQL server of a test's own, from the programs that Debian's package postgresql installs.
package pgtest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Server is a cluster in a directory of its own and the process that serves it on a free port of 127.0.0.1.
type Server struct {
	dir, bin string
	port     int
	conf     []string
	cred     *syscall.Credential
	running  *process
}

type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
	log    *tail
}

// startTimeout is for one start, with the recovery after a kill.
const startTimeout = 60 * time.Second

// Start makes a cluster and serves it. It does not wait for the disk (fsync=off); settings such as "fsync=on" come after its own. The caller ends it with Close.
func Start(settings ...string) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, conf: append([]string{
		"fsync=off", "max_connections=200", "shared_buffers=64MB", "log_checkpoints=off", "timezone=Asia/Kolkata",
	}, settings...)}
	if s.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		return nil, err
	}
	if err := s.init(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	for range 5 { // the port may be taken between the look and the start
		if s.port, err = freePort(); err == nil {
			if err = s.Serve(); err == nil {
				return s, nil
			}
		}
	}
	return nil, errors.Join(err, os.RemoveAll(s.dir))
}

func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("pgtest: PostgreSQL is not installed: apt-get install postgresql, or scripts/deps")
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // a name that is no number comes last
	return n
}

// init makes the cluster, as user postgres where the test is root: initdb and postgres refuse root.
func (s *Server) init() error {
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return fmt.Errorf("pgtest: root cannot run PostgreSQL: %w", err)
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(errU, errG, os.Chown(s.dir, int(uid), int(gid))); err != nil {
			return err
		}
		s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	cmd := s.command("initdb", "-D", s.data(), "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	return cmd
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// DSN is the address of a database, "postgres" for the one that is there from the start. Anyone is let in.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// Serve starts the server again, on its port, after Stop or Kill, and waits until it takes connections.
func (s *Server) Serve() error {
	args := []string{"-D", s.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-k", s.dir}
	for _, c := range s.conf {
		args = append(args, "-c", c)
	}
	p := &process{cmd: s.command("postgres", args...), exited: make(chan struct{}), log: &tail{ready: make(chan struct{})}}
	dieWithParent(p.cmd.SysProcAttr)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the process is told when the thread that started it ends, so that one has to last
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		err := p.cmd.Start()
		if started <- err; err == nil {
			p.log.read(bufio.NewScanner(stderr))
			_ = p.cmd.Wait() // how it ended is in the log
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.running = p
	select {
	case <-p.log.ready:
		return nil
	case <-p.exited:
		s.running = nil
		return fmt.Errorf("pgtest: postgres did not start:\n%s", p.log.text())
	case <-time.After(startTimeout):
		return errors.Join(fmt.Errorf("pgtest: postgres is not ready after %v:\n%s", startTimeout, p.log.text()), s.Kill())
	}
}

// Stop ends the server as an administrator would: transactions are rolled back, connections closed.
func (s *Server) Stop() error { return s.end(syscall.SIGINT) }

// Kill ends the server as a crash would: what is not in the write-ahead log is gone.
func (s *Server) Kill() error { return s.end(syscall.SIGQUIT) }

func (s *Server) end(sig syscall.Signal) error {
	p := s.running
	if p == nil {
		return nil
	}
	s.running = nil
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(startTimeout):
		_ = p.cmd.Process.Kill() // the error below says it
		<-p.exited
		return fmt.Errorf("pgtest: postgres did not end on %v:\n%s", sig, p.log.text())
	}
}

// Close ends the server and removes its data.
func (s *Server) Close() error {
	return errors.Join(s.Kill(), os.RemoveAll(s.dir))
}

// Log is the end of what the server has logged since it was last started.
func (s *Server) Log() string {
	if s.running == nil {
		return ""
	}
	return s.running.log.text()
}

func isReady(line string) bool {
	return strings.Contains(line, "database system is ready to accept connections")
}
