package chat

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"
)

// A Revocation refuses tokens until they have expired by themselves.
type Revocation struct {
	UserID  string    // all tokens of the user that were not issued after At; or
	TokenID string    // the token of that id
	At      time.Time // when it was made
	Until   time.Time // it is forgotten then
}

// refuses tells whether the revocation is about u's token.
func (r *Revocation) refuses(u *User) bool {
	return r.TokenID != "" || u.Issued.IsZero() || !u.Issued.After(r.At)
}

const (
	tokenLife      = 24 * time.Hour
	revokedRefresh = 10 * time.Second // how old what is known of a Revoker's revocations may be
)

// WithTokenLife says how long tokens live at most, which is how long a revocation is remembered: 24 h by default.
func WithTokenLife(d time.Duration) Option {
	return hubOption("WithTokenLife", func(b *builder) {
		if d <= 0 {
			b.fail("WithTokenLife: must be more than 0")
		}
		b.hub.tokenLife = d
	})
}

// Revoke ends the connections of a user's clients, in all namespaces: they are told UNAUTHORIZED, get a disconnect packet and recover nothing. Later connects,
// recoveries and refreshes are refused while their tokens are not issued (User.Issued) after now: until WithTokenLife is over. A User whose Issued is not known is
// refused for all that time.
//
// Where the store is a Revoker the revocation is kept there, and holds after a restart, and within some 10 s for connects to other nodes without a cluster. In a cluster it acts on all nodes at once. It holds here also when
// that fails, of which the error tells.
func (h *Hub) Revoke(ctx context.Context, userID string) error {
	if userID == "" {
		return Errorf(InvalidPayload, "whose?")
	}
	return h.core.revoke(ctx, Revocation{UserID: userID})
}

// RevokeToken is Revoke for the one token of that id (User.TokenID), whoever comes with it.
func (h *Hub) RevokeToken(ctx context.Context, tokenID string) error {
	if tokenID == "" {
		return Errorf(InvalidPayload, "which?")
	}
	return h.core.revoke(ctx, Revocation{TokenID: tokenID})
}

// CheckUser is nil where a user whom the host's own endpoints have identified may go on: TOKEN_EXPIRED or UNAUTHORIZED otherwise, UNAVAILABLE where the revocations
// are not known yet.
func (h *Hub) CheckUser(ctx context.Context, u User) error { return h.core.checkUser(ctx, &u) }

func (h *core) revoke(ctx context.Context, r Revocation) (err error) {
	r.At = time.Now()
	r.Until = r.At.Add(h.set.tokenLife)
	h.revokeHere(r)
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	told := make(chan error, 1)
	go func() { told <- h.nodes.tell(ctx, noticeRevoked, appendBytes(nil, body)) }() // a store that hangs must not keep it from the other nodes
	return errors.Join(h.keepRevocation(ctx, r), <-told)
}

// revokeHere acts on this node.
func (h *core) revokeHere(r Revocation) {
	h.revoked.add(r) // first: who comes in after this is refused, who has come in before is found below
	for _, sp := range h.spaces {
		for _, c := range sp.revokedBy(&r) {
			c.tell(c.handlerContext(), errRevoked, "")
			c.endWith(whyRevoked)
		}
	}
}

func (h *core) keepRevocation(ctx context.Context, r Revocation) (err error) {
	keeper, ok := h.set.store.(Revoker)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.set.timeouts.Store)
	defer cancel()
	defer h.observed(&ctx, "revoke", &err)()
	defer recovered("the store", &err)
	return keeper.Revoke(ctx, r)
}

var errRevoked = Errorf(Unauthorized, "the access was revoked")

// revokedBy finds the clients that r is about, and forgets what they could recover.
func (sp *space) revokedBy(r *Revocation) (found []*Client) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	for p, s := range sp.recovery.lost {
		if r.UserID != "" && s.userID == r.UserID || r.TokenID != "" && s.token == r.TokenID {
			sp.recovery.removeLocked(p, s)
		}
	}
	if r.UserID != "" {
		for c := sp.ofUserLocked(r.UserID); c != nil; c = c.nextOfUser {
			found = append(found, c)
		}
		return found
	}
	for _, c := range sp.clients {
		if u := c.user.Load(); u != nil && u.TokenID == r.TokenID {
			found = append(found, c)
		}
	}
	return found
}

// revocations are those that are not over. The zero one has none.
type revocations struct {
	hub *core

	mu     sync.Mutex // guards what follows; innermost
	users  map[string]Revocation
	tokens map[string]Revocation
	read   time.Time     // when the store was last asked; zero: never
	asking chan struct{} // closed when it has answered; nil: it is not being asked
}

func (rs *revocations) add(r Revocation) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.addLocked(r)
}

func (rs *revocations) addLocked(r Revocation) {
	if rs.users == nil {
		rs.users, rs.tokens = map[string]Revocation{}, map[string]Revocation{}
	}
	of, key := rs.users, r.UserID
	if r.TokenID != "" {
		of, key = rs.tokens, r.TokenID
	}
	if old, ok := of[key]; ok { // each as late as it was said to be
		if r.At.Before(old.At) {
			r.At = old.At
		}
		if r.Until.Before(old.Until) {
			r.Until = old.Until
		}
	}
	of[key] = r
}

// check is nil where u may come in.
func (rs *revocations) check(ctx context.Context, u *User) error {
	if err := rs.refresh(ctx); err != nil {
		return err
	}
	if rs.hold(u) {
		return errRevoked
	}
	return nil
}

// hold tells whether u's token is revoked, as far as is known.
func (rs *revocations) hold(u *User) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	now := time.Now()
	in := func(of map[string]Revocation, key string) bool {
		r, ok := of[key]
		return ok && key != "" && now.Before(r.Until) && r.refuses(u)
	}
	return in(rs.users, u.ID) || in(rs.tokens, u.TokenID)
}

// refresh has the store's revocations read, where it keeps any and what is known is old. Only the first answer is waited for.
func (rs *revocations) refresh(ctx context.Context) error {
	keeper, ok := rs.hub.set.store.(Revoker)
	if !ok {
		return nil
	}
	rs.mu.Lock()
	never := rs.read.IsZero()
	switch {
	case !never && time.Since(rs.read) < revokedRefresh:
		rs.mu.Unlock()
		return nil
	case rs.asking == nil:
		if rs.hub.handlers.enter() {
			rs.asking = make(chan struct{})
			go rs.ask(keeper)
		}
	}
	asking := rs.asking
	rs.mu.Unlock()
	switch {
	case !never:
		return nil
	case asking == nil: // the Hub is shut down
		return errUnavailable
	}
	select {
	case <-asking:
	case <-ctx.Done():
		return errUnavailable
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.read.IsZero() {
		return errUnavailable
	}
	return nil
}

// ask reads them. Several connects wait for the one answer.
func (rs *revocations) ask(keeper Revoker) {
	defer rs.hub.handlers.leave()
	ctx, cancel := context.WithTimeout(rs.hub.life, rs.hub.set.timeouts.Store)
	defer cancel()
	now := time.Now()
	kept, err := rs.askOnce(ctx, keeper, now)
	if err != nil {
		rs.hub.journal.failed(ctx, err, "call", "revocations")
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, of := range []map[string]Revocation{rs.users, rs.tokens} {
		for key, r := range of {
			if r.Until.Before(now) {
				delete(of, key)
			}
		}
	}
	if err == nil {
		for _, r := range kept {
			rs.addLocked(r)
		}
	}
	if err == nil || !rs.read.IsZero() {
		rs.read = now
	}
	close(rs.asking)
	rs.asking = nil
}

func (rs *revocations) askOnce(ctx context.Context, keeper Revoker, now time.Time) (kept []Revocation, err error) {
	defer rs.hub.observed(&ctx, "revocations", &err)()
	defer recovered("the store", &err)
	return keeper.Revocations(ctx, now)
}
