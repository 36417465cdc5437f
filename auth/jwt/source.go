package jwt

import (
	"context"
	"net/http"
	"strings"

	"github.com/parleychat/chat"
)

// Auth is a chat.AuthFunc. The token is the first there is of: "token" of the auth object, the Authorization header (Bearer), the
// cookie of WithCookie, the query's parameter of WithQuery. Where the first is no good the others are not tried.
// The errors are those of Verify.
func (v *Verifier) Auth(ctx context.Context, h *chat.Handshake) (chat.User, error) {
	var auth struct {
		Token string `json:"token"`
	}
	if err := h.Decode(&auth); err != nil {
		return chat.User{}, err
	}
	token := auth.Token
	if token == "" {
		token = bearer(h.Header)
	}
	if token == "" && v.set.cookie != "" {
		token = h.Cookie(v.set.cookie)
	}
	if token == "" && v.set.query != "" {
		token = h.Query.Get(v.set.query)
	}
	return v.Verify(ctx, token)
}

// bearer is the token of an Authorization header (RFC 6750, section 2.1). Another scheme is another's: it is no token.
func bearer(h http.Header) string {
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
