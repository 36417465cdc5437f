package jwt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/parleychat/chat"
)

// An Option sets up a Verifier. There has to be one that says where the keys are: WithSecret, WithPEM or WithJWKS.
type Option interface{ apply(*settings) }

type optionFunc func(*settings)

func (f optionFunc) apply(s *settings) { f(s) }

type settings struct {
	keys     []key
	secrets  []secret
	short    bool // secrets may be
	address  string
	algs     []Algorithm
	client   *http.Client
	plain    bool
	issuer   string
	audience []string
	leeway   time.Duration
	eternal  bool
	claims   Claims
	user     func(context.Context, map[string]any, *chat.User) error
	cookie   string
	query    string
	log      *slog.Logger
	errs     []error
}

// secret is what WithSecret was given. How long it must be is known when all options are.
type secret struct {
	alg   Algorithm
	bytes []byte
}

func (s *settings) fail(format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf("jwt: "+format, args...))
}

func (s *settings) addKey(option string, k key, err error) {
	if err != nil {
		s.fail("%s: %w", option, err)
		return
	}
	s.keys = append(s.keys, k)
}

// WithSecret checks tokens by an HMAC with a secret that the issuer has as well. It has at least as many bytes as the hash: 32 for HS256,
// 48 for HS384, 64 for HS512. Given again, another secret is good as well: that is how one is replaced.
func WithSecret(a Algorithm, bytes []byte) Option {
	return optionFunc(func(s *settings) {
		s.secrets = append(s.secrets, secret{a, bytes})
	})
}

// WithShortSecrets lets secrets be shorter than RFC 7518, section 3.2, wants them. Whoever has one token can try out short secrets until one fits: it is for
// trying things out, and for issuers that cannot be changed.
func WithShortSecrets() Option { return optionFunc(func(s *settings) { s.short = true }) }

// WithPEM checks tokens by the one public key (PUBLIC KEY, RSA PUBLIC KEY) or the one certificate in data; nothing of a certificate counts
// but its key. RSA keys have 2,048 to 8,192 bits. Given again, another key is good as well.
func WithPEM(a Algorithm, data []byte) Option {
	return optionFunc(func(s *settings) {
		k, err := pemKey(a, data)
		s.addKey("WithPEM", k, err)
	})
}

// WithJWKS checks tokens by the keys at an address (a JWK Set, RFC 7517, section 5), signed by one of algs. The address is https, or http on this machine; see WithPlainHTTP.
// An address serves the tokens of many, so New wants WithAudience or WithUser beside it.
//
// The keys are fetched at once, again when the answer's max-age is over (1 minute to 6 hours; 15 minutes where it has none), and when a token
// names a key that is not there, which is at most once in 10 s. Who has such a token waits; nobody else does. While the address does not answer
// (within 5 s, with at most 256 KiB and 64 keys) the old keys are used, for at most a day. Without keys, or with an unknown one, the error is then chat.Unavailable.
//
// A token's kid has to be the key's. A token without one is tried with the first 8 keys that fit. A secret in the set, or a key whose private part is published, is never used.
//
// New does not wait for the first fetch. Close ends them.
func WithJWKS(address string, algs ...Algorithm) Option {
	return optionFunc(func(s *settings) {
		switch {
		case s.address != "":
			s.fail("WithJWKS given twice")
		case address == "":
			s.fail("WithJWKS without an address")
		case len(algs) == 0:
			s.fail("WithJWKS without an algorithm")
		}
		for _, a := range algs {
			if f := a.family(); f == "" || f == "HMAC" {
				s.fail("WithJWKS: %q does not sign with a public key", a)
			}
		}
		s.address, s.algs = address, slices.Clone(algs)
	})
}

// WithHTTPClient fetches the JWKS by c: for a proxy, or certificates of one's own. Each fetch ends after 5 s all the same, and
// redirects are followed only where WithJWKS would go.
func WithHTTPClient(c *http.Client) Option {
	return optionFunc(func(s *settings) { s.client = c })
}

// WithPlainHTTP lets the JWKS address be http on another machine: for a network that nobody else is in. Who can
// answer in its place makes keys, and with them users.
func WithPlainHTTP() Option { return optionFunc(func(s *settings) { s.plain = true }) }

// WithIssuer takes only tokens whose iss is exactly this. By default it is not looked at.
func WithIssuer(iss string) Option {
	return optionFunc(func(s *settings) {
		if iss == "" {
			s.fail("WithIssuer without an issuer")
		}
		s.issuer = iss
	})
}

// WithAudience takes only tokens that have one of aud in their aud. By default it is not looked at.
func WithAudience(aud ...string) Option {
	return optionFunc(func(s *settings) {
		if len(aud) == 0 || slices.Contains(aud, "") {
			s.fail("WithAudience without an audience")
		}
		s.audience = append(s.audience, aud...)
	})
}

// WithLeeway is by how much clocks may differ: exp, nbf and iat are looked at with it. The default is 30 s, the most 10 minutes.
func WithLeeway(d time.Duration) Option {
	return optionFunc(func(s *settings) {
		if d < 0 || d > 10*time.Minute {
			s.fail("WithLeeway(%v) is not between 0 and 10 minutes", d)
		}
		s.leeway = d
	})
}

// WithoutExpiry takes tokens that have no exp. Without it they are refused: nothing but a revocation would ever end them, and that is forgotten after chat.WithTokenLife.
func WithoutExpiry() Option { return optionFunc(func(s *settings) { s.eternal = true }) }

// Claims are the names under which a token has a user. An empty one is its default. A name that the token does not have as it is, and with
// dots in it, is a path into objects: "realm_access.roles".
type Claims struct {
	ID      string // "sub"; a text or a whole number, and never missing
	Name    string // "name"; a text
	Roles   string // "roles"; a list of texts, or one text with spaces in between
	Rooms   string // "rooms"; likewise
	TokenID string // "jti"; a text
}

// WithClaims names the claims that a user is made of. A claim that does not have its form makes the token no good.
func WithClaims(c Claims) Option { return optionFunc(func(s *settings) { s.claims = c }) }

// WithUser has f complete, or refuse, the user of a token that is good so far: for other claims (a scope, a tenant, the azp), a look into a
// database, or User.Data. f runs in each Auth and Verify and may block until ctx ends. Its *chat.Error reaches the page as it is. It may not
// keep claims, where numbers are json.Number.
func WithUser(f func(ctx context.Context, claims map[string]any, u *chat.User) error) Option {
	return optionFunc(func(s *settings) { s.user = f })
}

// WithCookie takes the token also from a cookie of that name, after all other places but the query.
func WithCookie(name string) Option {
	return optionFunc(func(s *settings) {
		if name == "" {
			s.fail("WithCookie without a name")
		}
		s.cookie = name
	})
}

// WithQuery takes the token also from the query's parameter of that name, after all other places. Proxies log addresses, and
// with them such tokens: it is for 1.x and 2.x clients that have no cookie, and for short-lived tokens.
func WithQuery(name string) Option {
	return optionFunc(func(s *settings) {
		if name == "" {
			s.fail("WithQuery without a name")
		}
		s.query = name
	})
}

// WithLogger is where failures to fetch keys go; the default is slog.Default().
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(s *settings) {
		if l != nil {
			s.log = l
		}
	})
}

func newSettings(opts []Option) (*settings, error) {
	s := &settings{leeway: 30 * time.Second, log: slog.Default()}
	for _, o := range opts {
		o.apply(s)
	}
	for _, of := range s.secrets {
		k, err := secretKey(of.alg, of.bytes, s.short)
		s.addKey("WithSecret", k, err)
	}
	def := func(name *string, def string) {
		if *name == "" {
			*name = def
		}
	}
	def(&s.claims.ID, "sub")
	def(&s.claims.Name, "name")
	def(&s.claims.Roles, "roles")
	def(&s.claims.Rooms, "rooms")
	def(&s.claims.TokenID, "jti")
	s.validate()
	return s, errors.Join(s.errs...)
}

func (s *settings) validate() {
	switch {
	case s.address == "" && len(s.keys) == 0 && len(s.errs) == 0:
		s.fail("no key: there has to be a WithSecret, WithPEM or WithJWKS")
	case s.address != "" && len(s.keys) > 0:
		s.fail("WithJWKS beside WithSecret or WithPEM: use a Verifier for each")
	case s.address != "" && len(s.audience) == 0 && s.user == nil:
		s.fail("WithJWKS needs WithAudience, or a WithUser that knows for whom a token was made")
	}
	for _, k := range s.keys {
		for _, a := range k.algs {
			if !slices.Contains(s.algs, a) {
				s.algs = append(s.algs, a)
			}
		}
	}
}
