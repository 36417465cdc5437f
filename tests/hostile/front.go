package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A front is nginx with the file that is deployed, before the one node that there is: the second address of the file is nobody's.
type front struct {
	addr string
	cmd  *exec.Cmd
	dir  string
	log  *os.File
}

func startFront(node, logs string) (f *front, err error) {
	bin, err := exec.LookPath("nginx")
	if err != nil {
		bin = "/usr/sbin/nginx"
	}
	template, err := os.ReadFile(filepath.Join(production, "deploy", "nginx.conf.template"))
	if err != nil {
		return nil, err
	}
	f = &front{}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.end())
		}
	}()
	if f.dir, err = os.MkdirTemp("", "nginx"); err != nil { // its workers are another user, to whom the other folder is closed
		return f, err
	}
	if err = os.Chmod(f.dir, 0o755); err != nil { //nolint:gosec // see above
		return f, err
	}
	if f.log, err = os.Create(filepath.Join(logs, "nginx.log")); err != nil {
		return f, err
	}
	nobody := ""
	if f.addr, nobody, err = freeAddrs(); err != nil {
		return f, err
	}
	conf := strings.NewReplacer("${LISTEN}", f.addr, "${CHAT_1}", node, "${CHAT_2}", nobody, "${TMP}", f.dir).Replace(string(template))
	path := filepath.Join(f.dir, "nginx.conf")
	if err = os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return f, err
	}
	cmd := exec.Command(bin, "-c", path, "-g", "daemon off; error_log stderr error; pid "+filepath.Join(f.dir, "pid")+";")
	cmd.Stdout, cmd.Stderr = f.log, f.log
	endWithUs(cmd)
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM // SIGKILL would leave its workers
	if err = cmd.Start(); err != nil {
		return f, fmt.Errorf("nginx (Debian's nginx-light; scripts/deps installs it): %w", err)
	}
	f.cmd = cmd
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", f.addr)
		if err == nil {
			return f, c.Close()
		}
		if time.Now().After(deadline) {
			return f, fmt.Errorf("nginx: %w; see %s", err, f.log.Name())
		}
	}
}

// freeAddrs are two that nobody listens at.
func freeAddrs() (one, two string, err error) {
	for _, to := range []*string{&one, &two} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", "", err
		}
		defer l.Close()
		*to = l.Addr().String()
	}
	return one, two, nil
}

func (f *front) end() error {
	if f == nil {
		return nil
	}
	if f.cmd != nil {
		_ = f.cmd.Process.Signal(syscall.SIGTERM) // it closes what it has; how it ends has no meaning any more
		_ = f.cmd.Wait()
	}
	if f.log != nil {
		_ = f.log.Close()
	}
	if f.dir == "" {
		return nil
	}
	return os.RemoveAll(f.dir)
}
