package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A server is the process under test, on one address through all its restarts.
type server struct {
	name string
	args []string
	env  []string
	addr string
	log  *os.File
	cmd  *exec.Cmd
}

// patience is for a start; a database that is just being restarted makes it fail, and it is tried again as a supervisor would.
const patience = 30 * time.Second

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// start runs the program until it says that it listens, and again if it ends before that.
func (s *server) start() error {
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err := s.try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func (s *server) try() error {
	cmd := exec.Command(s.name, append(s.args, "-addr", s.addr)...)
	cmd.Env, cmd.Stderr = append(os.Environ(), s.env...), s.log
	endWithUs(cmd, syscall.SIGKILL)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "http://") {
		_ = cmd.Process.Kill()
		return fmt.Errorf("%s did not start: said %q, %w", s.name, line, cmd.Wait())
	}
	s.cmd = cmd
	return nil
}

func (s *server) kill() error {
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = s.cmd.Wait() // "signal: killed"
	s.cmd = nil
	return nil
}

// stop asks it to end; it has to, by itself and with status 0.
func (s *server) stop() error {
	if s.cmd == nil {
		return nil
	}
	cmd := s.cmd
	s.cmd = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("the server, asked to end: %w", err)
	}
	return nil
}

// build makes the example's binary in dir.
func build(dir string) (string, error) {
	path := filepath.Join(dir, "durable")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir = "../../examples/durable"
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}
