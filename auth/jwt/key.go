package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An Algorithm is how tokens are signed, by its name in a token's header (RFC 7518, section 3.1; RFC 8037).
type Algorithm string

// The algorithms. There is no "none".
const (
	HS256 Algorithm = "HS256"
	HS384 Algorithm = "HS384"
	HS512 Algorithm = "HS512"
	RS256 Algorithm = "RS256"
	RS384 Algorithm = "RS384"
	RS512 Algorithm = "RS512"
	PS256 Algorithm = "PS256"
	PS384 Algorithm = "PS384"
	PS512 Algorithm = "PS512"
	ES256 Algorithm = "ES256" // with a key on P-256
	ES384 Algorithm = "ES384" // P-384
	ES512 Algorithm = "ES512" // P-521
	EdDSA Algorithm = "EdDSA" // Ed25519
)

// family is the kind of key that an algorithm needs.
func (a Algorithm) family() string {
	switch a {
	case HS256, HS384, HS512:
		return "HMAC"
	case RS256, RS384, RS512, PS256, PS384, PS512:
		return "RSA"
	case ES256, ES384, ES512:
		return "EC"
	case EdDSA:
		return "OKP"
	}
	return ""
}

// secretLeast is the shortest secret, in bytes, that an HMAC may have: as long as its hash (RFC 7518, section 3.2).
var secretLeast = map[Algorithm]int{HS256: 32, HS384: 48, HS512: 64}

var curves = map[Algorithm]elliptic.Curve{ES256: elliptic.P256(), ES384: elliptic.P384(), ES512: elliptic.P521()}

// Bits of an RSA key. The upper bound is one of time: anybody may have a signature checked.
const (
	rsaLeast = 2048
	rsaMost  = 8192
)

// A key and the algorithms that it is used with: only ever those of its own family, whatever a token says.
type key struct {
	id    string // a JWK's kid; empty: none
	algs  []Algorithm
	value any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey, as golang-jwt wants them
}

func (k *key) fits(a Algorithm) bool { return slices.Contains(k.algs, a) }

// secretKey is a key of bytes that both sides know.
func secretKey(a Algorithm, secret []byte, short bool) (key, error) {
	switch least := secretLeast[a]; {
	case least == 0:
		return key{}, fmt.Errorf("%q does not sign with a secret; HS256, HS384 and HS512 do", a)
	case strings.Contains(string(secret), "-----BEGIN "):
		return key{}, errors.New("a PEM is no secret: anybody may have read it")
	case len(secret) == 0:
		return key{}, errors.New("an empty secret")
	case len(secret) < least && !short:
		return key{}, fmt.Errorf("a secret for %s has at least %d bytes, this one %d", a, least, len(secret))
	}
	return key{algs: []Algorithm{a}, value: slices.Clone(secret)}, nil
}

// pemKey is the one public key, or the key of the one certificate, in data.
func pemKey(a Algorithm, data []byte) (key, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return key{}, errors.New("no PEM block")
	}
	if len(strings.TrimSpace(string(rest))) > 0 {
		return key{}, errors.New("more than one PEM block; of a chain only the first certificate's key signs tokens")
	}
	public, err := parseBlock(block)
	if err != nil {
		return key{}, err
	}
	if err := suits(a, public); err != nil {
		return key{}, err
	}
	return key{algs: []Algorithm{a}, value: public}, nil
}

func parseBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	}
	if strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, errors.New("a private key; who checks tokens needs the public one")
	}
	return nil, fmt.Errorf("PEM block %q is neither a public key nor a certificate", block.Type)
}

// suits says why public is not a key for a.
func suits(a Algorithm, public any) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if a.family() != "RSA" {
			break
		}
		if n := k.N.BitLen(); n < rsaLeast || n > rsaMost {
			return fmt.Errorf("an RSA key of %d bits; %d to %d are taken", n, rsaLeast, rsaMost)
		}
		if k.E < 3 || k.E%2 == 0 {
			return fmt.Errorf("an RSA key with exponent %d", k.E)
		}
		return nil
	case *ecdsa.PublicKey:
		if c := curves[a]; c != nil && c == k.Curve {
			return nil
		}
		return fmt.Errorf("%s does not go with an EC key on %s", a, k.Params().Name)
	case ed25519.PublicKey:
		if a == EdDSA {
			return nil
		}
	}
	return fmt.Errorf("%q does not go with a %T", a, public)
}

// equal: the two are the same key, for the same use. A set may hold one twice.
func (k *key) equal(l key) bool {
	v, ok := k.value.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.id == l.id && slices.Equal(k.algs, l.algs) && v.Equal(l.value)
}
