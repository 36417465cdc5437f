package jwt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Bytes of a JWKS answer.
const (
	bodyMost   = 256 << 10
	headerMost = 32 << 10
)

const redirectsMost = 3

// A fetcher gets what is at a JWKS address.
type fetcher struct {
	url    string
	name   string // the address for the log, without a query
	client *http.Client
}

// newFetcher: client may be nil. plain allows http to other machines.
func newFetcher(address string, client *http.Client, plain bool) (*fetcher, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the JWKS address is no URL")
	}
	if u.User != nil {
		return nil, errors.New("the JWKS address has a user in it")
	}
	if err := mayFetch(u, plain); err != nil {
		return nil, err
	}
	var c http.Client
	if client != nil {
		c = *client
	} else {
		c.Transport = ownTransport()
	}
	secure := u.Scheme == "https"
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		switch {
		case len(via) > redirectsMost:
			return errors.New("too many redirects")
		case secure && r.URL.Scheme != "https":
			return errors.New("a redirect from https to " + r.URL.Scheme)
		}
		return mayFetch(r.URL, plain)
	}
	return &fetcher{url: address, name: u.Scheme + "://" + u.Host + u.Path, client: &c}, nil
}

// ownTransport keeps no connection: they are minutes apart.
func ownTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: headerMost,
		ForceAttemptHTTP2:      true,
	}
}

// mayFetch: keys that come over plain http are anybody's who sits in between.
func mayFetch(u *url.URL, plain bool) error {
	host := u.Hostname()
	switch {
	case host == "":
		return errors.New("the JWKS address has no host")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("the JWKS address is %q, not https", u.Scheme)
	case plain || host == "localhost" || net.ParseIP(host).IsLoopback():
		return nil
	}
	return errors.New("the JWKS address is http and not on this machine; see WithPlainHTTP")
}

// get returns the answer's body, and how long it is good.
func (f *fetcher) get(ctx context.Context) ([]byte, time.Duration, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := f.client.Do(r)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err // without the address, whose query may be nobody's business
		}
		return nil, 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("the JWKS address answered %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, bodyMost+1))
	if err != nil {
		return nil, 0, err
	}
	if len(body) > bodyMost {
		return nil, 0, fmt.Errorf("the JWKS address answered more than %d bytes", bodyMost)
	}
	return body, ageOf(res.Header), nil
}

// ageOf is how long an answer is good, by its Cache-Control and Age (RFC 9111, section 4.2), within our bounds.
func ageOf(h http.Header) time.Duration {
	age := ageDefault
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return ageLeast
		case "max-age":
			age = seconds(strings.Trim(value, `"`))
		}
	}
	return min(max(age-seconds(h.Get("Age")), ageLeast), ageMost)
}

// seconds of a header. What is no number, or beyond a year, is none.
func seconds(s string) time.Duration {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > 366*24*3600 {
		return 0
	}
	return time.Duration(n) * time.Second
}
