package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// keysMost is how many keys of a set are looked at.
const keysMost = 64

// jwk is a JSON Web Key (RFC 7517, section 4; RFC 7518, section 6; RFC 8037, section 2).
type jwk struct {
	Kty    string          `json:"kty"`
	Use    string          `json:"use"`
	KeyOps []string        `json:"key_ops"`
	Alg    string          `json:"alg"`
	Kid    string          `json:"kid"`
	Crv    string          `json:"crv"`
	N      string          `json:"n"`
	E      string          `json:"e"`
	X      string          `json:"x"`
	Y      string          `json:"y"`
	D      json.RawMessage `json:"d"`
}

// parseSet takes the keys that can check signatures by algs out of a JWK Set. Others are left out (RFC 7517, section 5), and why is in skipped.
func parseSet(body []byte, algs []Algorithm) (keys []key, skipped []error, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, nil, fmt.Errorf("no JWK Set: %w", err)
	}
	if set.Keys == nil {
		return nil, nil, errors.New(`no JWK Set: there is no "keys"`)
	}
	if len(set.Keys) > keysMost {
		return nil, nil, fmt.Errorf("a JWK Set of %d keys; at most %d are taken", len(set.Keys), keysMost)
	}
	for i, raw := range set.Keys {
		k, err := parseKey(raw, algs)
		switch {
		case err != nil:
			skipped = append(skipped, fmt.Errorf("key %d: %w", i, err))
		case !slices.ContainsFunc(keys, k.equal):
			keys = append(keys, k)
		}
	}
	return keys, skipped, nil
}

func parseKey(raw []byte, algs []Algorithm) (key, error) {
	var j jwk
	if err := json.Unmarshal(raw, &j); err != nil {
		return key{}, err
	}
	switch {
	case j.Use != "" && j.Use != "sig":
		return key{}, fmt.Errorf("its use is %.32q", j.Use)
	case j.KeyOps != nil && !slices.Contains(j.KeyOps, "verify"):
		return key{}, errors.New("its key_ops have no verify")
	case j.D != nil:
		return key{}, errors.New("its private part is published")
	}
	public, err := j.public()
	if err != nil {
		return key{}, err
	}
	k := key{id: j.Kid, value: public}
	for _, a := range algs {
		if j.Alg != "" && j.Alg != string(a) {
			continue
		}
		if why := suits(a, public); why != nil {
			err = why
			continue
		}
		k.algs = append(k.algs, a)
	}
	if len(k.algs) > 0 {
		return k, nil
	}
	if err == nil {
		err = fmt.Errorf("it is for %.32q, which is not asked for", j.Alg)
	}
	return key{}, err
}

func (j *jwk) public() (crypto.PublicKey, error) {
	switch j.Kty {
	case "RSA":
		return j.rsa()
	case "EC":
		return j.ec()
	case "OKP":
		if j.Crv != "Ed25519" {
			return nil, fmt.Errorf("its curve is %.32q", j.Crv)
		}
		x, err := decode("x", j.X)
		if err == nil && len(x) != ed25519.PublicKeySize {
			err = errors.New("its x is not as long as an Ed25519 key")
		}
		return ed25519.PublicKey(x), err
	}
	return nil, fmt.Errorf("its kty is %.32q", j.Kty)
}

func (j *jwk) rsa() (*rsa.PublicKey, error) {
	n, err := decode("n", j.N)
	if err != nil {
		return nil, err
	}
	e, err := decode("e", j.E)
	if err != nil {
		return nil, err
	}
	exp := new(big.Int).SetBytes(e)
	if exp.BitLen() > 31 {
		return nil, errors.New("its e is larger than 2^31-1")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exp.Int64())}, nil
}

func (j *jwk) ec() (*ecdsa.PublicKey, error) {
	x, err := decode("x", j.X)
	if err != nil {
		return nil, err
	}
	y, err := decode("y", j.Y)
	if err != nil {
		return nil, err
	}
	for _, c := range curves {
		if c.Params().Name != j.Crv {
			continue
		}
		// Both have the length of the field, with leading zeros (RFC 7518, section 6.2.1.2).
		if size := (c.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
			return nil, errors.New("its x or y is not as long as its curve's")
		}
		return ecdsa.ParseUncompressedPublicKey(c, slices.Concat([]byte{4}, x, y))
	}
	return nil, fmt.Errorf("its curve is %.32q", j.Crv)
}

func decode(name, s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("its %s is no base64url", name)
	}
	return b, nil
}
