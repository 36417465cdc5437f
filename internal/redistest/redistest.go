//go:build unix

// Package redistest starts Redis servers of a test's own, from the programs that Debian's package redis-server installs: one, a primary with its replica and
// Sentinels, or a Redis Cluster.
package redistest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A Server is a Redis in a directory of its own and the process that serves it on a free port of 127.0.0.1.
type Server struct {
	dir      string
	port     int
	conf     []string // lines of its file
	sentinel bool
	cert     string // the file with its certificate; empty: no TLS
	running  *process
}

// Start starts a Redis that writes nothing to its disk, so that a kill loses everything; settings are lines of its file, such as "appendonly yes", that come after its
// own. The caller ends it with Close.
func Start(settings ...string) (*Server, error) {
	return start(false, func(*Server) ([]string, error) { return settings, nil })
}

// start has settings for a directory and a port, since the port may be taken between the look and the start.
func start(sentinel bool, settings func(*Server) ([]string, error)) (*Server, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, fmt.Errorf("redistest: Redis is not installed: apt-get install redis-server, or scripts/deps: %w", err)
	}
	s := &Server{sentinel: sentinel}
	var err error
	if s.dir, err = os.MkdirTemp("", "redistest"); err != nil {
		return nil, err
	}
	for range 5 {
		if s.port, err = freePort(); err != nil {
			break
		}
		s.conf = []string{fmt.Sprint("port ", s.port), "bind 127.0.0.1", "dir " + s.dir, "loglevel notice"}
		if !sentinel {
			s.conf = append(s.conf, `save ""`, "appendfsync always", "repl-diskless-sync-delay 0", "enable-debug-command local")
		}
		var more []string
		if more, err = settings(s); err != nil {
			break
		}
		s.conf = append(s.conf, more...)
		// A Sentinel writes to its file, so that it is written once.
		if err = os.WriteFile(s.file(), []byte(strings.Join(s.conf, "\n")+"\n"), 0o600); err != nil {
			break
		}
		if err = s.Serve(); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(s.dir))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func (s *Server) file() string { return filepath.Join(s.dir, "redis.conf") }

// Addr is where the server listens, host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Serve starts the server again, on its port and with what it has on its disk, after Stop or Kill, and waits until it takes connections.
func (s *Server) Serve() error {
	args := []string{s.file()}
	ready := "Ready to accept connections"
	if s.sentinel {
		args, ready = append(args, "--sentinel"), "Sentinel ID is"
	}
	p, err := serve(exec.Command("redis-server", args...), ready)
	if err != nil {
		return err
	}
	s.running = p
	return nil
}

// Stop ends the server as an administrator would.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

// Kill ends the server as a crash would.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) error {
	p := s.running
	if p == nil {
		return nil
	}
	s.running = nil
	return p.end(sig)
}

// Freeze stops the process where it is: connections stay, and nothing is answered, until Thaw.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw lets the process go on.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	if s.running == nil {
		return errors.New("redistest: the server does not run")
	}
	return s.running.cmd.Process.Signal(sig)
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

// Do runs a command with redis-cli, and gives what that prints.
func (s *Server) Do(args ...string) (string, error) {
	how := []string{"-e", "-p", strconv.Itoa(s.port)}
	if s.cert != "" {
		how = append(how, "--tls", "--cacert", s.cert)
	}
	cmd := exec.Command("redis-cli", append(how, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("redistest: %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func closeAll(servers ...*Server) error {
	var errs []error
	for _, s := range slices.DeleteFunc(servers, func(s *Server) bool { return s == nil }) {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
