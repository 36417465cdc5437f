package jwt_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/auth/jwt"
)

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
