package jwt_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/auth/jwt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var algorithms = []jwt.Algorithm{
	jwt.HS256, jwt.HS384, jwt.HS512, jwt.RS256, jwt.RS384, jwt.RS512, jwt.PS256, jwt.PS384, jwt.PS512,
	jwt.ES256, jwt.ES384, jwt.ES512, jwt.EdDSA,
}

var secret = []byte(strings.Repeat("a secret of 64 bytes. ", 3)[:64])

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })

func newRSA(bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

func newEC(c elliptic.Curve) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

func newEd() ed25519.PrivateKey {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

var ecKeys = sync.OnceValue(func() map[jwt.Algorithm]*ecdsa.PrivateKey {
	return map[jwt.Algorithm]*ecdsa.PrivateKey{
		jwt.ES256: newEC(elliptic.P256()), jwt.ES384: newEC(elliptic.P384()), jwt.ES512: newEC(elliptic.P521()),
	}
})

var edKey = sync.OnceValue(newEd)

// signer is the private key for an algorithm, and the option that checks what it signs.
func signer(t testing.TB, a jwt.Algorithm) (any, jwt.Option) {
	switch a[0] {
	case 'H':
		return secret, jwt.WithSecret(a, secret)
	case 'R', 'P':
		return rsaKey(), jwt.WithPEM(a, pemOf(t, rsaKey().Public()))
	}
	if a == jwt.EdDSA {
		return edKey(), jwt.WithPEM(a, pemOf(t, edKey().Public()))
	}
	k := ecKeys()[a]
	return k, jwt.WithPEM(a, pemOf(t, k.Public()))
}

func pemOf(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// claims of a good token, with changes; a nil takes one away.
func claims(changes map[string]any) gojwt.MapClaims {
	now := time.Now()
	c := gojwt.MapClaims{"sub": "u1", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func sign(t testing.TB, a jwt.Algorithm, key any, c gojwt.MapClaims, header map[string]any) string {
	t.Helper()
	tok := gojwt.NewWithClaims(gojwt.GetSigningMethod(string(a)), c)
	maps.Copy(tok.Header, header)
	s, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newVerifier(t testing.TB, opts ...jwt.Option) *jwt.Verifier {
	t.Helper()
	v, err := jwt.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// codeOf is the code that a page would see; empty for no error.
func codeOf(err error) chat.Code {
	var e *chat.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	}
	return chat.Code("not for a page: " + err.Error())
}

func wantCode(t *testing.T, v *jwt.Verifier, token string, want chat.Code) {
	t.Helper()
	if _, err := v.Verify(t.Context(), token); codeOf(err) != want {
		t.Fatalf("Verify: %v, want code %q", err, want)
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwkOf is the JWK of a public key.
func jwkOf(kid string, public any) map[string]any {
	k := map[string]any{"use": "sig"}
	if kid != "" {
		k["kid"] = kid
	}
	switch p := public.(type) {
	case *rsa.PublicKey:
		k["kty"], k["n"], k["e"] = "RSA", b64(p.N.Bytes()), b64(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		if err != nil {
			panic(err)
		}
		half := (len(point) - 1) / 2
		k["kty"], k["crv"], k["x"], k["y"] = "EC", p.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		k["kty"], k["crv"], k["x"] = "OKP", "Ed25519", b64(p)
	}
	return k
}

func setOf(keys ...map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"keys": append([]map[string]any{}, keys...)})
	if err != nil {
		panic(err)
	}
	return b
}
