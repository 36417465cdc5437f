package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"strings"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/parleychat/chat"
)

// fuzzKeys are the same in each run, so that tokens of the corpus stay good.
func fuzzKeys(f *testing.F) map[Algorithm]any {
	f.Helper()
	seed := []byte(strings.Repeat("\x07", 32))
	ec, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed)
	if err != nil {
		f.Fatal(err)
	}
	return map[Algorithm]any{HS256: seed, ES256: ec, EdDSA: ed25519.NewKeyFromSeed(seed)}
}

// A token is taken only when its header and claims are, byte for byte, those that were signed; every other is refused by an error for a page.
func FuzzVerify(f *testing.F) {
	keys := fuzzKeys(f)
	set := &settings{leeway: time.Minute, claims: Claims{ID: "sub", Name: "name", Roles: "a.roles", Rooms: "rooms", TokenID: "jti"}}
	signed, good := map[string]bool{}, []string(nil)
	for a, k := range keys {
		public := k
		if p, ok := k.(crypto.Signer); ok {
			public = p.Public()
		}
		set.keys = append(set.keys, key{algs: []Algorithm{a}, value: public})
		for i, c := range []gojwt.MapClaims{
			{"sub": "u1", "exp": 253402300000},
			{"sub": 17, "exp": 253402300000.5, "iat": 1, "nbf": 1, "name": "n", "a": map[string]any{"roles": []string{"x"}}, "rooms": "a b", "jti": "t"},
			{"sub": "u1", "exp": 1},
			{},
		} {
			token, err := gojwt.NewWithClaims(gojwt.GetSigningMethod(string(a)), c).SignedString(k)
			if err != nil {
				f.Fatal(err)
			}
			signed[token[:strings.LastIndexByte(token, '.')]] = true
			f.Add(token)
			if i < 2 {
				good = append(good, token)
			}
		}
	}
	for _, s := range []string{"", ".", "..", "...", "e30.e30.", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1MSIsImV4cCI6MjUzNDAyMzAwMDAwfQ."} {
		f.Add(s)
	}
	set.validate()
	v := &Verifier{set: set, parser: newParser(set), validator: newValidator(set)}
	for _, token := range good {
		if _, err := v.Verify(f.Context(), token); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, token string) {
		u, err := v.Verify(t.Context(), token)
		if err == nil {
			if u.ID == "" || !signed[token[:strings.LastIndexByte(token, '.')]] {
				t.Fatalf("%q taken as %+v", token, u)
			}
			return
		}
		if e := (*chat.Error)(nil); !errors.As(err, &e) || e.Code != chat.Unauthorized && e.Code != chat.TokenExpired {
			t.Fatalf("%q: %v", token, err)
		}
		if u.ID != "" {
			t.Fatalf("%q: refused, and yet %+v", token, u)
		}
	})
}
