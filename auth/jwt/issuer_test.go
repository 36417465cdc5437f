package jwt_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat/auth/jwt"
)

// An issuer answers for a JWKS address, without a network.
type issuer struct {
	mu      sync.Mutex // guards what follows
	answer  func() (*http.Response, error)
	gate    chan struct{} // non-nil: an answer waits for it, or for the end of the request
	fetches int
}

func (s *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.fetches++
	answer, gate := s.answer, s.gate
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return answer()
}

func (s *issuer) set(answer func() (*http.Response, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *issuer) publish(keys ...map[string]any) { s.set(ok(setOf(keys...), "")) }

// hold makes answers wait until the returned function is called.
func (s *issuer) hold() (release func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = gate
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gate = nil
		close(gate)
	}
}

func (s *issuer) wantFetches(t *testing.T, n int) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetches != n {
		t.Fatalf("%d fetches, want %d", s.fetches, n)
	}
}

func response(status int, body []byte, cacheControl string) *http.Response {
	h := http.Header{}
	if cacheControl != "" {
		h.Set("Cache-Control", cacheControl)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(bytes.NewReader(body))}
}

func ok(body []byte, cacheControl string) func() (*http.Response, error) {
	return func() (*http.Response, error) { return response(http.StatusOK, body, cacheControl), nil }
}

func down() (*http.Response, error) { return nil, errors.New("connection refused") }

const address = "https://id.example.com/keys?tenant=1"

func (s *issuer) verifier(t *testing.T, opts ...jwt.Option) *jwt.Verifier {
	t.Helper()
	return newVerifier(t, append([]jwt.Option{
		jwt.WithJWKS(address, jwt.EdDSA), jwt.WithAudience("chat"), jwt.WithHTTPClient(&http.Client{Transport: s}),
		jwt.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)...)
}

// by is a token signed with k, by the id kid.
func by(t *testing.T, k ed25519.PrivateKey, kid string) string {
	t.Helper()
	var header map[string]any
	if kid != "" {
		header = map[string]any{"kid": kid}
	}
	exp := time.Now().Add(1000 * time.Hour).Unix()
	return sign(t, jwt.EdDSA, k, claims(map[string]any{"aud": "chat", "exp": exp}), header)
}
