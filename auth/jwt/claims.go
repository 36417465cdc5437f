package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/parleychat/chat"
)

func newValidator(set *settings) *gojwt.Validator {
	opts := []gojwt.ParserOption{gojwt.WithLeeway(set.leeway), gojwt.WithIssuedAt()}
	if set.issuer != "" {
		opts = append(opts, gojwt.WithIssuer(set.issuer))
	}
	if len(set.audience) > 0 {
		opts = append(opts, gojwt.WithAudience(set.audience...))
	}
	return gojwt.NewValidator(opts...)
}

// unexpiring claims leave the exp to us: only of a token that is good in all else may a page know that it has expired.
type unexpiring struct{ gojwt.MapClaims }

func (unexpiring) GetExpirationTime() (*gojwt.NumericDate, error) { return nil, nil }

// user is whom the claims of a token with a good signature speak of.
func (v *Verifier) user(claims gojwt.MapClaims) (chat.User, error) {
	for _, name := range []string{"exp", "nbf", "iat"} {
		if err := checkDate(claims, name); err != nil {
			return chat.User{}, &refusal{errInvalid, err}
		}
	}
	if err := v.validator.Validate(unexpiring{claims}); err != nil {
		return chat.User{}, &refusal{errInvalid, err}
	}
	u, err := v.set.claims.user(claims)
	if err != nil {
		return chat.User{}, &refusal{errInvalid, err}
	}
	if iat, _ := claims.GetIssuedAt(); iat != nil {
		u.Issued = iat.Time
	}
	exp, _ := claims.GetExpirationTime()
	if exp == nil {
		if !v.set.eternal {
			return chat.User{}, &refusal{errInvalid, errors.New("the token has no exp")}
		}
		return u, nil
	}
	u.Expires = exp.Add(v.set.leeway)
	if !time.Now().Before(u.Expires) {
		return chat.User{}, &refusal{errExpired, fmt.Errorf("token of %.128q: %w at %v", u.ID, gojwt.ErrTokenExpired, exp.Time)}
	}
	return u, nil
}

// dateMost is the year 10000 in seconds: RFC 3339 has no later one.
const dateMost = 253402300800

// checkDate: a NumericDate (RFC 7519, section 2) that is one, between 1970 and 9999.
func checkDate(claims gojwt.MapClaims, name string) error {
	value, ok := claims[name]
	if !ok {
		return nil
	}
	n, ok := value.(json.Number)
	if !ok {
		return fmt.Errorf("the token's %s is no number", name)
	}
	if f, err := n.Float64(); err != nil || f < 0 || f >= dateMost {
		return fmt.Errorf("the token's %s is no date: %.32s", name, n)
	}
	return nil
}

// idMost is how many bytes a user's id may have, as the Hub has it.
const idMost = 1024

// anonymous ids are the Hub's to give.
const anonymous = "anon:"

func (c *Claims) user(claims map[string]any) (u chat.User, err error) {
	if u.ID, err = idOf(claims, c.ID); err != nil {
		return u, err
	}
	if u.Name, err = textOf(claims, c.Name); err != nil {
		return u, err
	}
	if u.TokenID, err = textOf(claims, c.TokenID); err != nil {
		return u, err
	}
	if u.Roles, err = listOf(claims, c.Roles); err != nil {
		return u, err
	}
	u.Rooms, err = listOf(claims, c.Rooms)
	return u, err
}

func idOf(claims map[string]any, name string) (string, error) {
	id := ""
	switch v := find(claims, name).(type) {
	case string:
		id = v
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "", fmt.Errorf("the token's %s is no whole number", name)
		}
		id = v.String()
	}
	switch {
	case id == "":
		return "", fmt.Errorf("the token has no %s", name)
	case len(id) > idMost:
		return "", fmt.Errorf("the token's %s has %d bytes", name, len(id))
	case strings.HasPrefix(id, anonymous):
		return "", fmt.Errorf("the token's %s is an anonymous user's", name)
	}
	return id, nil
}

func textOf(claims map[string]any, name string) (string, error) {
	switch v := find(claims, name).(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	return "", fmt.Errorf("the token's %s is no text", name)
}

// listOf: a list of texts, or one text of names with spaces in between, as a scope is (RFC 8693, section 4.2).
func listOf(claims map[string]any, name string) ([]string, error) {
	switch v := find(claims, name).(type) {
	case nil:
		return nil, nil
	case string:
		return strings.Fields(v), nil
	case []any:
		list := make([]string, len(v))
		for i, e := range v {
			text, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("the token's %s are not all texts", name)
			}
			list[i] = text
		}
		return list, nil
	}
	return nil, fmt.Errorf("the token's %s are no list", name)
}

// find is the claim of that name, or at that path. The name comes first: "https://example.com/roles" has dots and is no path.
func find(claims map[string]any, name string) any {
	if v, ok := claims[name]; ok {
		return v
	}
	first, rest, ok := strings.Cut(name, ".")
	if !ok {
		return nil
	}
	inner, _ := claims[first].(map[string]any)
	return find(inner, rest)
}
