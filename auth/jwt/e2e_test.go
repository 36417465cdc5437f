package jwt_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/auth/jwt"
	"github.com/parleychat/chat/chattest"
)

func newHub(t *testing.T, opts ...chat.Option) *chat.Hub {
	t.Helper()
	hub, err := chat.New(append(opts, chat.WithLogger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hub.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return hub
}

// whoami answers with what the Hub knows of a client.
var whoami = chat.OnCall("whoami", func(_ context.Context, c *chat.Client, _ any) (map[string]any, error) {
	u := c.User()
	return map[string]any{"id": u.ID, "name": u.Name, "roles": u.Roles, "rooms": c.Rooms(), "token": u.TokenID, "expires": u.Expires.Unix()}, nil
})

func TestSources(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, jwt.WithSecret(jwt.HS256, secret), jwt.WithCookie("session"), jwt.WithQuery("access_token"))
	few := newVerifier(t, jwt.WithSecret(jwt.HS256, secret))
	hub, without := newHub(t, chat.WithAuth(v.Auth), whoami), newHub(t, chat.WithAuth(few.Auth), whoami)
	of := func(id string) string {
		return sign(t, jwt.HS256, secret, claims(map[string]any{"sub": id}), nil)
	}
	type dial = []chattest.Option
	payload := func(token string) chattest.Option { return chattest.Auth(map[string]any{"token": token}) }
	header := func(value string) chattest.Option { return chattest.Header("Authorization", value) }
	cookie := func(token string) chattest.Option { return chattest.Header("Cookie", "a=b; session="+token) }
	query := func(token string) chattest.Option { return chattest.Query("access_token", token) }
	for name, c := range map[string]struct {
		hub  *chat.Hub
		dial dial
		id   string // empty: refused
	}{
		"payload":                    {without, dial{payload(of("a"))}, "a"},
		"header":                     {without, dial{header("Bearer " + of("a"))}, "a"},
		"header in small letters":    {without, dial{header("bearer  " + of("a"))}, "a"},
		"cookie":                     {hub, dial{cookie(of("a"))}, "a"},
		"query":                      {hub, dial{query(of("a"))}, "a"},
		"cookie not asked for":       {without, dial{cookie(of("a")), chattest.Header("Cookie", "token="+of("a"))}, ""},
		"query without a name":       {without, dial{chattest.Query("", of("a"))}, ""},
		"query not asked for":        {without, dial{query(of("a")), chattest.Query("token", of("a"))}, ""},
		"nothing":                    {hub, nil, ""},
		"payload first":              {hub, dial{payload(of("a")), header("Bearer " + of("b")), cookie(of("c")), query(of("d"))}, "a"},
		"header next":                {hub, dial{payload(""), header("Bearer " + of("b")), cookie(of("c")), query(of("d"))}, "b"},
		"cookie next":                {hub, dial{chattest.Auth(map[string]any{"x": 1}), cookie(of("c")), query(of("d"))}, "c"},
		"another scheme":             {hub, dial{header("Basic " + of("b")), cookie(of("c"))}, "c"},
		"no scheme":                  {hub, dial{header(of("b"))}, ""},
		"first no good, second good": {hub, dial{payload("x"), header("Bearer " + of("b"))}, ""},
		"polling, payload":           {hub, dial{chattest.Polling(), payload(of("a"))}, "a"},
		"polling, cookie":            {hub, dial{chattest.Polling(), cookie(of("c"))}, "c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := chattest.TryDial(t, c.hub, c.dial...)
			if c.id == "" {
				wantRefused(t, err, chat.Unauthorized)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if id := who(client).ID; id != c.id {
				t.Fatalf("let in as %q", id)
			}
		})
	}
}

type identity struct {
	ID, Name, Token string
	Roles, Rooms    []string
	Expires         int64
}

func who(c *chattest.Client) identity {
	var answer struct{ Result identity }
	c.Call("whoami", map[string]any{}).Decode(0, &answer)
	return answer.Result
}

func wantRefused(t *testing.T, err error, code chat.Code) {
	t.Helper()
	var refused *chattest.DialError
	if !errors.As(err, &refused) {
		t.Fatalf("let in, or another error: %v", err)
	}
	var e struct{ Code chat.Code }
	if err := json.Unmarshal(refused.Data, &e); err != nil || e.Code != code {
		t.Fatalf("refused by %s, want %s", refused.Data, code)
	}
}

func TestUserOfAHub(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, jwt.WithSecret(jwt.HS256, secret), jwt.WithLeeway(0))
	hub := newHub(t, chat.WithAuth(v.Auth), whoami)
	exp := time.Now().Add(time.Hour).Unix()
	token := sign(t, jwt.HS256, secret, claims(map[string]any{
		"name": "Ada", "roles": []string{"admin"}, "rooms": []string{"red", "blue"}, "jti": "t1", "exp": exp,
	}), nil)
	u := who(chattest.Dial(t, hub, chattest.Auth(map[string]any{"token": token})))
	if u.ID != "u1" || u.Name != "Ada" || strings.Join(u.Roles, " ") != "admin" || strings.Join(u.Rooms, " ") != "red blue" || u.Token != "t1" || u.Expires != exp {
		t.Fatalf("%+v", u)
	}
}

// What a page hears of each kind of refusal, over both transports.
func TestRefusalsOfAHub(t *testing.T) {
	t.Parallel()
	s := &issuer{answer: down}
	user := jwt.WithUser(func(_ context.Context, c map[string]any, _ *chat.User) error {
		switch c["scope"] {
		case "read":
			return chat.Errorf(chat.Forbidden, "not with this scope")
		case "broken":
			return errors.New("a secret of the database")
		}
		return nil
	})
	own := newVerifier(t, jwt.WithSecret(jwt.HS256, secret), user)
	far := newVerifier(t, jwt.WithJWKS(address, jwt.EdDSA), user, jwt.WithHTTPClient(&http.Client{Transport: s}), jwt.WithLogger(slog.New(slog.DiscardHandler)))
	hubs := map[*jwt.Verifier]*chat.Hub{own: newHub(t, chat.WithAuth(own.Auth)), far: newHub(t, chat.WithAuth(far.Auth))}
	with := func(changes map[string]any) map[string]any {
		return map[string]any{"token": sign(t, jwt.HS256, secret, claims(changes), nil)}
	}
	for name, c := range map[string]struct {
		v    *jwt.Verifier
		auth any
		want chat.Code
	}{
		"none":            {own, map[string]any{}, chat.Unauthorized},
		"garbage":         {own, map[string]any{"token": "x.y.z"}, chat.Unauthorized},
		"another form":    {own, map[string]any{"token": 7}, chat.InvalidPayload},
		"expired":         {own, with(map[string]any{"exp": 1}), chat.TokenExpired},
		"not yet":         {own, with(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), chat.Unauthorized},
		"scope":           {own, with(map[string]any{"scope": "read"}), chat.Forbidden},
		"host's failure":  {own, with(map[string]any{"scope": "broken"}), chat.Internal},
		"another's":       {far, with(nil), chat.Unauthorized},
		"no keys":         {far, map[string]any{"token": by(t, edKey(), "a")}, chat.Unavailable},
		"no keys, no kid": {far, map[string]any{"token": by(t, edKey(), "")}, chat.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := chattest.TryDial(t, hubs[c.v], chattest.Auth(c.auth))
			wantRefused(t, err, c.want)
			_, err = chattest.TryDial(t, hubs[c.v], chattest.Auth(c.auth), chattest.Polling())
			wantRefused(t, err, c.want)
		})
	}
}

// A refresh_auth asks again by a Handshake that has nothing but {"token"}.
func TestAuthWithoutARequest(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, jwt.WithSecret(jwt.HS256, secret), jwt.WithCookie("session"), jwt.WithQuery("token"))
	auth, err := json.Marshal(map[string]string{"token": sign(t, jwt.HS256, secret, claims(nil), nil)})
	if err != nil {
		t.Fatal(err)
	}
	if u, err := v.Auth(t.Context(), &chat.Handshake{Auth: auth}); err != nil || u.ID != "u1" {
		t.Fatalf("%+v, %v", u, err)
	}
	if _, err := v.Auth(t.Context(), &chat.Handshake{}); codeOf(err) != chat.Unauthorized {
		t.Fatal(err)
	}
}

// A token is replaced while the client stays, and only by one of the same user; at the end of the last one the client has to go.
func TestRefreshAndEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, chat.WithAuth(newVerifier(t, jwt.WithSecret(jwt.HS256, secret)).Auth), whoami)
		began := time.Now()
		token := func(id string, d time.Duration, rooms ...string) map[string]any {
			return map[string]any{"token": sign(t, jwt.HS256, secret, claims(map[string]any{"sub": id, "exp": began.Add(d).Unix(), "rooms": rooms}), nil)}
		}
		at := func(d time.Duration) string { return began.Add(d).UTC().Format("2006-01-02T15:04:05.000Z07:00") }
		expiring := func(c *chattest.Client) (p struct {
			ExpiresAt string `json:"expires_at"`
		}) {
			c.Expect("auth_expiring").Decode(0, &p)
			return p
		}
		c := chattest.Dial(t, hub, chattest.Auth(token("u1", 10*time.Minute, "a")), chattest.Timeout(time.Hour))
		if p := expiring(c); p.ExpiresAt != at(10*time.Minute+30*time.Second) {
			t.Fatalf("%+v", p)
		}
		refresh := func(auth map[string]any) (a struct {
			OK        bool   `json:"ok"`
			ExpiresAt string `json:"expires_at"`
			Error     struct{ Code chat.Code }
		}) {
			c.Call("refresh_auth", auth).Decode(0, &a)
			return a
		}
		for want, auth := range map[chat.Code]map[string]any{
			chat.Forbidden: token("u2", time.Hour), chat.TokenExpired: token("u1", time.Minute), chat.Unauthorized: {"token": "x"}, chat.InvalidPayload: {"token": 7},
		} {
			if a := refresh(auth); a.OK || a.Error.Code != want {
				t.Fatalf("%+v, want %s", a, want)
			}
		}
		if a := refresh(token("u1", 20*time.Minute, "a", "b")); !a.OK || a.ExpiresAt != at(20*time.Minute+30*time.Second) {
			t.Fatalf("%+v", a)
		}
		if rooms := strings.Join(who(c).Rooms, " "); rooms != "a b" {
			t.Fatalf("in the rooms %q", rooms)
		}
		expiring(c)
		var e struct{ Code chat.Code }
		c.Expect("error").Decode(0, &e)
		if e.Code != chat.TokenExpired || time.Since(began) != 20*time.Minute+30*time.Second {
			t.Fatalf("%+v after %v", e, time.Since(began))
		}
		c.WaitClosed()
	})
}

// What was issued before a revocation is no good, by its user or by its id; what is issued after it is.
func TestRevoke(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub := newHub(t, chat.WithAuth(newVerifier(t, jwt.WithSecret(jwt.HS256, secret)).Auth))
		token := func(id, jti string) chattest.Option {
			return chattest.Auth(map[string]any{"token": sign(t, jwt.HS256, secret, claims(map[string]any{"sub": id, "jti": jti}), nil)})
		}
		ended := func(c *chattest.Client) {
			t.Helper()
			var e struct{ Code chat.Code }
			c.Expect("error").Decode(0, &e)
			if e.Code != chat.Unauthorized {
				t.Fatalf("%+v", e)
			}
			c.WaitClosed()
		}
		refused := func(o chattest.Option) {
			t.Helper()
			_, err := chattest.TryDial(t, hub, o)
			wantRefused(t, err, chat.Unauthorized)
		}
		one, two, other := token("u1", "t1"), token("u1", "t2"), token("u2", "t3")
		c1, c2, c3 := chattest.Dial(t, hub, one), chattest.Dial(t, hub, two), chattest.Dial(t, hub, other)
		if err := hub.RevokeToken(t.Context(), "t1"); err != nil {
			t.Fatal(err)
		}
		ended(c1)
		refused(one)
		chattest.Dial(t, hub, two).Close()
		if err := hub.Revoke(t.Context(), "u1"); err != nil {
			t.Fatal(err)
		}
		ended(c2)
		refused(two)
		refused(token("u1", "t4")) // iat has no parts of a second: it is not after the revocation
		time.Sleep(time.Second)
		chattest.Dial(t, hub, token("u1", "t5")).Close()
		c3.Call("join_room", map[string]any{"room": "a"}) // another user is where it was
	})
}
