package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"
)

var asymmetric = []Algorithm{RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA}

func text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// modulus has that many bits, and is no product of two primes: nothing is signed with it.
func modulus(bits int) string {
	n := new(big.Int).SetBit(big.NewInt(1), bits-1, 1)
	return text(n.Bytes())
}

// point is P-256's generator.
func point() (x, y string) {
	p := elliptic.P256().Params()
	return text(p.Gx.Bytes()), text(p.Gy.Bytes())
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	x, y := point()
	rsaJWK := m{"kty": "RSA", "n": modulus(2048), "e": "AQAB"}
	ecJWK := m{"kty": "EC", "crv": "P-256", "x": x, "y": y}
	edJWK := m{"kty": "OKP", "crv": "Ed25519", "x": text(make([]byte, 32))}
	with := func(base m, changes m) m {
		c := maps.Clone(base)
		maps.Copy(c, changes)
		return c
	}
	for name, c := range map[string]struct {
		jwk  m
		want []Algorithm // none: left out
	}{
		"RSA":                      {rsaJWK, asymmetric[:6]},
		"RSA for one":              {with(rsaJWK, m{"alg": "PS384"}), []Algorithm{PS384}},
		"RSA for HS256":            {with(rsaJWK, m{"alg": "HS256"}), nil},
		"RSA for none":             {with(rsaJWK, m{"alg": "none"}), nil},
		"RSA for ES256":            {with(rsaJWK, m{"alg": "ES256"}), nil},
		"RSA to encrypt":           {with(rsaJWK, m{"use": "enc"}), nil},
		"RSA to sign":              {with(rsaJWK, m{"use": "sig", "key_ops": []string{"verify"}}), asymmetric[:6]},
		"RSA by its alg encrypts":  {with(rsaJWK, m{"alg": "RSA-OAEP"}), nil},
		"RSA to wrap":              {with(rsaJWK, m{"key_ops": []string{"wrapKey"}}), nil},
		"RSA for nothing":          {with(rsaJWK, m{"key_ops": []string{}}), nil},
		"RSA with its private key": {with(rsaJWK, m{"d": "AQAB"}), nil},
		"RSA of 2,047 bits":        {with(rsaJWK, m{"n": modulus(2047)}), nil},
		"RSA of 8,192 bits":        {with(rsaJWK, m{"n": modulus(8192)}), asymmetric[:6]},
		"RSA of 8,193 bits":        {with(rsaJWK, m{"n": modulus(8193)}), nil},
		"RSA without n":            {m{"kty": "RSA", "e": "AQAB"}, nil},
		"RSA without e":            {m{"kty": "RSA", "n": modulus(2048)}, nil},
		"RSA with e 1":             {with(rsaJWK, m{"e": "AQ"}), nil},
		"RSA with e 2":             {with(rsaJWK, m{"e": "Ag"}), nil},
		"RSA with e 2^32+1":        {with(rsaJWK, m{"e": "AQAAAAE"}), nil},
		"RSA in base64":            {with(rsaJWK, m{"n": "+/+/"}), nil},
		"RSA padded":               {with(rsaJWK, m{"e": "AQ=="}), nil},
		"n is a number":            {with(rsaJWK, m{"n": 1}), nil},
		"EC":                       {ecJWK, []Algorithm{ES256}},
		"EC for its own":           {with(ecJWK, m{"alg": "ES256"}), []Algorithm{ES256}},
		"EC for another":           {with(ecJWK, m{"alg": "ES384"}), nil},
		"EC on another curve":      {with(ecJWK, m{"crv": "P-384"}), nil},
		"EC on P-224":              {with(ecJWK, m{"crv": "P-224"}), nil},
		"EC on secp256k1":          {with(ecJWK, m{"crv": "secp256k1"}), nil},
		"EC on no curve":           {with(ecJWK, m{"crv": ""}), nil},
		"EC off the curve":         {with(ecJWK, m{"x": y, "y": x}), nil},
		"EC at infinity":           {with(ecJWK, m{"x": text(make([]byte, 32)), "y": text(make([]byte, 32))}), nil},
		"EC without y":             {m{"kty": "EC", "crv": "P-256", "x": x}, nil},
		"EC with a short x":        {with(ecJWK, m{"x": x[:20]}), nil},
		"EC with its private key":  {with(ecJWK, m{"d": x}), nil},
		"OKP":                      {edJWK, []Algorithm{EdDSA}},
		"OKP for EdDSA":            {with(edJWK, m{"alg": "EdDSA"}), []Algorithm{EdDSA}},
		"OKP for RS256":            {with(edJWK, m{"alg": "RS256"}), nil},
		"OKP for agreement":        {with(edJWK, m{"crv": "X25519"}), nil},
		"OKP on Ed448":             {with(edJWK, m{"crv": "Ed448"}), nil},
		"OKP too long":             {with(edJWK, m{"x": text(make([]byte, 33))}), nil},
		"OKP without x":            {m{"kty": "OKP", "crv": "Ed25519"}, nil},
		"OKP with its private key": {with(edJWK, m{"d": x}), nil},
		"a secret":                 {m{"kty": "oct", "k": text([]byte(strings.Repeat("k", 32))), "alg": "HS256"}, nil},
		"nothing":                  {m{}, nil},
		"kty in small letters":     {with(ecJWK, m{"kty": "ec"}), nil},
		"kid is a number":          {with(ecJWK, m{"kid": 1}), nil},
	} {
		body, err := json.Marshal(m{"keys": []any{c.jwk, edJWK}})
		if err != nil {
			t.Fatal(err)
		}
		keys, skipped, err := parseSet(body, asymmetric)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		switch {
		case c.want == nil && (len(skipped) != 1 || len(keys) != 1):
			t.Errorf("%s: taken: %+v", name, keys)
		case c.want != nil && (len(skipped) != 0 || len(keys) == 0 || !slices.Equal(keys[0].algs, c.want)):
			t.Errorf("%s: %+v, left out %v", name, keys, skipped)
		}
	}
}

func TestParseSetHasEachKeyOnce(t *testing.T) {
	t.Parallel()
	x, y := point()
	ec := func(kid string) map[string]any {
		return map[string]any{"kid": kid, "kty": "EC", "crv": "P-256", "x": x, "y": y}
	}
	body, err := json.Marshal(map[string]any{"keys": []any{ec("a"), ec("a"), ec("b"), map[string]any{"kid": "a", "kty": "RSA", "n": modulus(2048), "e": "AQAB"}}})
	if err != nil {
		t.Fatal(err)
	}
	keys, _, err := parseSet(body, asymmetric)
	if err != nil || len(keys) != 3 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
}

func TestAgeOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cacheControl []string
		age          string
		want         time.Duration
	}{
		{nil, "", ageDefault},
		{[]string{"public"}, "", ageDefault},
		{[]string{"public, max-age=600"}, "", 10 * time.Minute},
		{[]string{"public", "MAX-AGE=600"}, "", 10 * time.Minute},
		{[]string{`max-age="600"`}, "", 10 * time.Minute},
		{[]string{"max-age=600"}, "120", 8 * time.Minute},
		{[]string{"max-age=600"}, "1200", ageLeast},
		{[]string{"max-age=600"}, "-120", 10 * time.Minute},
		{[]string{"max-age=86400"}, "", ageMost},
		{[]string{"max-age=0"}, "", ageLeast},
		{[]string{"max-age=-1"}, "", ageLeast},
		{[]string{"max-age=99999999999999999999"}, "", ageLeast},
		{[]string{"max-age=x"}, "", ageLeast},
		{[]string{"s-maxage=600"}, "", ageDefault},
		{[]string{"no-cache, max-age=600"}, "", ageLeast},
	} {
		h := http.Header{"Cache-Control": c.cacheControl}
		if c.age != "" {
			h.Set("Age", c.age)
		}
		if got := ageOf(h); got != c.want {
			t.Errorf("%q, Age %q: %v, want %v", c.cacheControl, c.age, got, c.want)
		}
	}
}

// What is taken out of a set is sound, and nothing is verified by it that was not signed.
func FuzzParseSet(f *testing.F) {
	x, y := point()
	for _, s := range []string{
		``, `{}`, `{"keys":[]}`, `{"keys":[null,1,"",[],{}]}`,
		`{"keys":[{"kty":"RSA","n":"` + modulus(2048) + `","e":"AQAB","kid":"a","alg":"RS256","use":"sig"}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + y + `"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + text(make([]byte, 32)) + `","key_ops":["verify"]}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, skipped, err := parseSet(body, asymmetric)
		if len(keys)+len(skipped) > keysMost || err != nil && keys != nil {
			t.Fatalf("%d keys, %d left out, %v", len(keys), len(skipped), err)
		}
		for _, k := range keys {
			if len(k.algs) == 0 {
				t.Fatal("a key for nothing")
			}
			for _, a := range k.algs {
				checkSound(t, a, k.value)
			}
		}
	})
}

func checkSound(t *testing.T, a Algorithm, value any) {
	method, size := gojwt.GetSigningMethod(string(a)), 64
	switch k := value.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); a.family() != "RSA" || n < 2048 || n > 8192 {
			t.Fatalf("%s with RSA of %d bits", a, n)
		}
		size = k.Size()
	case *ecdsa.PublicKey:
		if "ES"+map[string]string{"P-256": "256", "P-384": "384", "P-521": "512"}[k.Params().Name] != string(a) {
			t.Fatalf("%s on %s", a, k.Params().Name)
		}
		size = 2 * ((k.Params().BitSize + 7) / 8)
	case ed25519.PublicKey:
		if a != EdDSA || len(k) != ed25519.PublicKeySize {
			t.Fatalf("%s with Ed25519 of %d bytes", a, len(k))
		}
	default:
		t.Fatalf("%s with a %T", a, value)
	}
	if err := method.Verify("a.b", []byte(strings.Repeat("s", size)), value); err == nil {
		t.Fatalf("%s: made-up signature taken", a)
	}
}
