package chat

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/limit"
	"github.com/parleychat/chat/internal/socketio"
)

// accept takes in a transport's session; who it is comes with its CONNECT.
func (h *core) accept(s *engineio.Session, r *http.Request) (engineio.Handler, error) {
	if h.draining.Load() {
		return nil, refusalDraining
	}
	remote := h.addressOf(r)
	address := hostOf(remote)
	if err := h.coolingDown(r, address); err != nil {
		return nil, err
	}
	hs := &socketio.Handshake{Transport: s.Transport(), Request: h.trimRequest(r, remote), RequestID: requestIDOf(r)}
	s.OnSettled(func(evicted bool) {
		if evicted {
			ctx := authContext{h.life, hs.Request.Context(), hs.RequestID}
			h.hit(ctx, LimitHit{Limit: "Pending", Step: LimitDisconnect, Address: address})
		}
	})
	if s.Version() != 3 {
		return socketio.Accept(s, hs, &h.sockets), nil
	}
	if h.legacyClients.Add(1) > int64(h.set.limits.LegacyClients) {
		h.legacyClients.Add(-1)
		h.hit(r.Context(), LimitHit{Limit: "LegacyClients", Step: LimitRefused, Address: address})
		return nil, &engineio.Refusal{Status: http.StatusServiceUnavailable, Code: 3, Message: "Too many legacy clients"}
	}
	handler, err := h.legacy.Accept(s, hs)
	if err != nil {
		h.legacyClients.Add(-1)
		return nil, err
	}
	return &legacyHandler{Handler: handler, hub: h}, nil
}

// crowded is told of handshakes and upgrades that the transport has refused.
func (h *core) crowded(r *http.Request, what string) {
	hit := LimitHit{Limit: "Pending", Step: LimitRefused, Address: hostOf(h.addressOf(r))}
	switch what {
	case engineio.LimitPendingEach:
		hit.Limit, hit.Per = "PendingPerAddress", PerAddress
	case engineio.LimitProbes:
		hit.Limit = "Upgrades"
	}
	h.hit(r.Context(), hit)
}

// origin is the address that a handshake counts for.
func (h *core) origin(r *http.Request) string { return addressKey(h.addressOf(r)) }

// addressKey is what an address counts by, its port left out.
func addressKey(address string) string { return limit.AddressKey(hostOf(address)) }

var refusalDraining = &engineio.Refusal{
	Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"1"}}, Code: 3, Message: "Server is shutting down",
}

// legacyHandler counts the legacy sessions.
type legacyHandler struct {
	engineio.Handler
	hub *core
}

func (l *legacyHandler) Closed(reason engineio.Reason, unsent []uint64) {
	l.Handler.Closed(reason, unsent)
	l.hub.legacyClients.Add(-1)
}

// Farewell implements engineio.Farewell, which legacy's handlers do.
func (l *legacyHandler) Farewell(reason engineio.Reason) []*engineio.Packet {
	return l.Handler.(engineio.Farewell).Farewell(reason)
}

// trimRequest is what auth may look at, without the body and all else that would stay in memory as long as
// the connection.
func (h *core) trimRequest(r *http.Request, remote string) *http.Request {
	t := r.WithContext(h.valuesOf(r))
	t.Body, t.GetBody, t.Response = http.NoBody, nil, nil
	t.RemoteAddr = remote
	return t
}

// Known implements socketio.Backend.
func (h *core) Known(namespace string) bool { return h.known[namespace].space != nil }

// Dropped implements socketio.Backend.
func (h *core) Dropped(what string) {
	h.dropped.Add(1)
	h.log().Debug("chat: packet dropped", "what", what)
}

// ticket is what was found out about a client before it is taken in.
type ticket struct {
	space   *space
	alias   uint8
	user    User
	values  context.Context
	request string                // the id of the handshake's request
	remote  string                // the client's address
	done    func(*Client, *Error) // tells observers; nil: there are none
	proto   int
	address string                      // counted in space.perAddr; empty where that is not limited
	arrival string                      // the user's id, counted in space.arriving; empty where that is not limited
	there   struct{ user, address int } // clients of theirs on other nodes
	pid     pid                         // of the session that may be recovered
	sid     string                      // the same session's
	home    string                      // the node where it began
	offset  string
	lost    *lostSession
	revival *revival
	end     bool     // of the connection too, for one who is refused
	allowed []string // rooms of the session that the policy still lets it have
}

// releaseLocked: who was counted is not on the way in any more.
func (t *ticket) releaseLocked() {
	release(t.space.arriving, t.arrival)
	release(t.space.perAddr, t.address)
	t.space.talliedLocked(PerUser, t.arrival)
	t.space.talliedLocked(PerAddress, t.address)
}

// Void implements socketio.Ticket.
func (t *ticket) Void() {
	t.space.mu.Lock()
	t.releaseLocked()
	t.space.mu.Unlock()
	t.decided(nil, nil)
}

func (t *ticket) decided(c *Client, refused *Error) {
	if t.done != nil {
		t.done(c, refused)
	}
}

// Authorize implements socketio.Backend.
func (h *core) Authorize(ctx context.Context, req *socketio.ConnectRequest) (socketio.Ticket, *socketio.ConnectError) {
	if h.draining.Load() {
		return nil, &socketio.ConnectError{Message: "the server is shutting down", Later: true}
	}
	hs := req.Handshake
	name := h.known[req.Namespace]
	sp := name.space
	t := &ticket{
		space: sp, alias: name.alias, values: hs.Request.Context(), proto: req.Protocol, offset: req.Offset, request: hs.RequestID, remote: hs.Request.RemoteAddr,
	}
	t.pid, t.sid, t.home = parsePID(req.PID)
	ctx = authContext{ctx, t.values, t.request}
	if len(h.set.observe.connect) > 0 {
		ctx, t.done = h.set.observe.connecting(ctx, newHandshake(req, sp.name))
		if _, same := ctx.(authContext); !same {
			t.values = context.WithoutCancel(ctx) // what an observer has added is for the handlers, too
		}
	}
	if err := sp.authorize(ctx, req, t); err != nil {
		e := sp.explain(ctx, err, t)
		t.decided(nil, e)
		return nil, &socketio.ConnectError{Message: e.Message, Data: e, End: t.end}
	}
	return t, nil
}

// authorize decides on a CONNECT.
func (sp *space) authorize(ctx context.Context, req *socketio.ConnectRequest, t *ticket) error {
	if err := sp.overConnects(ctx, t, PerAddress); err != nil {
		return err
	}
	if err := sp.authenticate(ctx, req, t); err != nil {
		return err
	}
	if err := sp.overConnects(ctx, t, PerUser); err != nil {
		return err
	}
	back := t.pid != (pid{}) && sp.recovery.window > 0 && req.Protocol >= 5
	if back {
		sp.findLost(ctx, t)
	}
	sp.countElsewhere(ctx, t)
	if err, per := sp.admit(t, addressKey(t.remote)); err != nil {
		who := LimitHit{Limit: "ClientsPerUser", Step: LimitRefused, Per: per, Namespace: sp.name, UserID: t.user.ID, Address: hostOf(t.remote)}
		if per == PerAddress {
			who.Limit = "ClientsPerAddress"
		}
		sp.hub.hit(ctx, who)
		return err
	}
	if back && t.lost == nil { // last, since it takes the session away
		t.revival = sp.revive(ctx, t)
	}
	return nil
}

// explain is what a client hears that is refused.
func (sp *space) explain(ctx context.Context, err error, t *ticket) *Error {
	h := sp.hub
	e, ok := visible(err)
	if !ok {
		h.log().ErrorContext(ctx, "chat: auth failed", "error", err, "namespace", sp.name, "remote", t.remote)
	} else if h.logsTraffic(ctx) {
		attrs := []slog.Attr{slog.String("code", string(e.Code)), slog.String("namespace", sp.name), slog.String("remote", t.remote)}
		if t.user.ID != "" {
			attrs = append(attrs, slog.String("user_id", t.user.ID))
		}
		if err != error(e) { // it has a cause, which is not for the page
			attrs = append(attrs, slog.Any("error", err))
		}
		h.traffic(ctx, "chat: connect refused", attrs...)
	}
	h.set.observe.failed(ctx, nil, e.Code, "connect")
	return e
}

// authContext has the values of the request and the lifetime of the connection.
type authContext struct {
	context.Context
	values  context.Context
	request string
}

func (c authContext) Value(key any) any {
	if key == (requestKey{}) {
		return c.request
	}
	if v := c.values.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key) // what package context looks for in its own
}

// authenticate finds out who the client is. An anonymous user has no ID yet.
func (sp *space) authenticate(ctx context.Context, req *socketio.ConnectRequest, t *ticket) (err error) {
	defer func() {
		if p := recover(); p != nil {
			sp.hub.log().ErrorContext(ctx, "chat: panic", "in", "auth", "panic", p, "stack", string(debug.Stack()))
			err = Errorf(Internal, "internal error")
		}
	}()
	if sp.set.auth != nil {
		ctx, cancel := context.WithTimeout(ctx, sp.hub.set.timeouts.Connect)
		defer cancel()
		if t.user, err = sp.set.auth(ctx, newHandshake(req, sp.name)); err != nil {
			return err
		}
	}
	if t.user.ID == "" && sp.set.anonymous {
		t.user.ID = deviceUser(req.Auth)
	}
	return sp.acceptable(ctx, &t.user)
}

// findLost looks for the session that a client wants back. Where its old connection still counts as alive,
// that one is cut first, and its end waited for: only then is it known what was not written to it.
func (sp *space) findLost(ctx context.Context, t *ticket) {
	sp.mu.Lock()
	var old *Client
	// One that comes back before its old connection was found dead. It must not take a search: anybody can
	// ask, again and again.
	if c := sp.clients[t.sid]; c != nil && c.pid == t.pid && sp.recovery.findLocked(t.pid) == nil {
		old = c
	}
	sp.mu.Unlock()
	if old != nil && sp.sameUser(old.userID, t.user.ID) {
		old.sess.Abort(engineio.ReasonTransportClose)
		select {
		case <-old.Context().Done():
		case <-ctx.Done():
			return
		}
	}
	sp.mu.Lock()
	lost := sp.recovery.findLocked(t.pid)
	sp.mu.Unlock()
	if lost == nil || !sp.sameUser(lost.userID, t.user.ID) {
		return
	}
	t.lost = lost
	gone := sp.lostRooms(&User{Rooms: lost.given}, &t.user)
	stand := t.standIn(strings.Clone(lost.id), strings.Clone(lost.userID)) // the host may keep what it is shown, and a shelf's piece with it
	if lost.values != nil {
		stand.rare = &rare{values: lost.values}
	}
	for _, m := range lost.rooms {
		name := strings.Clone(m.name)
		if !slices.Contains(gone, name) && sp.mayHaveBack(ctx, stand, name) {
			t.allowed = append(t.allowed, name)
		}
	}
}

// sameUser: an anonymous user is whoever knows the pid.
func (sp *space) sameUser(old, now string) bool {
	return old == now || now == "" && isAnonymous(old)
}

func isAnonymous(id string) bool {
	return len(id) > len(anonymousPrefix) && id[:len(anonymousPrefix)] == anonymousPrefix
}

// standIn is who a room's policy is asked about before there is the client that comes back: the session's, with the user of today.
func (t *ticket) standIn(id, userID string) *Client {
	c := &Client{space: t.space, id: id, userID: userID, values: t.values, protocol: uint8(t.proto), alias: t.alias, gone: true}
	c.setRequest(t.request)
	if !t.user.bare() {
		c.user.Store(&t.user)
	}
	return c
}

func (sp *space) mayHaveBack(ctx context.Context, c *Client, room string) (ok bool) {
	join := sp.set.policy.Join
	if join == nil || slices.Contains(sp.set.rooms, room) {
		return true
	}
	defer func() {
		if p := recover(); p != nil {
			c.logPanic(ctx, "room policy", p)
			ok = false
		}
	}()
	return join(ctx, c, room) == nil
}

// admit checks the limits of a user and an address, and counts the address.
func (sp *space) admit(t *ticket, address string) (*Error, Scope) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	limits := &sp.hub.set.limits
	if limits.ClientsPerUser > 0 && t.user.ID != "" {
		if t.there.user+sp.countLocked(tally{PerUser, t.user.ID}) >= limits.ClientsPerUser {
			return &Error{Code: RateLimited, Message: "too many connections of this user", Data: map[string]any{"limit": limits.ClientsPerUser}}, PerUser
		}
	}
	if limits.ClientsPerAddress > 0 {
		if t.there.address+sp.countLocked(tally{PerAddress, address}) >= limits.ClientsPerAddress {
			return &Error{Code: RateLimited, Message: "too many connections from this address", Data: map[string]any{"limit": limits.ClientsPerAddress}}, PerAddress
		}
		t.address = address
		sp.perAddr[address]++
		sp.talliedLocked(PerAddress, address)
	}
	if limits.ClientsPerUser > 0 && t.user.ID != "" {
		t.arrival = t.user.ID
		sp.arriving[t.arrival]++
		sp.talliedLocked(PerUser, t.arrival)
	}
	return nil, ""
}

// release counts one out of a map of counts; an empty key was never counted.
func release(counts map[string]int, key string) {
	if key == "" {
		return
	}
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}

// Enter implements socketio.Backend.
func (h *core) Enter(st socketio.Ticket, link socketio.Link) socketio.Socket {
	t := st.(*ticket)
	c := h.enter(t, link)
	t.decided(c, nil)
	if c == nil {
		return nil
	}
	if ctx := c.handlerContext(); h.logsTraffic(ctx) {
		h.traffic(ctx, "chat: connected", slog.String("namespace", c.space.name), slog.String("remote", t.remote),
			slog.String("transport", c.sess.Transport()), slog.Int("protocol", c.Protocol()), slog.Bool("recovered", c.recovered))
	}
	return c
}

// enter makes a client, unless there is none to be made any more.
func (h *core) enter(t *ticket, link socketio.Link) *Client {
	sp := t.space
	c := &Client{
		space: sp, sess: link.Session(), link: link, userID: t.user.ID, protocol: uint8(t.proto), alias: t.alias,
		values: t.values, began: uint32(time.Now().Unix()),
	}
	c.setRequest(t.request)
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if h.revoked.hold(&t.user) { // since auth has run
		t.releaseLocked()
		link.Disconnect(false)
		return nil
	}
	if sp.closed || h.draining.Load() {
		t.releaseLocked()
		link.Session().Close(engineio.ReasonShutdown) // and no packet DISCONNECT, after which a client stays away
		return nil
	}
	release(sp.arriving, t.arrival) // the client itself counts from here on
	if t.address != "" {
		c.rareLocked().address = t.address
	}
	replay := sp.restoreLocked(c, t)
	c.rateLocked(t)
	switch {
	case c.recovered:
		h.recovered.Add(1)
	case t.pid != (pid{}):
		h.notRecovered.Add(1)
		fallthrough
	default:
		c.begin()
	}
	if sp.set.auth != nil {
		c.rareLocked().remote = t.remote
	}
	if !t.user.bare() {
		c.setUserLocked(t.user)
	}
	link.Accepted(c.id, c.pid.text(c.id, c.homeLocked(t)))
	sp.rememberLocked(c)
	for _, p := range replay {
		c.sess.Send(p)
	}
	for _, f := range sp.set.onConnect {
		c.push(job{hook: func() { f(c.handlerContext(), c) }})
	}
	sp.joinFirstLocked(c, t)
	return c
}

// homeLocked is the node where the client's session began, for its pid.
func (c *Client) homeLocked(t *ticket) string {
	if c.recovered {
		return t.home
	}
	if n := c.space.hub.nodes; n != nil {
		return n.tag
	}
	return ""
}

// begin makes a new session of c.
func (c *Client) begin() {
	c.started, c.sent = c.space.counter, sentEvents{}
	var secret pid
	c.id, secret = newSession()
	if c.space.recovery.window > 0 && c.protocol >= 5 {
		c.pid = secret
	}
	if c.userID == "" {
		c.userID = anonymousPrefix + c.id
		c.id = c.userID[len(anonymousPrefix):] // one text for both
	}
}

// restoreLocked gives c the session that its ticket found, and returns what it has missed.
func (sp *space) restoreLocked(c *Client, t *ticket) []*engineio.Packet {
	lost := t.lost
	if lost == nil || sp.recovery.lost[t.pid] != lost {
		packets, _ := sp.reviveLocked(c, t)
		return packets
	}
	lost.restrict(t.allowed)
	replay, ok := sp.recovery.replayLocked(lost, t.offset, c)
	if !ok {
		return nil
	}
	sp.recovery.removeLocked(t.pid, lost)
	c.id, c.pid, c.recovered, c.began = strings.Clone(lost.id), t.pid, true, lost.began // not of the shelf, which would stay with the client
	if lost.values != nil {
		c.rareLocked().values = lost.values
	}
	if len(lost.unacked) > 0 { // a connection that dies in the middle of the replay gets the same replay again
		c.rareLocked().unacked = lost.unacked
	}
	if lost.came != nil {
		came := *lost.came
		came.lost = false
		if _, in := came.read(sp, t.offset); !in { // it has read that, and more
			came.replay, came.size = nil, 0
		}
		c.rareLocked().came = &came
		sp.recovery.forgetLaterLocked(&came)
	}
	if c.userID == "" {
		c.userID = strings.Clone(lost.userID)
		if c.nameless() {
			c.id = c.userID[len(anonymousPrefix):] // one text for both
		}
	}
	if lost.client != nil {
		c.inbox.waitsLocked().after = lost.client // nobody else knows c yet
	}
	return replay
}

// givenBefore are the rooms of a recovered client's last token: those that it is not in any more it has left.
func (t *ticket) givenBefore() []string {
	if t.lost != nil {
		return t.lost.given
	}
	return t.revival.Given
}

// joinFirstLocked subscribes a new client to the rooms of its session and to those that everybody is in.
func (sp *space) joinFirstLocked(c *Client, t *ticket) {
	var news []*presence
	switch {
	case c.recovered && t.lost == nil:
		news = sp.joinRevivedLocked(c, t.revival)
	case c.recovered:
		for _, m := range t.lost.rooms {
			news = append(news, sp.subscribeLocked(c, strings.Clone(m.name)))
			// Of what has just been replayed the client may again get nothing: the next recovery starts where
			// this one did.
			c.membershipLocked(m.name).since = m.since
		}
	}
	if !c.recovered { // or it would be back in a room that it has left
		for _, name := range sp.set.rooms {
			news = append(news, sp.subscribeLocked(c, name))
		}
	}
	for _, name := range t.user.Rooms {
		if !c.recovered || !slices.Contains(t.givenBefore(), name) {
			news = append(news, sp.subscribeLocked(c, name))
		}
	}
	for _, p := range news {
		sp.announceLocked(p)
	}
}
