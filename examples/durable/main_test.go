//go:build unix

package main

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"github.com/parleychat/chat/internal/pgtest"
)

// asServer makes the test's own binary be the server.
const asServer = "DURABLE_AS_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// start runs the server and returns it with its address as a handler for chattest.
func start(t *testing.T, db string) (*exec.Cmd, http.Handler) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-addr", "127.0.0.1:0", "-db", db)
	cmd.Env, cmd.Stderr = append(os.Environ(), asServer+"=1"), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // mostly it has ended
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	return cmd, proxy
}

func end(t *testing.T, cmd *exec.Cmd, sig syscall.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); sig == syscall.SIGTERM && err != nil {
		t.Errorf("after %v: %v", sig, err)
	}
}

type page struct {
	OK      bool
	Entries []chat.Entry
}

func TestDurable(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, c := range map[string]struct {
		db   string
		kept int // messages after a kill
	}{
		"memory":   {"memory", 0},
		"sqlite":   {"sqlite:" + filepath.Join(t.TempDir(), "chat.db"), 1},
		"postgres": {pg.DSN("postgres"), 1},
	} {
		t.Run(name, func(t *testing.T) { testDurable(t, c.db, c.kept) })
	}
}

func testDurable(t *testing.T, db string, kept int) {
	cmd, h := start(t, db)
	ann := chattest.Dial(t, h, chattest.Auth(map[string]string{"user": "ann"}))
	bob := chattest.Dial(t, h, chattest.Query("user", "bob"), chattest.Polling())
	said := map[string]string{"text": "hello", "message_id": "m1"}
	first := say(t, ann, said)
	var heard chat.Entry
	bob.Expect("new_message").Args.Decode(0, &heard)
	if heard.ID != first.ID || heard.UserID != "ann" || heard.Room != "lobby" || heard.Seq != 1 {
		t.Errorf("bob heard %+v", heard)
	}
	if again := say(t, ann, said); again.ID != first.ID {
		t.Errorf("a retry was saved again: %+v", again)
	}
	end(t, cmd, syscall.SIGKILL)

	cmd, h = start(t, db)
	bob = chattest.Dial(t, h, chattest.Query("user", "bob"))
	var past page
	bob.Call("history", map[string]any{"room": "lobby", "after": 0}).Decode(0, &past)
	if !past.OK || len(past.Entries) != kept || kept == 1 && past.Entries[0].ID != first.ID {
		t.Errorf("after a kill: %+v", past)
	}
	ann = chattest.Dial(t, h, chattest.Auth(map[string]string{"user": "ann"}))
	if again := say(t, ann, said); (again.ID == first.ID) != (kept == 1) {
		t.Errorf("a retry after a kill: %+v, first %+v", again, first)
	}
	end(t, cmd, syscall.SIGTERM)
}

func say(t *testing.T, c *chattest.Client, message map[string]string) chat.Entry {
	t.Helper()
	var answer struct {
		OK      bool
		Message chat.Entry
	}
	if c.Call("chat_message", message).Decode(0, &answer); !answer.OK {
		t.Fatalf("chat_message %v: not ok", message)
	}
	return answer.Message
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, db := range []string{"", "mysql://x", "sqlite:/no/such/folder/chat.db", "postgres://127.0.0.1:1/x"} {
		if _, _, err := open(ctx, db); err == nil {
			t.Errorf("%q was opened", db)
		}
	}
}
