//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleychat/chat/internal/pgtest"
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

// A stack is the compose file's, as plain processes: two nodes on one PostgreSQL, behind nginx with the file that is deployed.
type stack struct {
	t     *testing.T
	env   []string
	nodes [2]*node
	nginx *process
	url   string
}

type node struct {
	*process
	addr string
}

func startStack(t *testing.T, env ...string) *stack {
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
	s := &stack{t: t, env: append([]string{"DATABASE_URL=" + pg.DSN("postgres"), "JWT_SECRET=" + secret, "DRAIN=10s"}, env...)}
	for i := range s.nodes {
		s.nodes[i] = &node{addr: "127.0.0.1:0"}
		s.start(i)
	}
	s.startNginx()
	return s
}

// start runs node i, at its old address if it has one.
func (s *stack) start(i int) {
	s.t.Helper()
	n := s.nodes[i]
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), asServer+"=1", "ADDR="+n.addr), s.env...)
	n.process = run1(s.t, cmd)
	line := n.wait(`"msg":"listening"`)
	var l struct{ Addr string }
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		s.t.Fatal(err)
	}
	n.addr = l.Addr
}

func (s *stack) startNginx() {
	s.t.Helper()
	bin, err := exec.LookPath("nginx")
	if err != nil {
		if bin = "/usr/sbin/nginx"; !exists(bin) {
			s.t.Fatal("nginx is not installed: apt-get install nginx-light, or scripts/deps")
		}
	}
	template, err := os.ReadFile("deploy/nginx.conf.template")
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
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(at) },
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

// wait returns the first line with text in it, from the process's beginning.
func (p *process) wait(text string) string {
	p.t.Helper()
	deadline, cancel := context.WithTimeout(p.t.Context(), 15*time.Second)
	defer cancel()
	for {
		p.mu.Lock()
		news := p.news
		for _, l := range p.lines {
			if strings.Contains(l, text) {
				p.mu.Unlock()
				return l
			}
		}
		p.mu.Unlock()
		select {
		case <-news:
		case <-p.exited:
			p.t.Fatalf("it ended (%v) without %s", p.err, text)
		case <-deadline.Done():
			p.t.Fatalf("it did not write %s", text)
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
