package chat

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// A User is who a client is. One user may have several clients.
type User struct {
	ID    string   // up to the host, at most 1,024 bytes; empty: anonymous
	Name  string   // shown to others, may be empty
	Roles []string // up to the host
	Rooms []string // the client is subscribed to them when it connects, as to WithRooms; see RoomPolicy.UserRoomsOnly

	// Expires is when the client is disconnected, unless refresh_auth has brought a later time: see
	// WithAuth. Zero: never.
	Expires time.Time
	Issued  time.Time // of the token; one issued after Hub.Revoke is good again. Zero: not known
	TokenID string    // for Hub.RevokeToken (a JWT's jti, RFC 7519, section 4.1.7); may be empty; at most 1,024 bytes

	Data any // the host's own
}

// bare: nothing is known but the ID.
func (u *User) bare() bool {
	return u.Name == "" && u.Roles == nil && u.Rooms == nil && u.Expires.IsZero() && u.Issued.IsZero() && u.TokenID == "" && u.Data == nil
}

// An AuthFunc says who asks to come in, or why not.
type AuthFunc func(ctx context.Context, h *Handshake) (User, error)

// A RoomPolicy decides about rooms. Its functions run in the handler of the client's event and may block; an
// *Error reaches the page as it is. A nil function allows all.
type RoomPolicy struct {
	// UserRoomsOnly lets a client join no rooms by join_room but those of its User.Rooms and of WithRooms. Join is asked beside it.
	UserRoomsOnly bool

	// Join is asked about join_room, and about each room of a client that recovers, before it is in: then c has its ID, its values and the User of now, and is in no room yet.
	Join  func(ctx context.Context, c *Client, room string) error
	Write func(ctx context.Context, c *Client, room string) error // chat_message and typing
}

// A Handshake is what a client said when it asked to come in. It is valid until the AuthFunc returns; what it
// keeps it copies.
type Handshake struct {
	Auth       json.RawMessage // the auth object of socket.io-client 3.x and 4.x; nil for older ones, which have only the query
	Query      url.Values      // of the transport's request, and of the namespace for 1.x and 2.x
	Header     http.Header
	RemoteAddr string // host:port of the connection; where a proxy is believed that tells of another, the host alone: see WithTrustedProxies
	TLS        *tls.ConnectionState
	Transport  string // "polling" or "websocket", at the time of the handshake
	Namespace  string
	Refresh    bool // of refresh_auth, by a client that is in: Auth is {"token":…}, and there is no Query and no Header
	Protocol   int  // of Socket.IO: 5 for 3.x and 4.x clients; 4 for 1.x and 2.x
}

// Decode decodes Auth into v. Where there is none it leaves v as it is.
func (h *Handshake) Decode(v any) error {
	if h.Auth == nil {
		return nil
	}
	if err := json.Unmarshal(h.Auth, v); err != nil {
		return Errorf(InvalidPayload, "auth does not have the form that is expected")
	}
	return nil
}

// Cookie returns the value of the request's cookie of that name, or an empty string.
func (h *Handshake) Cookie(name string) string {
	c, err := (&http.Request{Header: h.Header}).Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

func newHandshake(req *socketio.ConnectRequest, namespace string) *Handshake {
	r := req.Handshake.Request
	q := r.URL.Query()
	for k, v := range req.Query {
		q[k] = v
	}
	return &Handshake{
		Auth: req.Auth, Query: q, Header: r.Header, RemoteAddr: r.RemoteAddr, TLS: r.TLS,
		Transport: req.Handshake.Transport, Namespace: namespace, Protocol: req.Protocol,
	}
}

const anonymousPrefix = "anon:"

// deviceUser is the user of a device that its page vouches for.
func deviceUser(auth json.RawMessage) string {
	var a struct {
		Device string `json:"device"`
	}
	if auth == nil || json.Unmarshal(auth, &a) != nil || a.Device == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(a.Device))
	return anonymousPrefix + base64.RawURLEncoding.EncodeToString(sum[:15])
}

// A pid is the secret by which a client comes back to its session; zero is none.
type pid [15]byte

// newSession is an id and the secret to come back to it, for one question to the system.
func newSession() (id string, secret pid) {
	var b [30]byte
	_, _ = rand.Read(b[:]) // never fails
	return pid(b[:15]).String(), pid(b[15:])
}

func (p pid) String() string { return base64.RawURLEncoding.EncodeToString(p[:]) }

// text is the pid as the client has it. The sid behind it, which is no secret, finds the client without a
// table of pids; home is the tag of the node where the session began, in a cluster. It is the same as long as the session lives: a client that gets another takes
// itself for new.
func (p pid) text(sid, home string) string {
	switch {
	case p == (pid{}):
		return ""
	case home == "":
		return p.String() + "." + sid
	}
	return p.String() + "." + sid + "." + home
}

// parsePID takes apart what text has made. The pid is zero for a text that is none.
func parsePID(s string) (p pid, sid, home string) {
	secret, sid, _ := strings.Cut(s, ".")
	sid, home, _ = strings.Cut(sid, ".")
	if len(secret) == base64.RawURLEncoding.EncodedLen(len(p)) {
		if _, err := base64.RawURLEncoding.Decode(p[:], []byte(secret)); err != nil {
			return pid{}, "", ""
		}
	}
	return p, sid, home
}

// hostOf is an address without its port.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}
