//go:build unix

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"
)

// TestBrowser runs browser/page.test.mjs, with a stack of its own, and does to the nodes what that asks for. Beside it is a server as it is tried out: by itself, with
// AUTH=none.
func TestBrowser(t *testing.T) {
	t.Parallel()
	for _, need := range []string{"web/dist/index.html", "browser/node_modules"} {
		if !exists(need) {
			t.Fatalf("%s is missing: make production", need)
		}
	}
	s := startStack(t, aloneConf)
	_, anybody, err := startNode(t, "ADDR=127.0.0.1:0", "AUTH=none", "DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "chat.db"))
	if err != nil {
		t.Fatal(err)
	}
	control := httptest.NewServer(s.control())
	defer control.Close()
	cmd := exec.CommandContext(t.Context(), "node", "--test", "--test-timeout=120000", "page.test.mjs")
	cmd.Dir = "browser"
	cmd.Env = append(os.Environ(), "CHAT_URL="+s.url, "CONTROL_URL="+control.URL, "ANYBODY_URL=http://"+anybody)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// control is for one caller at a time.
func (s *stack) control() http.Handler {
	mux := http.NewServeMux()
	on := func(path string, do func(n int) error) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			n, err := strconv.Atoi(r.FormValue("node"))
			if err == nil {
				err = do(n - 1)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	on("/stop", func(n int) error { return s.nodes[n].end() })
	on("/kill", func(n int) error {
		err := s.nodes[n].cmd.Process.Kill()
		<-s.nodes[n].exited
		return err
	})
	on("/start", func(n int) error {
		s.start(n)
		return nil
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		left := time.Hour
		if n, err := strconv.Atoi(r.FormValue("seconds")); err == nil {
			left = time.Duration(n) * time.Second
		}
		fmt.Fprint(w, s.token(r.FormValue("id"), left))
	})
	return mux
}

// token is good for left; the verifier's leeway of 30 s is in it.
func (s *stack) token(id string, left time.Duration) string {
	s.t.Helper()
	now := time.Now()
	ends := now.Add(left - 30*time.Second)
	issued := ends.Add(-time.Minute)
	if issued.After(now) {
		issued = now
	}
	text, err := gojwt.NewWithClaims(gojwt.SigningMethodHS256, gojwt.MapClaims{
		"sub": id, "name": strings.ToUpper(id), "iat": issued.Unix(), "exp": ends.Unix(),
	}).SignedString([]byte(secret))
	if err != nil {
		s.t.Error(err)
	}
	return text
}
