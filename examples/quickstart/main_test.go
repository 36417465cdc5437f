package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testAPI(t *testing.T) http.Handler {
	hub, err := newHub()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return api(hub)
}

func TestAPI(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, target, origin string
		status                       int
		body, allowed                string
	}{
		{"status", "GET", "/api/status", "", 200, `{"message":"Socket.IO server running!"}`, ""},
		{"status from Vite's origin", "GET", "/api/status", origins[0], 200, `{"message":"Socket.IO server running!"}`, origins[0]},
		{"broadcast", "POST", "/api/broadcast?message=hello", "", 200, `{"status":"broadcast_sent"}`, ""},
		{"broadcast from Vite's origin", "POST", "/api/broadcast?message=hello", origins[1], 200, `{"status":"broadcast_sent"}`, origins[1]},
		{"broadcast of nothing", "POST", "/api/broadcast", "", 400, `{"error":"message is missing or too long"}`, ""},
		{"broadcast of too much", "POST", "/api/broadcast?message=" + strings.Repeat("x", maxText+1), "", 400, `{"error":"message is missing or too long"}`, ""},
		{"broadcast from a stranger's page", "POST", "/api/broadcast?message=hello", "https://stranger.example", 403, "", ""},
		{"broadcast by GET", "GET", "/api/broadcast?message=hello", "", 405, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(c.method, c.target, nil)
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			w := httptest.NewRecorder()
			testAPI(t).ServeHTTP(w, r)
			if w.Code != c.status {
				t.Errorf("status %d, want %d", w.Code, c.status)
			}
			if got := strings.TrimSpace(w.Body.String()); c.body != "" && got != c.body {
				t.Errorf("body %s, want %s", got, c.body)
			}
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != c.allowed {
				t.Errorf("allowed origin %q, want %q", got, c.allowed)
			}
		})
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	handler := page(dir)
	get := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		return w
	}
	if w := get(); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "npm --prefix examples/quickstart/web ci") {
		t.Errorf("not built: %d %s", w.Code, w.Body)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("built"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w := get(); w.Code != http.StatusOK || w.Body.String() != "built" {
		t.Errorf("built: %d %s", w.Code, w.Body)
	}
}
