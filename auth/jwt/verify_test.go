package jwt_test

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/auth/jwt"
)

// Each algorithm is taken by the verifier that was told of it, and by no other.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	tokens := map[jwt.Algorithm]string{}
	verifiers := map[jwt.Algorithm]*jwt.Verifier{}
	for _, a := range algorithms {
		key, opt := signer(t, a)
		tokens[a] = sign(t, a, key, claims(nil), nil)
		verifiers[a] = newVerifier(t, opt)
	}
	for _, signed := range algorithms {
		for _, told := range algorithms {
			u, err := verifiers[told].Verify(t.Context(), tokens[signed])
			if signed == told && (err != nil || u.ID != "u1") {
				t.Errorf("%s: %+v, %v", signed, u, err)
			}
			if signed != told && codeOf(err) != chat.Unauthorized {
				t.Errorf("%s taken for %s: %v", signed, told, err)
			}
		}
	}
}

// What an issuer publishes makes no secret, also where the verifier has secrets as well.
func TestPublicKeyIsNoSecret(t *testing.T) {
	t.Parallel()
	public := rsaKey().Public()
	text := pemOf(t, public)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	verifiers := []*jwt.Verifier{
		newVerifier(t, jwt.WithPEM(jwt.RS256, text)),
		newVerifier(t, jwt.WithPEM(jwt.RS256, text), jwt.WithSecret(jwt.HS256, secret)),
	}
	for _, forged := range [][]byte{text, []byte(strings.TrimSpace(string(text))), der, rsaKey().N.Bytes()} {
		for _, v := range verifiers {
			wantCode(t, v, sign(t, jwt.HS256, forged, claims(nil), nil), chat.Unauthorized)
		}
	}
	wantCode(t, verifiers[1], sign(t, jwt.HS256, secret, claims(nil), nil), "")
	wantCode(t, verifiers[1], sign(t, jwt.RS256, rsaKey(), claims(nil), nil), "")
	wantCode(t, verifiers[1], sign(t, jwt.RS384, rsaKey(), claims(nil), nil), chat.Unauthorized)
}

func TestNone(t *testing.T) {
	t.Parallel()
	good := sign(t, jwt.HS256, secret, claims(nil), nil)
	parts := strings.Split(good, ".")
	for _, a := range algorithms {
		_, opt := signer(t, a)
		v := newVerifier(t, opt)
		for _, alg := range []string{"none", "None", "NONE", "", " none"} {
			head := b64([]byte(`{"alg":"` + alg + `","typ":"JWT"}`))
			wantCode(t, v, head+"."+parts[1]+".", chat.Unauthorized)
			wantCode(t, v, head+"."+parts[1]+"."+parts[2], chat.Unauthorized)
		}
		wantCode(t, v, b64([]byte(`{"typ":"JWT"}`))+"."+parts[1]+".", chat.Unauthorized)
		wantCode(t, v, b64([]byte(`{"alg":["`+string(a)+`"]}`))+"."+parts[1]+".", chat.Unauthorized)
	}
}

// ECDSA's verification asks for the length of a signature, not for the curve.
func TestCurveOfAnotherAlgorithm(t *testing.T) {
	t.Parallel()
	for _, a := range []jwt.Algorithm{jwt.ES256, jwt.ES384, jwt.ES512} {
		for b, k := range ecKeys() {
			_, err := jwt.New(jwt.WithPEM(a, pemOf(t, k.Public())))
			if (err == nil) != (a == b) {
				t.Errorf("%s with the key of %s: %v", a, b, err)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	now := time.Now()
	v := newVerifier(t, jwt.WithSecret(jwt.HS256, secret), jwt.WithIssuer("https://id.example.com"), jwt.WithAudience("chat", "mobile"))
	base := map[string]any{"iss": "https://id.example.com", "aud": "chat"}
	token := func(changes, header map[string]any) string {
		c := claims(base)
		for k, value := range changes {
			c[k] = value
			if value == nil {
				delete(c, k)
			}
		}
		return sign(t, jwt.HS256, secret, c, header)
	}
	type m = map[string]any
	good := token(nil, nil)
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for name, c := range map[string]struct {
		token string
		want  chat.Code
	}{
		"good":                       {good, ""},
		"audience in a list":         {token(m{"aud": []string{"x", "mobile"}}, nil), ""},
		"another typ":                {token(nil, m{"typ": "at+jwt"}), ""},
		"a kid where keys have none": {token(nil, m{"kid": "k9"}), ""},
		"no token":                   {"", chat.Unauthorized},
		"no dots":                    {"abc", chat.Unauthorized},
		"two parts":                  {head + "." + payload, chat.Unauthorized},
		"four parts":                 {good + ".x", chat.Unauthorized},
		"only dots":                  {"..", chat.Unauthorized},
		"padding":                    {good + "=", chat.Unauthorized},
		"space before":               {" " + good, chat.Unauthorized},
		"header no JSON":             {b64([]byte("{")) + "." + rest, chat.Unauthorized},
		"claims no object":           {signed(t, `[1]`), chat.Unauthorized},
		"claims null":                {signed(t, `null`), chat.Unauthorized},
		"oversized":                  {token(m{"x": strings.Repeat("x", 16<<10)}, nil), chat.Unauthorized},
		"no signature":               {head + "." + payload + ".", chat.Unauthorized},
		"spare bits of signature":    {good[:len(good)-1] + spare(good[len(good)-1]), chat.Unauthorized},
		"shorter signature":          {head + "." + payload + "." + signature[:20], chat.Unauthorized},
		"another secret":             {sign(t, jwt.HS256, []byte(strings.Repeat("z", 32)), claims(base), nil), chat.Unauthorized},
		"claims of another":          {head + "." + strings.Split(token(m{"sub": "root"}, nil), ".")[1] + "." + signature, chat.Unauthorized},
		"critical header":            {token(nil, m{"crit": []string{"b64"}, "b64": false}), chat.Unauthorized},
		"kid is no text":             {token(nil, m{"kid": 7}), chat.Unauthorized},
		"wrong issuer":               {token(m{"iss": "https://id.example.com/"}, nil), chat.Unauthorized},
		"no issuer":                  {token(m{"iss": nil}, nil), chat.Unauthorized},
		"issuer is no text":          {token(m{"iss": []string{"https://id.example.com"}}, nil), chat.Unauthorized},
		"wrong audience":             {token(m{"aud": "Chat"}, nil), chat.Unauthorized},
		"no audience":                {token(m{"aud": nil}, nil), chat.Unauthorized},
		"empty audience":             {token(m{"aud": []string{}}, nil), chat.Unauthorized},
		"audience is a number":       {token(m{"aud": []any{1}}, nil), chat.Unauthorized},
		"expired":                    {token(m{"exp": now.Add(-time.Minute).Unix()}, nil), chat.TokenExpired},
		"expired, for another":       {token(m{"exp": now.Add(-time.Minute).Unix(), "aud": "x"}, nil), chat.Unauthorized},
		"expired, by another":        {sign(t, jwt.HS256, []byte(strings.Repeat("z", 32)), claims(m{"exp": 1}), nil), chat.Unauthorized},
		"expired, of nobody":         {token(m{"exp": 1, "sub": nil}, nil), chat.Unauthorized},
		"never expires":              {token(m{"exp": nil}, nil), chat.Unauthorized},
		"exp is a text":              {token(m{"exp": "never"}, nil), chat.Unauthorized},
		"exp is null":                {signed(t, `{"sub":"u1","iss":"https://id.example.com","aud":"chat","exp":null}`), chat.Unauthorized},
		"exp is no time":             {signed(t, `{"sub":"u1","iss":"https://id.example.com","aud":"chat","exp":1e300}`), chat.Unauthorized},
		"exp beyond numbers":         {signed(t, `{"sub":"u1","iss":"https://id.example.com","aud":"chat","exp":1e999}`), chat.Unauthorized},
		"exp before 1970":            {token(m{"exp": -1}, nil), chat.Unauthorized},
		"not yet":                    {token(m{"nbf": now.Add(time.Minute).Unix()}, nil), chat.Unauthorized},
		"issued later":               {token(m{"iat": now.Add(time.Minute).Unix()}, nil), chat.Unauthorized},
		"no sub":                     {token(m{"sub": nil}, nil), chat.Unauthorized},
		"empty sub":                  {token(m{"sub": ""}, nil), chat.Unauthorized},
		"sub is a list":              {token(m{"sub": []string{"u1"}}, nil), chat.Unauthorized},
		"sub is a fraction":          {token(m{"sub": 1.5}, nil), chat.Unauthorized},
		"sub is true":                {token(m{"sub": true}, nil), chat.Unauthorized},
		"sub of an anonymous user":   {token(m{"sub": "anon:abc"}, nil), chat.Unauthorized},
		"sub of 1,024 bytes":         {token(m{"sub": strings.Repeat("x", 1024)}, nil), ""},
		"sub of 1,025 bytes":         {token(m{"sub": strings.Repeat("x", 1025)}, nil), chat.Unauthorized},
		"name is a number":           {token(m{"name": 1}, nil), chat.Unauthorized},
		"roles are a number":         {token(m{"roles": 1}, nil), chat.Unauthorized},
		"roles are numbers":          {token(m{"roles": []any{"a", 1}}, nil), chat.Unauthorized},
		"rooms are an object":        {token(m{"rooms": m{"a": true}}, nil), chat.Unauthorized},
		"jti is a number":            {token(m{"jti": 1}, nil), chat.Unauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), c.token)
			if codeOf(err) != c.want {
				t.Fatalf("%v, want code %q", err, c.want)
			}
			var e *chat.Error
			if errors.As(err, &e) && c.want == chat.Unauthorized && c.token != "" && e.Message != "the token is not valid" {
				t.Fatalf("a page is told %q", e.Message)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "jwt: ") {
				t.Fatalf("the log is told %q", err)
			}
		})
	}
}

// signed is a token with these bytes for claims.
func signed(t *testing.T, payload string) string {
	t.Helper()
	text := b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(payload))
	sig, err := gojwt.SigningMethodHS256.Sign(text, secret)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(sig)
}

// spare is another last character of base64url of 32 bytes that decodes to the same.
func spare(c byte) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(digits[strings.IndexByte(digits, c)|1])
}

func TestLeeway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, jwt.WithSecret(jwt.HS256, secret))
		exact := newVerifier(t, jwt.WithSecret(jwt.HS256, secret), jwt.WithLeeway(0))
		exp := time.Now().Add(time.Minute)
		token := sign(t, jwt.HS256, secret, claims(map[string]any{"exp": exp.Unix()}), nil)
		early := sign(t, jwt.HS256, secret, claims(map[string]any{"nbf": exp.Unix()}), nil)

		u, err := v.Verify(t.Context(), token)
		if err != nil || !u.Expires.Equal(exp.Add(30*time.Second)) || !u.Issued.Equal(time.Now()) {
			t.Fatalf("%+v, %v", u, err)
		}
		time.Sleep(30*time.Second - 1)
		wantCode(t, v, early, chat.Unauthorized)
		time.Sleep(time.Nanosecond)
		wantCode(t, v, early, "")
		wantCode(t, exact, early, chat.Unauthorized)

		time.Sleep(30*time.Second - 1)
		wantCode(t, exact, token, "")
		time.Sleep(time.Nanosecond)
		wantCode(t, exact, token, chat.TokenExpired)
		wantCode(t, exact, early, "")
		time.Sleep(30*time.Second - 1)
		wantCode(t, v, token, "")
		time.Sleep(time.Nanosecond)
		wantCode(t, v, token, chat.TokenExpired)
	})
}

func TestUser(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	exp, iat := time.Now().Add(time.Hour).Truncate(time.Second), time.Now().Add(-time.Hour).Truncate(time.Second)
	dates := m{"exp": exp.Unix(), "iat": iat.Unix()}
	for name, c := range map[string]struct {
		names  jwt.Claims
		claims m
		want   chat.User
	}{
		"defaults": {
			claims: m{"name": "Ada", "roles": []string{"admin", "staff"}, "rooms": []string{"a", "b"}, "jti": "t1"},
			want:   chat.User{ID: "u1", Name: "Ada", Roles: []string{"admin", "staff"}, Rooms: []string{"a", "b"}, TokenID: "t1"},
		},
		"little":  {want: chat.User{ID: "u1"}},
		"nothing": {claims: m{"name": "", "roles": []string{}, "rooms": ""}, want: chat.User{ID: "u1"}},
		"names": {
			names:  jwt.Claims{ID: "uid", Name: "nick", Roles: "realm.access.roles", Rooms: "https://example.com/rooms", TokenID: "sid"},
			claims: m{"sub": nil, "uid": 9007199254740993, "nick": "A", "realm": m{"access": m{"roles": []string{"x"}}}, "https://example.com/rooms": "a b", "sid": "s"},
			want:   chat.User{ID: "9007199254740993", Name: "A", Roles: []string{"x"}, Rooms: []string{"a", "b"}, TokenID: "s"},
		},
		"a name before a path": {
			names:  jwt.Claims{Roles: "a.b"},
			claims: m{"a.b": "x", "a": m{"b": "y"}},
			want:   chat.User{ID: "u1", Roles: []string{"x"}},
		},
		"a path that ends early": {names: jwt.Claims{Roles: "a.b.c"}, claims: m{"a": m{"b": "y"}}, want: chat.User{ID: "u1"}},
	} {
		t.Run(name, func(t *testing.T) {
			all := claims(dates)
			for k, value := range c.claims {
				all[k] = value
			}
			v := newVerifier(t, jwt.WithSecret(jwt.HS256, secret), jwt.WithClaims(c.names), jwt.WithLeeway(0))
			u, err := v.Verify(t.Context(), sign(t, jwt.HS256, secret, all, nil))
			if err != nil {
				t.Fatal(err)
			}
			if u.ID != c.want.ID || u.Name != c.want.Name || u.TokenID != c.want.TokenID || !slices.Equal(u.Roles, c.want.Roles) || !slices.Equal(u.Rooms, c.want.Rooms) {
				t.Errorf("%+v, want %+v", u, c.want)
			}
			if !u.Expires.Equal(exp) || !u.Issued.Equal(iat) || u.Data != nil {
				t.Errorf("expires %v, issued %v, data %v", u.Expires, u.Issued, u.Data)
			}
		})
	}
}

func TestWithoutExpiry(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, jwt.WithSecret(jwt.HS256, secret), jwt.WithoutExpiry())
	u, err := v.Verify(t.Context(), sign(t, jwt.HS256, secret, claims(map[string]any{"exp": nil}), nil))
	if err != nil || !u.Expires.IsZero() {
		t.Fatalf("%+v, %v", u, err)
	}
	wantCode(t, v, sign(t, jwt.HS256, secret, claims(map[string]any{"exp": 1}), nil), chat.TokenExpired)
}

func TestWithUser(t *testing.T) {
	t.Parallel()
	failure := errors.New("database down")
	v := newVerifier(t, jwt.WithSecret(jwt.HS256, secret), jwt.WithUser(func(_ context.Context, c map[string]any, u *chat.User) error {
		switch c["tenant"] {
		case "a":
			u.Data = c["tenant"]
			return nil
		case "b":
			return chat.Errorf(chat.Forbidden, "not your tenant")
		}
		return failure
	}))
	token := func(tenant string) string {
		return sign(t, jwt.HS256, secret, claims(map[string]any{"tenant": tenant}), nil)
	}
	u, err := v.Verify(t.Context(), token("a"))
	if err != nil || u.ID != "u1" || u.Data != "a" {
		t.Fatalf("%+v, %v", u, err)
	}
	wantCode(t, v, token("b"), chat.Forbidden)
	if u, err := v.Verify(t.Context(), token("c")); !errors.Is(err, failure) || u.ID != "" {
		t.Fatalf("%+v, %v", u, err)
	}
}
