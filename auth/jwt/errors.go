package jwt

import "github.com/parleychat/chat"

// What a page gets to see. It cannot tell a wrong signature from a wrong audience.
var (
	errNoToken     = chat.Errorf(chat.Unauthorized, "there is no token")
	errInvalid     = chat.Errorf(chat.Unauthorized, "the token is not valid")
	errExpired     = chat.Errorf(chat.TokenExpired, "the token has expired")
	errUnavailable = chat.Errorf(chat.Unavailable, "tokens cannot be checked at the moment")
)

// A refusal is what a page sees, with what only the log may know.
type refusal struct {
	shown *chat.Error
	cause error
}

func (r *refusal) Error() string   { return "jwt: " + r.cause.Error() }
func (r *refusal) Unwrap() []error { return []error{r.shown, r.cause} }
