package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// expiringMost is how long ahead of its end, at most, a client hears that its token expires; a quarter of the token's life where that is less.
const expiringMost = time.Minute

var errTokenExpired = Errorf(TokenExpired, "the token has expired")

// acceptable tells whether somebody whom auth has let in may come in.
func (sp *space) acceptable(ctx context.Context, u *User) error {
	if len(u.ID) > userMost {
		return fmt.Errorf("chat: the user's id has %d bytes, and at most %d are allowed", len(u.ID), userMost)
	}
	if len(u.TokenID) > userMost {
		return fmt.Errorf("chat: the token's id has %d bytes, and at most %d are allowed", len(u.TokenID), userMost)
	}
	for _, room := range u.Rooms {
		if !validRoom(room) {
			return fmt.Errorf("chat: %q of the user's rooms is not a room's name", room)
		}
	}
	return sp.hub.checkUser(ctx, u)
}

// checkUser tells whether u's token is good still.
func (h *core) checkUser(ctx context.Context, u *User) error {
	if !u.Expires.IsZero() && !time.Now().Before(u.Expires) {
		return errTokenExpired
	}
	return h.revoked.check(ctx, u)
}

// setUserLocked takes over what auth has said of the client, whose ID stays.
func (c *Client) setUserLocked(u User) {
	u.ID = c.userID
	c.user.Store(&u)
	if c.rare != nil && c.rare.expiry != nil {
		c.rare.expiry.Stop()
		c.rare.expiry = nil
	}
	if u.Expires.IsZero() || c.gone || c.space.closed {
		return
	}
	life := time.Until(u.Expires)
	left := life
	if !u.Issued.IsZero() {
		life = u.Expires.Sub(u.Issued)
	}
	ahead := min(max(life/4, 0), expiringMost) // an issuer's clock may be wrong: the end holds all the same
	c.expiryLocked(left-ahead, c.warnLocked)
}

// expiryLocked has the next step of the token's end done, unless the token is replaced before.
func (c *Client) expiryLocked(after time.Duration, step func()) {
	var timer *time.Timer
	timer = time.AfterFunc(after, func() {
		sp := c.space
		sp.mu.Lock()
		due := !c.gone && !sp.closed && c.rare.expiry == timer
		if due {
			step()
		}
		over := due && c.rare.expiry == nil
		sp.mu.Unlock()
		if over && sp.hub.handlers.enter() {
			c.tell(c.handlerContext(), errTokenExpired, "")
			c.endWith(whyTokenExpired)
			sp.hub.handlers.leave()
		}
	})
	c.rareLocked().expiry = timer
}

type expiringNotice struct {
	ExpiresAt string `json:"expires_at"`
}

// warnLocked tells that the token expires, and waits for its end.
func (c *Client) warnLocked() {
	u := c.user.Load()
	if enc, err := socketio.Encode(expiringNotice{instant(u.Expires)}); err == nil {
		c.space.sendLocked(&audience{clients: []string{c.id}}, "auth_expiring", enc, false)
	}
	c.expiryLocked(time.Until(u.Expires), func() { c.rare.expiry, c.rare.why = nil, whyTokenExpired })
}

// instant is a time as pages get it.
func instant(t time.Time) string { return t.UTC().Format(timeFormat) }

type refreshAnswer struct {
	OK        bool   `json:"ok"`
	ExpiresAt string `json:"expires_at,omitempty"`
}

// refreshAuth replaces a client's token by what auth makes of another.
func refreshAuth(ctx context.Context, c *Client, e *Event) ([]any, error) {
	p, err := decodeFirst[struct {
		Token json.RawMessage `json:"token"`
	}](e)
	if err != nil {
		return nil, err
	}
	if c.space.set.auth == nil {
		return nil, Errorf(UnknownEvent, "nobody asks for a token here")
	}
	if p.Token == nil {
		return nil, Errorf(InvalidPayload, "token is missing")
	}
	u, err := c.authAgain(ctx, p.Token)
	if err == nil {
		err = c.refreshed(u)
	}
	if err != nil {
		return nil, err
	}
	answer := refreshAnswer{OK: true}
	if !u.Expires.IsZero() {
		answer.ExpiresAt = instant(u.Expires)
	}
	return []any{answer}, nil
}

// authAgain asks the host's auth about a new token of the same user's.
func (c *Client) authAgain(ctx context.Context, token json.RawMessage) (User, error) {
	sp := c.space
	auth, err := json.Marshal(map[string]json.RawMessage{"token": token})
	if err != nil {
		return User{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, sp.hub.set.timeouts.Connect)
	defer cancel()
	u, err := sp.set.auth(ctx, &Handshake{
		Auth: auth, Query: url.Values{}, Header: http.Header{}, RemoteAddr: c.remote(), Transport: c.Transport(), Namespace: sp.name, Protocol: c.Protocol(), Refresh: true,
	})
	if err != nil {
		return User{}, err
	}
	if !sp.sameUser(c.userID, u.ID) {
		return User{}, Errorf(Forbidden, "the token is another user's")
	}
	return u, sp.acceptable(ctx, &u)
}

// remote is the client's address, as far as it is kept: where there is an auth that may ask for it again.
func (c *Client) remote() string {
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	if c.rare == nil {
		return ""
	}
	return c.rare.remote
}

// tooLate is what a refresh hears whose client's end was decided while auth was asked: an answer that it is good would not be true.
var tooLate = map[string]error{whyTokenExpired: errTokenExpired, whyRevoked: errRevoked}

// refreshed takes over a new token, and its rooms.
func (c *Client) refreshed(u User) error {
	sp, old := c.space, c.User()
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if c.rare != nil && tooLate[c.rare.why] != nil {
		return tooLate[c.rare.why]
	}
	if sp.hub.revoked.hold(&u) { // since auth was asked; from now on RevokeToken finds the client by it
		return errRevoked
	}
	if c.gone {
		return nil
	}
	c.setUserLocked(u)
	for _, room := range sp.lostRooms(&old, &u) {
		sp.unsubscribeLocked(c, room, false)
	}
	for _, room := range u.Rooms {
		if !slices.Contains(old.Rooms, room) {
			sp.announceLocked(sp.subscribeLocked(c, room))
		}
	}
	return nil
}

// lostRooms are those that the old token gave and the new one does not, where that counts.
func (sp *space) lostRooms(old, now *User) (lost []string) {
	if !sp.set.policy.UserRoomsOnly {
		return nil
	}
	for _, room := range old.Rooms {
		if !slices.Contains(now.Rooms, room) && !slices.Contains(sp.set.rooms, room) {
			lost = append(lost, room)
		}
	}
	return lost
}

// listed tells whether RoomPolicy.UserRoomsOnly lets a client join a room.
func (c *Client) listed(room string) bool {
	set := c.space.set
	return !set.policy.UserRoomsOnly || slices.Contains(set.rooms, room) || slices.Contains(c.User().Rooms, room) || c.subscribed(room)
}
