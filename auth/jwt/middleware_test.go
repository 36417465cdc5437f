package jwt_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/auth/jwt"
)

func TestMiddleware(t *testing.T) {
	t.Parallel()
	s := &issuer{answer: down}
	far := newVerifier(t, jwt.WithJWKS(address, jwt.EdDSA), jwt.WithAudience("chat"), jwt.WithHTTPClient(&http.Client{Transport: s}), jwt.WithLogger(slog.New(slog.DiscardHandler)))
	v := newVerifier(t, jwt.WithSecret(jwt.HS256, secret), jwt.WithCookie("session"), jwt.WithQuery("token"), jwt.WithLogger(slog.New(slog.DiscardHandler)),
		jwt.WithUser(func(_ context.Context, c map[string]any, _ *chat.User) error {
			switch c["scope"] {
			case "read":
				return chat.Errorf(chat.Forbidden, "not with this scope")
			case "broken":
				return errors.New("a secret of the database")
			}
			return nil
		}))
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, ok := jwt.UserFrom(r.Context())
		if !ok {
			t.Error("no user")
		}
		_, _ = w.Write([]byte("hello " + u.ID))
	})
	with := func(changes map[string]any) string {
		return "Bearer " + sign(t, jwt.HS256, secret, claims(changes), nil)
	}
	cookie := "session=" + sign(t, jwt.HS256, secret, claims(nil), nil)
	for name, c := range map[string]struct {
		v             *jwt.Verifier
		authorization string
		status        int
		challenge     string
		code          chat.Code
	}{
		"good":    {v, with(nil), 200, "", ""},
		"none":    {v, "", 401, "Bearer", chat.Unauthorized},
		"garbage": {v, "Bearer x", 401, `Bearer error="invalid_token"`, chat.Unauthorized},
		"expired": {v, with(map[string]any{"exp": 1}), 401, `Bearer error="invalid_token"`, chat.TokenExpired},
		"scope":   {v, with(map[string]any{"scope": "read"}), 403, "", chat.Forbidden},
		"failure": {v, with(map[string]any{"scope": "broken"}), 500, "", chat.Internal},
		"no keys": {far, "Bearer " + by(t, edKey(), "a"), 503, "", chat.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/?token="+url.QueryEscape(strings.TrimPrefix(with(nil), "Bearer ")), nil)
			r.Header.Set("Cookie", cookie)
			if c.authorization != "" {
				r.Header.Set("Authorization", c.authorization)
			}
			w := httptest.NewRecorder()
			c.v.Middleware(hello).ServeHTTP(w, r)
			if w.Code != c.status || w.Header().Get("WWW-Authenticate") != c.challenge || (w.Header().Get("Retry-After") != "") != (c.status == 503) {
				t.Fatalf("%d, %v: %s", w.Code, w.Header(), w.Body)
			}
			if c.code == "" {
				if w.Body.String() != "hello u1" {
					t.Fatal(w.Body)
				}
				return
			}
			var answer struct {
				OK    *bool
				Error struct {
					Code    chat.Code
					Message string
				}
			}
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.OK == nil || *answer.OK || answer.Error.Code != c.code || strings.Contains(answer.Error.Message, "database") {
				t.Fatalf("%s (%v)", w.Body, err)
			}
		})
	}
	if _, ok := jwt.UserFrom(t.Context()); ok {
		t.Error("a user from nowhere")
	}
}
