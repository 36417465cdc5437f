package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	production = "../../examples/production"
	stopLimit  = 45 * time.Second // compose.yaml's stop_grace_period is 40 s; a process that takes longer would be killed there
)

// A life is one process of examples/production, from its start to its end.
type life struct {
	slot int // of the two that nginx knows
	addr string
	cmd  *exec.Cmd
	file string // its log
	log  *os.File

	ready, term, exit time.Time
	code              int
	said              logged
}

// startLife runs a node at addr and waits until its /readyz says so.
func startLife(binary, dir string, number, slot int, addr string, env ...string) (*life, error) {
	l := &life{slot: slot, addr: addr, file: filepath.Join(dir, fmt.Sprintf("node-%d.log", number)), code: -1}
	var err error
	if l.log, err = os.Create(l.file); err != nil {
		return nil, err
	}
	l.cmd = exec.Command(binary)
	l.cmd.Env = append(append(os.Environ(), "ADDR="+addr), env...)
	l.cmd.Stderr = l.log
	endWithUs(l.cmd, syscall.SIGKILL)
	if err := l.cmd.Start(); err != nil {
		return nil, errors.Join(err, l.log.Close())
	}
	if err := answers("http://"+addr+"/readyz", patience); err != nil {
		l.kill()
		return nil, fmt.Errorf("node %d: %w; see %s", number, err, l.file)
	}
	l.ready = time.Now()
	return l, nil
}

// answers waits until url is answered with 200.
func answers(url string, within time.Duration) error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		res, err := client.Get(url)
		if err == nil {
			_ = res.Body.Close() // only its status matters
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(res.Status)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not ready after %v: %w", url, within, err)
		}
	}
}

// end asks the node to stop, and waits until it has.
func (l *life) end() error {
	l.term = time.Now()
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	process := l.cmd.Process
	late := time.AfterFunc(stopLimit, func() { _ = process.Signal(syscall.SIGQUIT) }) // its log has its goroutines then
	later := time.AfterFunc(stopLimit+patience, func() { _ = process.Kill() })
	err := l.cmd.Wait()
	late.Stop()
	later.Stop()
	l.exit, l.code = time.Now(), l.cmd.ProcessState.ExitCode()
	l.cmd = nil
	if err != nil {
		err = fmt.Errorf("%s, asked to stop: %w", filepath.Base(l.file), err)
	}
	said, readErr := readLogged(l.file)
	l.said = said
	return errors.Join(err, readErr, l.log.Close())
}

func (l *life) kill() {
	if l.cmd != nil {
		_ = l.cmd.Process.Kill() // whoever cleans up does not ask how
		_ = l.cmd.Wait()
		l.cmd = nil
		_ = l.log.Close()
	}
}

// logged is what a node's log says of its end.
type logged struct {
	clients int           // when it was asked to stop
	over    time.Duration // in which it meant to close them
	cut     int           // clients cut off
	down    bool          // it said that it has shut down
	alarms  map[string]int
}

// noJSON is the alarm of a panic, or of a warning of the runtime's.
const noJSON = "lines that are no JSON"

// readLogged reads lines of JSON. Alarms are counted by level and message.
func readLogged(file string) (logged, error) {
	said := logged{alarms: map[string]int{}}
	f, err := os.Open(file)
	if err != nil {
		return said, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct {
			Level, Msg string
			Clients    int
			Over       time.Duration
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			said.alarms[noJSON]++
			continue
		}
		switch l.Msg {
		case "chat: draining":
			said.clients, said.over = l.Clients, l.Over
		case "chat: clients cut off":
			said.cut += l.Clients
		case "chat: shut down":
			said.down = true
		}
		if l.Level != "INFO" && l.Level != "DEBUG" {
			said.alarms[l.Level+" "+l.Msg]++
		}
	}
	return said, lines.Err()
}

// buildProduction makes the example's binary in dir. Its page need not be built.
func buildProduction(dir string) (string, error) {
	path := filepath.Join(dir, "production")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir = production
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// nginx is the proxy, with the file that is deployed.
type nginx struct {
	cmd  *exec.Cmd
	dir  string
	addr string
	out  *os.File
}

// startNginx fills the template in as the official image does, and repeats the lines of the second node for each further one. Its log, of accesses and of errors, is nginx.log in logs.
func startNginx(logs, file string, nodes ...string) (n *nginx, err error) {
	bin, err := exec.LookPath("nginx")
	if err != nil {
		bin = "/usr/sbin/nginx"
	}
	template, err := os.ReadFile(filepath.Join(production, "deploy", file))
	if err != nil {
		return nil, err
	}
	n = &nginx{}
	defer func() {
		if err != nil {
			n.end()
		}
	}()
	if n.dir, err = os.MkdirTemp("", "nginx"); err != nil { // its workers are another user, to whom the logs' folder is closed
		return n, err
	}
	if err = os.Chmod(n.dir, 0o755); err != nil {
		return n, err
	}
	if n.out, err = os.Create(filepath.Join(logs, "nginx.log")); err != nil {
		return n, err
	}
	if n.addr, err = freeAddr(); err != nil {
		return n, err
	}
	conf := strings.NewReplacer("${LISTEN}", n.addr, "${CHAT_1}", nodes[0], "${TMP}", n.dir).Replace(forNodes(string(template), nodes[1:]))
	path := filepath.Join(n.dir, "nginx.conf")
	if err = os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return n, err
	}
	cmd := exec.Command(bin, "-c", path, "-g", "daemon off; error_log stderr notice; pid "+filepath.Join(n.dir, "pid")+";")
	cmd.Stdout, cmd.Stderr = n.out, n.out
	endWithUs(cmd, syscall.SIGTERM) // SIGKILL would leave its workers
	if err = cmd.Start(); err != nil {
		return n, fmt.Errorf("nginx (Debian's nginx-light; scripts/deps installs it): %w", err)
	}
	n.cmd = cmd
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", n.addr)
		if err == nil {
			return n, c.Close()
		}
		if time.Now().After(deadline) {
			return n, fmt.Errorf("nginx: %w; see %s", err, n.out.Name())
		}
	}
}

// forNodes has each line that names ${CHAT_2} once for each of nodes.
func forNodes(template string, nodes []string) string {
	var b strings.Builder
	for line := range strings.Lines(template) {
		if !strings.Contains(line, "${CHAT_2}") {
			b.WriteString(line)
			continue
		}
		for _, addr := range nodes {
			b.WriteString(strings.ReplaceAll(line, "${CHAT_2}", addr))
		}
	}
	return b.String()
}

func (n *nginx) end() {
	if n == nil {
		return
	}
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(syscall.SIGTERM) // it closes what it has; how it ends has no meaning any more
		_ = n.cmd.Wait()
		n.cmd = nil
	}
	if n.out != nil {
		_ = n.out.Close()
	}
	if n.dir != "" {
		_ = os.RemoveAll(n.dir)
	}
}
