package jwt_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
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

// Each algorithm with the keys of all in the set, and without the set's word on what they are for.
func TestJWKSAlgorithms(t *testing.T) {
	t.Parallel()
	var asymmetric []jwt.Algorithm
	var keys []map[string]any
	for _, a := range algorithms {
		if a[0] == 'H' {
			continue
		}
		key, _ := signer(t, a)
		asymmetric = append(asymmetric, a)
		keys = append(keys, jwkOf("k", key.(crypto.Signer).Public()))
	}
	synctest.Test(t, func(t *testing.T) {
		s := &issuer{}
		s.publish(keys...)
		for _, told := range asymmetric {
			v := newVerifier(t, jwt.WithJWKS(address, told), jwt.WithAudience("chat"), jwt.WithHTTPClient(&http.Client{Transport: s}))
			for _, a := range algorithms {
				key, _ := signer(t, a)
				want := chat.Unauthorized
				if a == told {
					want = ""
				}
				wantCode(t, v, sign(t, a, key, claims(map[string]any{"aud": "chat"}), map[string]any{"kid": "k"}), want)
			}
		}
	})
}

func TestRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := newEd(), newEd()
		s := &issuer{}
		s.publish(jwkOf("a", a.Public()))
		v := s.verifier(t)
		wantCode(t, v, by(t, a, "a"), "")
		s.wantFetches(t, 1)

		// Right after a fetch a key that is not there is not asked for.
		s.publish(jwkOf("b", b.Public()))
		wantCode(t, v, by(t, b, "b"), chat.Unauthorized)
		s.wantFetches(t, 1)

		// Later one fetch serves all who wait for it, and who has the old key waits for nobody.
		time.Sleep(10 * time.Second)
		release := s.hold()
		var waiting sync.WaitGroup
		fresh := by(t, b, "b")
		for range 50 {
			waiting.Go(func() {
				if _, err := v.Verify(t.Context(), fresh); err != nil {
					t.Error(err)
				}
			})
		}
		s.wantFetches(t, 2)
		wantCode(t, v, by(t, a, "a"), "")
		release()
		waiting.Wait()
		s.wantFetches(t, 2)

		// The key that was taken back is good no more; asking for it makes one fetch in 10 s.
		wantCode(t, v, by(t, a, "a"), chat.Unauthorized)
		s.wantFetches(t, 2)
		time.Sleep(10 * time.Second)
		for range 50 {
			wantCode(t, v, by(t, a, "a"), chat.Unauthorized)
		}
		s.wantFetches(t, 3)
	})
}

// Who signs with a key of another id, or of the right id but another key, is refused.
func TestKeyIDs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b, c, none := newEd(), newEd(), newEd(), newEd()
		s := &issuer{}
		s.publish(jwkOf("a", a.Public()), jwkOf("b", b.Public()), jwkOf("b", b.Public()), jwkOf("b", c.Public()), jwkOf("", none.Public()))
		v := s.verifier(t)
		wantCode(t, v, by(t, a, "a"), "")
		wantCode(t, v, by(t, b, "b"), "")
		wantCode(t, v, by(t, c, "b"), "") // two keys of one id
		wantCode(t, v, by(t, a, "b"), chat.Unauthorized)
		wantCode(t, v, by(t, a, "A"), chat.Unauthorized)
		wantCode(t, v, by(t, none, "a"), chat.Unauthorized)
		// Without an id all that fit are tried.
		wantCode(t, v, by(t, a, ""), "")
		wantCode(t, v, by(t, none, ""), "")
		wantCode(t, v, by(t, newEd(), ""), chat.Unauthorized)
	})
}

// A token without an id costs no more than 8 verifications.
func TestManyKeysWithoutIDs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys, jwks := make([]ed25519.PrivateKey, 9), make([]map[string]any, 9)
		for i := range keys {
			keys[i] = newEd()
			jwks[i] = jwkOf("", keys[i].Public())
		}
		s := &issuer{}
		s.publish(jwks...)
		v := s.verifier(t)
		wantCode(t, v, by(t, keys[7], ""), "")
		wantCode(t, v, by(t, keys[8], ""), chat.Unauthorized)
	})
}

func TestJWKSIsFetchedByItsAge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cacheControl string
		age          time.Duration
	}{
		"none":      {"", 15 * time.Minute},
		"an hour":   {"public, max-age=3600, must-revalidate", time.Hour},
		"too short": {"max-age=1", time.Minute},
		"too long":  {"max-age=31536000", 6 * time.Hour},
		"no-store":  {"no-store, max-age=3600", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &issuer{}
				k := newEd()
				s.set(ok(setOf(jwkOf("a", k.Public())), c.cacheControl))
				v := s.verifier(t)
				s.wantFetches(t, 1)
				time.Sleep(c.age - 1)
				s.wantFetches(t, 1)
				time.Sleep(time.Nanosecond)
				s.wantFetches(t, 2)
				s.publish()
				time.Sleep(c.age)
				s.wantFetches(t, 3)
				wantCode(t, v, by(t, k, "a"), chat.Unauthorized)
			})
		})
	}
}

// Until the address has answered for the first time nobody can be told that a token is bad.
func TestJWKSDownAtFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newEd()
		s := &issuer{answer: down}
		v := s.verifier(t)
		token := by(t, k, "a")
		wantCode(t, v, token, chat.Unavailable)
		for range 50 {
			wantCode(t, v, token, chat.Unavailable)
		}
		s.wantFetches(t, 1)
		wantCode(t, v, "garbage", chat.Unauthorized)
		time.Sleep(3 * time.Second) // attempts at 0, 1 and 3 s
		s.wantFetches(t, 3)
		s.publish(jwkOf("a", k.Public()))
		wantCode(t, v, token, chat.Unavailable)
		time.Sleep(4 * time.Second)
		s.wantFetches(t, 4)
		wantCode(t, v, token, "")
	})
}

// Old keys are used while there are no new ones, for a day.
func TestJWKSDownAndBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := newEd(), newEd()
		s := &issuer{}
		s.publish(jwkOf("a", a.Public()))
		v := s.verifier(t)
		token := by(t, a, "a")
		wantCode(t, v, token, "")
		s.set(down)
		time.Sleep(24 * time.Hour)
		wantCode(t, v, token, "")
		wantCode(t, v, by(t, b, "b"), chat.Unavailable)
		time.Sleep(time.Nanosecond)
		wantCode(t, v, token, chat.Unavailable)
		s.publish(jwkOf("a", a.Public()), jwkOf("b", b.Public()))
		time.Sleep(time.Minute) // the longest between attempts
		wantCode(t, v, token, "")
		wantCode(t, v, by(t, b, "b"), "")

		// The next time it is down attempts begin close together again.
		s.set(down)
		time.Sleep(15 * time.Minute)
		synctest.Wait()
		s.publish()
		time.Sleep(time.Second)
		synctest.Wait()
		wantCode(t, v, token, chat.Unauthorized)
	})
}

// What is no set leaves the old keys as they are.
func TestJWKSAnswers(t *testing.T) {
	t.Parallel()
	many := make([]map[string]any, 65)
	for i := range many {
		many[i] = map[string]any{"kty": "oct"}
	}
	large := append(setOf(), bytes.Repeat([]byte(" "), 256<<10)...)
	for name, answer := range map[string]func() (*http.Response, error){
		"down":          down,
		"500":           func() (*http.Response, error) { return response(500, setOf(), ""), nil },
		"404":           func() (*http.Response, error) { return response(404, setOf(), ""), nil },
		"no content":    func() (*http.Response, error) { return response(204, nil, ""), nil },
		"empty":         ok(nil, ""),
		"HTML":          ok([]byte("<html>"), ""),
		"no keys":       ok([]byte("{}"), ""),
		"keys null":     ok([]byte(`{"keys":null}`), ""),
		"keys no list":  ok([]byte(`{"keys":{}}`), ""),
		"cut":           ok(setOf(jwkOf("a", newEd().Public()))[:50], ""),
		"oversized":     ok(large, ""),
		"too many keys": ok(setOf(many...), ""),
		"body breaks": func() (*http.Response, error) {
			r := response(200, nil, "")
			r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(setOf()), brokenReader{}))
			return r, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k := newEd()
				first := &issuer{answer: answer}
				token := by(t, k, "a")
				wantCode(t, first.verifier(t), token, chat.Unavailable)

				s := &issuer{}
				s.publish(jwkOf("a", k.Public()))
				v := s.verifier(t)
				synctest.Wait()
				s.set(answer)
				time.Sleep(15 * time.Minute)
				s.wantFetches(t, 2)
				wantCode(t, v, token, "")
			})
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// An address that takes the request and says nothing costs who needs it 5 s.
func TestJWKSSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newEd()
		s := &issuer{}
		s.publish(jwkOf("a", k.Public()))
		release := s.hold()
		defer release()
		v := s.verifier(t)
		began := time.Now()
		wantCode(t, v, by(t, k, "a"), chat.Unavailable)
		if d := time.Since(began); d != 5*time.Second {
			t.Fatalf("waited %v", d)
		}
		// Who will not wait so long does not. Attempts begin at 0, 6, 13 and 22 s.
		time.Sleep(17*time.Second + 500*time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if _, err := v.Verify(ctx, by(t, k, "a")); codeOf(err) != chat.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if d := time.Since(began); d != time.Second {
			t.Fatalf("waited %v", d)
		}
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newEd()
		s := &issuer{}
		s.publish(jwkOf("a", k.Public()))
		v := s.verifier(t)
		wantCode(t, v, by(t, k, "a"), "")

		release := s.hold()
		defer release()
		time.Sleep(10 * time.Second)
		done := make(chan error)
		go func() {
			_, err := v.Verify(context.Background(), by(t, k, "b"))
			done <- err
		}()
		s.wantFetches(t, 2)
		v.Close()
		if err := <-done; codeOf(err) != chat.Unavailable {
			t.Fatal(err)
		}
		wantCode(t, v, by(t, k, "b"), chat.Unavailable)
		time.Sleep(time.Hour)
		wantCode(t, v, by(t, k, "b"), chat.Unavailable)
		wantCode(t, v, by(t, k, "a"), "")
		s.wantFetches(t, 2)
		v.Close()
	})
}

// The log names the address, without its query, and what went wrong; a page hears of neither.
func TestJWKSLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		k := newEd()
		s := &issuer{answer: down}
		v := s.verifier(t, jwt.WithLogger(slog.New(slog.NewTextHandler(&lines, nil))))
		_, err := v.Verify(t.Context(), by(t, k, "a"))
		var e *chat.Error
		if !errors.As(err, &e) || strings.Contains(e.Message, "refused") || strings.Contains(e.Message, "example.com") {
			t.Errorf("a page is told %v", e)
		}
		if !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("the host is told %v", err)
		}
		s.publish(jwkOf("a", k.Public()))
		time.Sleep(time.Second)
		synctest.Wait()
		v.Close()
		text := lines.String()
		for _, want := range []string{"level=WARN", "connection refused", "https://id.example.com/keys", "fetched again"} {
			if !strings.Contains(text, want) {
				t.Errorf("the log has no %q:\n%s", want, text)
			}
		}
		if strings.Contains(text, "tenant") {
			t.Errorf("the log has the query:\n%s", text)
		}
	})
}

// A redirect goes nowhere that an address may not be.
func TestRedirectToPlainHTTP(t *testing.T) {
	t.Parallel()
	k := newEd()
	transport := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Hostname() == "id.example.com" {
			return response(http.StatusOK, setOf(jwkOf("a", k.Public())), ""), nil
		}
		res := response(http.StatusFound, nil, "")
		res.Header.Set("Location", "http://id.example.com/keys")
		return res, nil
	})
	for _, base := range []string{"http://127.0.0.1/keys", "http://[::1]/keys"} {
		opts := []jwt.Option{
			jwt.WithJWKS(base, jwt.EdDSA), jwt.WithAudience("chat"), jwt.WithHTTPClient(&http.Client{Transport: transport}),
			jwt.WithLogger(slog.New(slog.DiscardHandler)),
		}
		wantCode(t, newVerifier(t, opts...), by(t, k, "a"), chat.Unavailable)
		wantCode(t, newVerifier(t, append(opts, jwt.WithPlainHTTP())...), by(t, k, "a"), "")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Over a real connection: the client that WithJWKS has by itself, and redirects.
func TestJWKSOverHTTP(t *testing.T) {
	t.Parallel()
	k := newEd()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(setOf(jwkOf("a", k.Public()))) })
	mux.HandleFunc("GET /to", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("u"), http.StatusFound)
	})
	mux.HandleFunc("GET /loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	plain := httptest.NewServer(mux)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(mux)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // one client does not know the certificate
	secure.StartTLS()
	defer secure.Close()
	to := func(base, u string) string { return base + "/to?u=" + url.QueryEscape(u) }
	for name, c := range map[string]struct {
		address string
		client  *http.Client
		want    chat.Code
	}{
		"this machine":               {plain.URL + "/keys", nil, ""},
		"https":                      {secure.URL + "/keys", secure.Client(), ""},
		"certificate not known":      {secure.URL + "/keys", nil, chat.Unavailable},
		"redirect":                   {to(plain.URL, "/keys"), nil, ""},
		"redirect to https":          {to(plain.URL, secure.URL+"/keys"), secure.Client(), ""},
		"redirect from https":        {to(secure.URL, plain.URL+"/keys"), secure.Client(), chat.Unavailable},
		"redirect to plain http":     {to(plain.URL, "http://id.example.com/keys"), nil, chat.Unavailable},
		"redirect to a file":         {to(plain.URL, "file:///etc/keys"), nil, chat.Unavailable},
		"redirects without end":      {plain.URL + "/loop", nil, chat.Unavailable},
		"nothing there":              {plain.URL + "/x", nil, chat.Unavailable},
		"this machine, by its name":  {strings.Replace(plain.URL, "127.0.0.1", "localhost", 1) + "/keys", nil, ""},
		"this machine, another name": {strings.Replace(plain.URL, "127.0.0.1", "127.0.0.1.", 1) + "/keys", nil, "New"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := jwt.New(jwt.WithJWKS(c.address, jwt.EdDSA), jwt.WithAudience("chat"), jwt.WithHTTPClient(c.client), jwt.WithLogger(slog.New(slog.DiscardHandler)))
			if c.want == "New" {
				if err == nil {
					v.Close()
					t.Fatal("taken")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			wantCode(t, v, by(t, k, "a"), c.want)
		})
	}
}
