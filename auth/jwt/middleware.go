package jwt

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/parleychat/chat"
)

type userKey struct{}

// UserFrom is the user that Middleware has found. ok is false where it did not run.
func UserFrom(ctx context.Context) (u chat.User, ok bool) {
	u, ok = ctx.Value(userKey{}).(chat.User)
	return u, ok
}

// Middleware lets requests to a host's own endpoints through that have a good token in their Authorization header (Bearer). Cookies and queries do not
// count, whatever the options are: a browser sends cookies also with what another site makes it send. The others get 401, or 503 with
// Retry-After while the keys cannot be had, or 403 for an error of WithUser that is neither, and {"ok":false,"error":{"code","message"}}.
//
// It knows nothing of Hub.Revoke.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := v.Verify(r.Context(), bearer(r.Header))
		if err != nil {
			v.refuse(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, u)))
	})
}

func (v *Verifier) refuse(w http.ResponseWriter, err error) {
	var e *chat.Error
	if !errors.As(err, &e) {
		v.set.log.Error("jwt: WithUser failed", "error", err)
		e = chat.Errorf(chat.Internal, "internal error")
	}
	status := http.StatusForbidden
	switch e.Code {
	case chat.Unauthorized, chat.TokenExpired:
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", challenge(e))
	case chat.Unavailable:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	case chat.Internal:
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"ok": false, "error": e}) // the client may have gone
}

// challenge as RFC 6750, section 3, has it: without an error where there was no token.
func challenge(e *chat.Error) string {
	if e == errNoToken {
		return "Bearer"
	}
	return `Bearer error="invalid_token"`
}
