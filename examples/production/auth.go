package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/auth/jwt"
)

const maxName = 32 // characters

// An auth is who may come in, to the Hub and to the API.
type auth struct {
	options []chat.Option
	api     func(http.Handler) http.Handler
	close   func()
}

func newAuth(cfg config) (auth, error) {
	if cfg.anybody {
		return auth{
			options: []chat.Option{chat.WithAuth(anybody), chat.WithAnonymous()},
			api:     func(h http.Handler) http.Handler { return h },
			close:   func() {},
		}, nil
	}
	opts := []jwt.Option{jwt.WithSecret(jwt.HS256, cfg.secret)}
	if len(cfg.secret) < secretLeast {
		slog.Warn("JWT_SECRET is short: whoever has one token can find it out by trying", "bytes", len(cfg.secret), "least", secretLeast)
		opts = append(opts, jwt.WithShortSecrets())
	}
	if cfg.issuer != "" {
		opts = append(opts, jwt.WithIssuer(cfg.issuer))
	}
	if cfg.audience != "" {
		opts = append(opts, jwt.WithAudience(cfg.audience))
	}
	v, err := jwt.New(opts...)
	if err != nil {
		return auth{}, err
	}
	return auth{[]chat.Option{chat.WithAuth(v.Auth)}, v.Middleware, v.Close}, nil
}

// anybody is AUTH=none: who comes through a proxy that has signed them in is whom its X-User-ID names; who does not has an id of their own, and a name if their
// page sends one.
func anybody(_ context.Context, h *chat.Handshake) (chat.User, error) {
	if id := h.Header.Get("X-User-ID"); id != "" {
		return chat.User{ID: id, Name: id}, nil
	}
	var said struct{ Name string }
	if err := h.Decode(&said); err != nil {
		return chat.User{}, err
	}
	name := strings.TrimSpace(said.Name)
	if utf8.RuneCountInString(name) > maxName {
		return chat.User{}, chat.Errorf(chat.InvalidPayload, "A name has at most %d characters.", maxName)
	}
	return chat.User{Name: cmp.Or(name, "anonymous")}, nil
}

// hasRole: where a role is asked for, whoever has none is not let through. With AUTH=none nobody has roles.
func hasRole(r *http.Request, role string) bool {
	u, _ := jwt.UserFrom(r.Context())
	return role == "" || slices.Contains(u.Roles, role)
}

// whoami tells a page under which user_id others see it.
func whoami(_ context.Context, c *chat.Client, _ struct{}) (chat.Member, error) {
	return chat.Member{UserID: c.User().ID, Name: c.User().Name}, nil
}

// token prints what the host's own sign-in would give out: for trying it out, and for scripts that broadcast.
func token(cfg config, args []string) error {
	if len(args) == 0 || len(cfg.secret) == 0 {
		return fmt.Errorf("usage: JWT_SECRET=… production token ID [NAME [ROLE…]]")
	}
	now := time.Now()
	claims := gojwt.MapClaims{"sub": args[0], "name": args[0], "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	if len(args) > 1 {
		claims["name"], claims["roles"] = args[1], args[2:]
	}
	if cfg.issuer != "" {
		claims["iss"] = cfg.issuer
	}
	if cfg.audience != "" {
		claims["aud"] = cfg.audience
	}
	signed, err := gojwt.NewWithClaims(gojwt.SigningMethodHS256, claims).SignedString(cfg.secret)
	if err == nil {
		fmt.Println(signed)
	}
	return err
}
