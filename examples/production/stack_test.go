//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleychat/chat/internal/pgtest"
	"github.com/parleychat/chat/internal/redistest"
)

// asServer makes the test's own binary be the server.
const asServer = "PRODUCTION_AS_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// The files of nginx's that are deployed, in deploy.
const (
	aloneConf   = "nginx.conf.template"         // without Redis: one node serves, the other one stands by
	clusterConf = "nginx-cluster.conf.template" // compose.yaml's: two nodes that are one chat over Redis
)

// A stack is two nodes on one PostgreSQL behind nginx, as plain processes. With clusterConf it is the compose file's, with its Redis.
type stack struct {
	t        *testing.T
	template string
	env      []string
	nodes    [2]*node
	nginx    *process
	url      string
}

type node struct {
	*process
	addr string
}

func startStack(t *testing.T, template string, env ...string) *stack {
	t.Helper()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &stack{t: t, template: template, env: append([]string{"DATABASE_URL=" + pg.DSN("postgres"), "JWT_SECRET=" + secret, "DRAIN=10s"}, env...)}
	if s.isCluster() {
		cache, err := redistest.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cache.Close(); err != nil {
				t.Error(err)
			}
		})
		s.env = append(s.env, "REDIS_URL=redis://"+cache.Addr(), "CLUSTER_KEY="+secret, "TRUSTED_PROXIES=127.0.0.1")
	}
	for i := range s.nodes {
		s.startNew(i)
	}
	s.startNginx()
	return s
}

func (s *stack) isCluster() bool { return s.template == clusterConf }

// startNew runs node i at an address of its own, which a cluster's node has to know before it listens.
func (s *stack) startNew(i int) {
	s.t.Helper()
	var err error
	for range 5 { // the port may be taken between the look and the start
		s.nodes[i] = &node{addr: "127.0.0.1:0"}
		if s.isCluster() {
			s.nodes[i].addr = freePort(s.t)
		}
		if err = s.tryStart(i); err == nil {
			return
		}
	}
	s.t.Fatal(err)
}

// start runs node i at the address that it had.
func (s *stack) start(i int) {
	s.t.Helper()
	if err := s.tryStart(i); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stack) tryStart(i int) (err error) {
	n := s.nodes[i]
	env := append([]string{"ADDR=" + n.addr}, s.env...)
	if s.isCluster() {
		env = append(env, "NODE_ADDRESS=http://"+n.addr)
	}
	n.process, n.addr, err = startNode(s.t, env...)
	return err
}

// startNode runs a server and tells where it listens.
func startNode(t *testing.T, env ...string) (*process, string, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), asServer+"=1"), env...)
	p := run1(t, cmd)
	line, err := p.find(`"msg":"listening"`)
	if err != nil {
		return nil, "", err
	}
	var l struct{ Addr string }
	err = json.Unmarshal([]byte(line), &l)
	return p, l.Addr, err
}

func (s *stack) startNginx() {
	s.t.Helper()
	bin, err := exec.LookPath("nginx")
	if err != nil {
		if bin = "/usr/sbin/nginx"; !exists(bin) {
			s.t.Fatal("nginx is not installed: apt-get install nginx-light, or scripts/deps")
		}
	}
	template, err := os.ReadFile(filepath.Join("deploy", s.template))
	if err != nil {
		s.t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nginx") // not t.TempDir: nginx's workers are another user, and its folders are closed to others
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec
		s.t.Fatal(err)
	}
	for range 5 { // the port may be taken between the look and the start
		listen := freePort(s.t)
		// As envsubst does, and nothing else.
		conf := strings.NewReplacer("${LISTEN}", listen, "${CHAT_1}", s.nodes[0].addr, "${CHAT_2}", s.nodes[1].addr, "${TMP}", dir).Replace(string(template))
		file := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			s.t.Fatal(err)
		}
		globals := "daemon off; error_log stderr notice; pid " + filepath.Join(dir, "pid") + ";"
		if out, err := exec.Command(bin, "-t", "-c", file, "-g", globals).CombinedOutput(); err != nil {
			s.t.Fatalf("nginx -t: %v\n%s", err, out)
		}
		s.nginx, s.url = run1(s.t, exec.Command(bin, "-c", file, "-g", globals)), "http://"+listen
		if s.answers() {
			return
		}
	}
	s.t.Fatal("nginx does not answer")
}

// answers waits until nginx does, or has ended.
func (s *stack) answers() bool {
	for {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err == nil {
			return c.Close() == nil
		}
		select {
		case <-s.nginx.exited:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// handler is nginx for chattest, which wants none of it in memory.
func (s *stack) handler() http.Handler {
	at, err := url.Parse(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(at)
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"] // what a client claims comes to nginx
		},
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // a panic's value
				panic(v)
			}
		}()
		proxy.ServeHTTP(w, r)
	})
}

func (s *stack) do(method, path string, header ...string) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// where waits until a node has written a line that has all of texts in it, and tells which one it was.
func (s *stack) where(texts ...string) (at int, line string) {
	s.t.Helper()
	s.until("a node writes "+strings.Join(texts, " and "), func() bool {
		for i, n := range s.nodes {
			if lines := n.with(texts...); len(lines) > 0 {
				at, line = i, lines[0]
				return true
			}
		}
		return false
	})
	return at, line
}

func (s *stack) get(path, bearer string) string {
	s.t.Helper()
	body, err := io.ReadAll(s.do("GET", path, "Authorization", bearer).Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(body)
}

// until looks again and again, since nginx tells nobody what it thinks of a node.
func (s *stack) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("it does not come to this: %s", what)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A process is one of the stack's, with what it has written.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // after exited

	mu    sync.Mutex
	lines []string
	news  chan struct{} // closed and replaced with each line
}

func run1(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, exited: make(chan struct{}), news: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close() // the process has its own
	go func() {
		for in := bufio.NewScanner(r); in.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, in.Text())
			close(p.news)
			p.news = make(chan struct{})
			p.mu.Unlock()
		}
		_ = r.Close()
		p.err = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // mostly it has ended
		select {
		case <-p.exited:
		case <-time.After(15 * time.Second):
			t.Errorf("%s does not end", cmd.Path)
			_ = p.cmd.Process.Kill()
			<-p.exited
		}
		if t.Failed() {
			t.Logf("%s wrote:\n%s", filepath.Base(cmd.Path), strings.Join(p.lines[max(0, len(p.lines)-40):], "\n"))
		}
	})
	return p
}

// with is the lines so far that have all of texts in them.
func (p *process) with(texts ...string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for _, l := range p.lines {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(l, text) }) {
			lines = append(lines, l)
		}
	}
	return lines
}

// wait returns the first line with text in it, from the process's beginning.
func (p *process) wait(text string) string {
	p.t.Helper()
	line, err := p.find(text)
	if err != nil {
		p.t.Fatal(err)
	}
	return line
}

func (p *process) find(text string) (string, error) {
	deadline, cancel := context.WithTimeout(p.t.Context(), 15*time.Second)
	defer cancel()
	for {
		p.mu.Lock()
		news := p.news
		p.mu.Unlock()
		if lines := p.with(text); len(lines) > 0 {
			return lines[0], nil
		}
		select {
		case <-news:
		case <-p.exited:
			return "", fmt.Errorf("it ended (%v) without %s", p.err, text)
		case <-deadline.Done():
			return "", fmt.Errorf("it did not write %s", text)
		}
	}
}

// end asks it to stop and returns how it did.
func (p *process) end() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return p.err
	case <-time.After(20 * time.Second):
		return errors.New("it does not end")
	}
}
