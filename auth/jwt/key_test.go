package jwt_test

import (
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/auth/jwt"
)

// An old key and a new one are good side by side, each by its own algorithm.
func TestKeysSideBySide(t *testing.T) {
	t.Parallel()
	old, next := newEd(), newEd()
	v := newVerifier(t, jwt.WithPEM(jwt.EdDSA, pemOf(t, old.Public())), jwt.WithPEM(jwt.EdDSA, pemOf(t, next.Public())))
	wantCode(t, v, sign(t, jwt.EdDSA, old, claims(nil), nil), "")
	wantCode(t, v, sign(t, jwt.EdDSA, next, claims(nil), nil), "")
	wantCode(t, v, sign(t, jwt.EdDSA, newEd(), claims(nil), nil), chat.Unauthorized)

	short, long := []byte(strings.Repeat("s", 64)), []byte(strings.Repeat("l", 64))
	v = newVerifier(t, jwt.WithSecret(jwt.HS256, short), jwt.WithSecret(jwt.HS512, long))
	wantCode(t, v, sign(t, jwt.HS256, short, claims(nil), nil), "")
	wantCode(t, v, sign(t, jwt.HS512, long, claims(nil), nil), "")
	wantCode(t, v, sign(t, jwt.HS256, long, claims(nil), nil), chat.Unauthorized)
	wantCode(t, v, sign(t, jwt.HS512, short, claims(nil), nil), chat.Unauthorized)
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now, NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(nil, tmpl, tmpl, edKey().Public(), edKey())
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	v := newVerifier(t, jwt.WithPEM(jwt.EdDSA, cert))
	wantCode(t, v, sign(t, jwt.EdDSA, edKey(), claims(nil), nil), "")
	if _, err := jwt.New(jwt.WithPEM(jwt.EdDSA, append(cert, cert...))); err == nil {
		t.Fatal("two certificates taken")
	}
}

func TestPKCS1(t *testing.T) {
	t.Parallel()
	block := &pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)}
	v := newVerifier(t, jwt.WithPEM(jwt.PS256, pem.EncodeToMemory(block)))
	wantCode(t, v, sign(t, jwt.PS256, rsaKey(), claims(nil), nil), "")
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	rsaPEM := pemOf(t, rsaKey().Public())
	private, err := x509.MarshalPKCS8PrivateKey(edKey())
	if err != nil {
		t.Fatal(err)
	}
	privatePEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	weak, err := x509.ParsePKIXPublicKey(weakRSA(t))
	if err != nil {
		t.Fatal(err)
	}
	aud := jwt.WithAudience("chat")
	for name, opts := range map[string][]jwt.Option{
		"no key":                   {},
		"no key but others":        {jwt.WithIssuer("x")},
		"short secret":             {jwt.WithSecret(jwt.HS256, secret[:31])},
		"empty secret":             {jwt.WithShortSecrets(), jwt.WithSecret(jwt.HS256, nil)},
		"short secret for HS384":   {jwt.WithSecret(jwt.HS384, secret[:47])},
		"short secret for HS512":   {jwt.WithSecret(jwt.HS512, secret[:63])},
		"secret for RS256":         {jwt.WithSecret(jwt.RS256, secret)},
		"secret for none":          {jwt.WithSecret("none", secret)},
		"PEM as a secret":          {jwt.WithSecret(jwt.HS256, rsaPEM)},
		"PEM for HS256":            {jwt.WithPEM(jwt.HS256, rsaPEM)},
		"PEM for none":             {jwt.WithPEM("none", rsaPEM)},
		"RSA for ES256":            {jwt.WithPEM(jwt.ES256, rsaPEM)},
		"RSA for EdDSA":            {jwt.WithPEM(jwt.EdDSA, rsaPEM)},
		"Ed25519 for RS256":        {jwt.WithPEM(jwt.RS256, pemOf(t, edKey().Public()))},
		"EC for PS256":             {jwt.WithPEM(jwt.PS256, pemOf(t, ecKeys()[jwt.ES256].Public()))},
		"no PEM":                   {jwt.WithPEM(jwt.RS256, []byte("x"))},
		"broken PEM":               {jwt.WithPEM(jwt.RS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}))},
		"broken certificate":       {jwt.WithPEM(jwt.RS256, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))},
		"private key":              {jwt.WithPEM(jwt.EdDSA, privatePEM)},
		"another block":            {jwt.WithPEM(jwt.EdDSA, pem.EncodeToMemory(&pem.Block{Type: "X"}))},
		"weak RSA":                 {jwt.WithPEM(jwt.RS256, pemOf(t, weak))},
		"JWKS without algorithm":   {jwt.WithJWKS("https://id.example.com/keys"), aud},
		"JWKS with HS256":          {jwt.WithJWKS("https://id.example.com/keys", jwt.RS256, jwt.HS256), aud},
		"JWKS with none":           {jwt.WithJWKS("https://id.example.com/keys", "none"), aud},
		"JWKS for anybody":         {jwt.WithJWKS("https://id.example.com/keys", jwt.RS256)},
		"JWKS twice":               {jwt.WithJWKS("https://id.example.com/keys", jwt.RS256), jwt.WithJWKS("https://id.example.com/k", jwt.RS256), aud},
		"JWKS and a secret":        {jwt.WithJWKS("https://id.example.com/keys", jwt.RS256), jwt.WithSecret(jwt.HS256, secret), aud},
		"JWKS over http":           {jwt.WithJWKS("http://id.example.com/keys", jwt.RS256), aud},
		"JWKS in a file":           {jwt.WithJWKS("file:///etc/keys", jwt.RS256), aud},
		"JWKS nowhere":             {jwt.WithJWKS("", jwt.RS256), aud},
		"JWKS at no URL":           {jwt.WithJWKS("https://[::1", jwt.RS256), aud},
		"JWKS without a host":      {jwt.WithJWKS("https:///keys", jwt.RS256), aud},
		"JWKS with a user":         {jwt.WithJWKS("https://a:b@id.example.com/keys", jwt.RS256), aud},
		"plain http but ftp":       {jwt.WithJWKS("ftp://id.example.com/keys", jwt.RS256), jwt.WithPlainHTTP(), aud},
		"negative leeway":          {jwt.WithSecret(jwt.HS256, secret), jwt.WithLeeway(-1)},
		"long leeway":              {jwt.WithSecret(jwt.HS256, secret), jwt.WithLeeway(time.Hour)},
		"no audience":              {jwt.WithSecret(jwt.HS256, secret), jwt.WithAudience()},
		"empty audience":           {jwt.WithSecret(jwt.HS256, secret), jwt.WithAudience("")},
		"empty issuer":             {jwt.WithSecret(jwt.HS256, secret), jwt.WithIssuer("")},
		"cookie without a name":    {jwt.WithSecret(jwt.HS256, secret), jwt.WithCookie("")},
		"parameter without a name": {jwt.WithSecret(jwt.HS256, secret), jwt.WithQuery("")},
	} {
		if v, err := jwt.New(opts...); err == nil {
			v.Close()
			t.Errorf("%s: taken", name)
		} else if !strings.HasPrefix(err.Error(), "jwt: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// weakRSA is a key of 1,024 bits. Only its size matters, so it is no product of two primes.
func weakRSA(t *testing.T) []byte {
	t.Helper()
	p := rsaKey().PublicKey
	p.N = new(big.Int).Rsh(p.N, 1024)
	p.N.SetBit(p.N, 0, 1)
	der, err := x509.MarshalPKIXPublicKey(&p)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestShortSecret(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, jwt.WithSecret(jwt.HS256, []byte("short")), jwt.WithShortSecrets())
	wantCode(t, v, sign(t, jwt.HS256, []byte("short"), claims(nil), nil), "")
	wantCode(t, v, sign(t, jwt.HS256, []byte("shorter"), claims(nil), nil), chat.Unauthorized)
}
