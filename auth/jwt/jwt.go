// Package jwt lets clients in by JSON Web Tokens (RFC 7519), signed as RFC 7515 says.
//
//	v, err := jwt.New(jwt.WithSecret(jwt.HS256, secret), jwt.WithIssuer("https://id.example.com"))
//	…
//	defer v.Close()
//	hub, err := chat.New(chat.WithAuth(v.Auth))
//
// How a token is signed is what New was told: a token that says otherwise, or "none", is refused, and no key is ever used in
// another way than its own.
package jwt

import (
	"context"
	"errors"
	"fmt"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/parleychat/chat"
)

// tokenMost is how many bytes a token may have.
const tokenMost = 16 << 10

// A Verifier checks tokens. Its methods may be called by many at once.
type Verifier struct {
	set       *settings
	parser    *gojwt.Parser
	validator *gojwt.Validator
	jwks      *keySet // nil: the keys are those of the settings
}

// New makes a Verifier. With WithJWKS it has a goroutine, which Close ends.
func New(opts ...Option) (*Verifier, error) {
	set, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	v := &Verifier{set: set, parser: newParser(set), validator: newValidator(set)}
	if set.address == "" {
		return v, nil
	}
	source, err := newFetcher(set.address, set.client, set.plain)
	if err != nil {
		return nil, fmt.Errorf("jwt: WithJWKS: %w", err)
	}
	v.jwks = newKeySet(source, set.algs, set.log)
	return v, nil
}

func newParser(set *settings) *gojwt.Parser {
	methods := make([]string, 0, len(set.algs))
	for _, a := range set.algs {
		methods = append(methods, string(a))
	}
	return gojwt.NewParser(gojwt.WithValidMethods(methods), gojwt.WithJSONNumber(), gojwt.WithStrictDecoding(), gojwt.WithoutClaimsValidation())
}

// Close ends the fetching of keys, and waits for it. Those that are there are used for a day.
func (v *Verifier) Close() {
	if v.jwks != nil {
		v.jwks.close()
	}
}

// Verify checks a token and says whose it is. User.Expires is the token's exp with the leeway: as long as Verify takes it.
//
// The errors are *chat.Errors, which tell a page no more than it should know, with the reason wrapped beside them for the log: Unauthorized, TokenExpired (the token was good, and
// a new one will be), Unavailable (the keys cannot be had: the same token may be good in a while), or what WithUser returns.
func (v *Verifier) Verify(ctx context.Context, token string) (chat.User, error) {
	if token == "" {
		return chat.User{}, &refusal{errNoToken, errors.New("no token")}
	}
	if len(token) > tokenMost {
		return chat.User{}, &refusal{errInvalid, fmt.Errorf("a token of %d bytes", len(token))}
	}
	claims := gojwt.MapClaims{}
	if _, err := v.parser.ParseWithClaims(token, claims, v.keys(ctx)); err != nil {
		if errors.Is(err, errNoKeys) {
			return chat.User{}, &refusal{errUnavailable, err}
		}
		return chat.User{}, &refusal{errInvalid, err}
	}
	u, err := v.user(claims)
	if err != nil {
		return chat.User{}, err
	}
	if v.set.user != nil {
		if err := v.set.user(ctx, claims, &u); err != nil {
			return chat.User{}, err
		}
	}
	return u, nil
}

// errNoKeys: it is not known what the keys are.
var errNoKeys = errors.New("the keys cannot be had")

// keys finds the keys of a token's algorithm, which the parser has seen to be one of ours.
func (v *Verifier) keys(ctx context.Context) gojwt.Keyfunc {
	return func(t *gojwt.Token) (any, error) {
		if _, ok := t.Header["crit"]; ok {
			return nil, errors.New("the token has critical headers, of which none is understood") // RFC 7515, section 4.1.11
		}
		id, isText := t.Header["kid"].(string)
		if _, ok := t.Header["kid"]; ok && !isText {
			return nil, errors.New("the token's kid is no text")
		}
		a := Algorithm(t.Method.Alg())
		found := v.set.keys
		if v.jwks != nil {
			var err error
			if found, err = v.jwks.find(ctx, a, id); errors.Is(err, errUnknownKey) {
				return nil, fmt.Errorf("key %.64q: %w", id, err)
			} else if err != nil {
				return nil, fmt.Errorf("%w: %w", errNoKeys, err)
			}
		}
		return fitting(found, a), nil
	}
}

// triedMost is how many keys a token is tried with that does not name one.
const triedMost = 8

func fitting(found []key, a Algorithm) (set gojwt.VerificationKeySet) {
	for _, k := range found {
		if k.fits(a) && len(set.Keys) < triedMost {
			set.Keys = append(set.Keys, k.value)
		}
	}
	return set
}
