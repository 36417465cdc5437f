package chat_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"time"

	"github.com/parleychat/chat"
)

// A host's own sessions: the cookie that its pages have already, and a lookup. A session that ends on the server is
// ended here by Hub.Revoke, or by Hub.RevokeToken with its id.
func ExampleWithAuth_sessions() {
	var db *sql.DB
	_, _ = chat.New(chat.WithAuth(func(ctx context.Context, h *chat.Handshake) (chat.User, error) {
		key := h.Cookie("session")
		if key == "" {
			return chat.User{}, chat.Errorf(chat.Unauthorized, "please sign in")
		}
		sum := sha256.Sum256([]byte(key)) // who reads the table cannot sign in by it
		var u chat.User
		err := db.QueryRowContext(ctx,
			`SELECT s.id, u.id, u.name, s.created, s.expires FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.hash = $1`, sum[:],
		).Scan(&u.TokenID, &u.ID, &u.Name, &u.Issued, &u.Expires)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return chat.User{}, chat.Errorf(chat.Unauthorized, "please sign in")
		case err != nil:
			return chat.User{}, err // the page gets INTERNAL, the log the rest
		case !time.Now().Before(u.Expires):
			return chat.User{}, chat.Errorf(chat.TokenExpired, "the session has expired")
		}
		return u, nil
	}))
}
